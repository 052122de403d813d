/**
 * One synchronous connection to a SQLite file, for hot paths that must finish within one JavaScript turn: the
 * journal's writer and the point reads on the main thread. It sets the pragmas every connection of RenderOwl shares,
 * keeps prepared statements, and runs all-or-nothing transactions. It throws node:sqlite's own errors;
 * `toSqlError` turns them into typed ones at the edge to Effect.
 */
import { backup, constants, DatabaseSync, type StatementSync } from "node:sqlite"
import { isIoError } from "./SqliteError.ts"
import { STATEMENT_CACHE_CAPACITY, StatementCache, type StatementCacheStats } from "./StatementCache.ts"

const KIBIBYTE = 1024
const MEBIBYTE = 1024 * KIBIBYTE

/** The file name that means a private database in memory. */
export const IN_MEMORY = ":memory:"

/** How long a connection waits for another one's lock, in milliseconds. */
export const BUSY_TIMEOUT_MS = 5_000

/** Page cache of one connection, in bytes. A ceiling: pages are allocated as they are touched. */
export const PAGE_CACHE_BYTES = 64 * MEBIBYTE

/** How much of the file is read through memory mapping, in bytes. */
export const MMAP_BYTES = 256 * MEBIBYTE

/** Size the write-ahead log file is cut back to after a checkpoint, in bytes. */
export const WAL_SIZE_LIMIT_BYTES = 64 * MEBIBYTE

/** When SQLite waits for the disk: `FULL` survives power loss, `NORMAL` only a crash of the process. */
export type Synchronous = "OFF" | "NORMAL" | "FULL" | "EXTRA"

/** How a connection is opened. */
export interface SqliteOptions {
  /** Path of the database file, or `:memory:`. */
  readonly filename: string
  /** Refuse writes. The file must exist. Default: false. */
  readonly readOnly?: boolean | undefined
  /** Default: `FULL`. */
  readonly synchronous?: Synchronous | undefined
  /** Milliseconds to wait for another connection's lock. Default: `BUSY_TIMEOUT_MS`. */
  readonly busyTimeout?: number | undefined
  /** Page cache in bytes. Default: `PAGE_CACHE_BYTES`. */
  readonly pageCacheBytes?: number | undefined
  /** Memory-mapped part of the file in bytes; 0 turns mapping off. Default: `MMAP_BYTES`. */
  readonly mmapBytes?: number | undefined
  /** Prepared statements kept. Default: `STATEMENT_CACHE_CAPACITY`. */
  readonly statementCacheCapacity?: number | undefined
}

/** What the header of a file says: whose it is, and how its pages are used. */
type HeaderPragma =
  | "application_id"
  | "user_version"
  | "auto_vacuum"
  | "page_size"
  | "page_count"
  | "freelist_count"

/**
 * A synchronous SQLite connection. Every method throws the native error of node:sqlite
 * (`code: "ERR_SQLITE_ERROR"` with the extended result code in `errcode`).
 */
export class SqliteDatabase {
  readonly filename: string
  readonly readOnly: boolean
  readonly #native: DatabaseSync
  readonly #statements: StatementCache
  readonly #begin: StatementSync
  readonly #commit: StatementSync
  readonly #rollback: StatementSync
  #rollbackOwed = false

  private constructor(native: DatabaseSync, options: SqliteOptions) {
    this.#native = native
    this.filename = options.filename
    this.readOnly = options.readOnly ?? false
    this.#statements = new StatementCache(
      (sql) => native.prepare(sql),
      options.statementCacheCapacity ?? STATEMENT_CACHE_CAPACITY,
    )
    // Prepared once: they run on every group commit, and would otherwise be parsed each time.
    this.#begin = native.prepare("BEGIN IMMEDIATE")
    this.#commit = native.prepare("COMMIT")
    this.#rollback = native.prepare("ROLLBACK")
  }

  /**
   * Opens the file (creating it unless read-only) and sets the pragmas.
   *
   * @throws the native error when the file cannot be opened or is not a database, `RangeError` for a bad option
   */
  static open(options: SqliteOptions): SqliteDatabase {
    // SQLite would take an empty name for a temporary database, which loses everything silently.
    if (options.filename.length === 0) throw new RangeError("A database needs a file name or :memory:")
    const native = new DatabaseSync(options.filename, {
      readOnly: options.readOnly ?? false,
      timeout: wholeNumber("busyTimeout", options.busyTimeout ?? BUSY_TIMEOUT_MS),
      enableForeignKeyConstraints: true,
      enableDoubleQuotedStringLiterals: false,
    })
    try {
      configure(native, options)
      return new SqliteDatabase(native, options)
    } catch (cause) {
      native.close()
      throw cause
    }
  }

  /**
   * The prepared statement for `sql`, from the connection's cache. The object is shared: read its rows before the same
   * SQL is asked for again, and undo any setting made on it.
   */
  prepare(sql: string): StatementSync {
    return this.#statements.get(sql)
  }

  /** A statement of the caller's own, outside the cache: for iterators that stay open while other SQL runs. */
  prepareUncached(sql: string): StatementSync {
    return this.#native.prepare(sql)
  }

  /** Runs one or more statements, discarding rows. */
  exec(sql: string): void {
    this.#native.exec(sql)
  }

  /** Whether a transaction is open on this connection, whoever began it. */
  get isTransaction(): boolean {
    return this.#native.isTransaction
  }

  /** Whether `close` has not been called yet. */
  get isOpen(): boolean {
    return this.#native.isOpen
  }

  /** Counters of the statement cache, for metrics. */
  get statementStats(): StatementCacheStats {
    return this.#statements.stats
  }

  /**
   * Runs `body` between `BEGIN IMMEDIATE` and `COMMIT`. When `body` or the `COMMIT` throws, nothing of it remains and
   * that error is rethrown, also when the `ROLLBACK` fails too (it is then tried again before the next transaction).
   * Transactions do not nest, and `body` must be synchronous: a promise is refused and rolled back.
   */
  transaction<A>(body: () => A): A {
    if (this.#rollbackOwed) this.#settleOwedRollback()
    this.#begin.run()
    let isCommitting = false
    try {
      const result = body()
      if (result instanceof Promise) throw new TypeError("A SQLite transaction body must not be asynchronous")
      isCommitting = true
      this.#commit.run()
      return result
    } catch (cause) {
      this.#rollBack()
      if (isCommitting && isIoError(cause)) this.#bury()
      throw cause
    }
  }

  /**
   * Runs `body` while `BEGIN`, `COMMIT` and `ROLLBACK` are refused on this connection ("not authorized"), so that SQL
   * written elsewhere cannot end the transaction it runs in. Every prepared statement is compiled again afterwards:
   * for migrations, not for hot paths.
   */
  withoutTransactionControl<A>(body: () => A): A {
    this.#native.setAuthorizer((action) =>
      action === constants.SQLITE_TRANSACTION ? constants.SQLITE_DENY : constants.SQLITE_OK,
    )
    try {
      return body()
    } finally {
      this.#native.setAuthorizer(null)
    }
  }

  /**
   * Copies the database page by page to a new file, on SQLite's thread pool. Within a read transaction of this connection
   * the copy is what that transaction sees, whatever others write meanwhile; without one, each write of another
   * connection starts it anew. What `onProgress` throws ends it; the connection must stay open until then.
   */
  async copyTo(
    path: string,
    options: {
      readonly pagesTogether: number
      readonly onProgress: (done: number, total: number) => void
    },
  ): Promise<void> {
    const { onProgress, pagesTogether } = options
    await backup(this.#native, path, {
      rate: pagesTogether,
      progress: ({ remainingPages, totalPages }) => onProgress(totalPages - remainingPages, totalPages),
    })
  }

  /** Closes the connection; the last one on a file checkpoints its write-ahead log. Closing twice does nothing. */
  close(): void {
    if (!this.#native.isOpen) return
    this.#statements.clear()
    this.#native.close()
  }

  [Symbol.dispose](): void {
    this.close()
  }

  /** SQLite ends the transaction itself after some errors (disk full, I/O), so only an open one is rolled back. */
  #rollBack(): void {
    if (!this.#native.isOpen || !this.#native.isTransaction) return
    try {
      this.#rollback.run()
    } catch {
      this.#rollbackOwed = true
    }
  }

  /** Whether nothing was ever made in it. */
  get isBlank(): boolean {
    return this.prepareUncached("SELECT 1 FROM sqlite_schema LIMIT 1").get() === undefined
  }

  /** A whole number that the header of the file holds. */
  pragma(name: HeaderPragma): number {
    return this.prepareUncached(`PRAGMA ${name}`).get()![name] as number
  }

  /** Commits a page of the file as it is: a write like any other, after which nothing has changed. */
  rewrite(): void {
    this.#native.exec(`PRAGMA user_version = ${this.pragma("user_version")}`)
  }

  /**
   * When the `fsync` of a commit fails, its frames stay behind the end of the write-ahead log, whole and valid. The next
   * commit overwrites them; but a process killed before it leaves them to the next one, which takes them for committed,
   * although their writer was told that they are not. So the first of them is overwritten at once, by a commit that changes
   * nothing: what follows no longer fits its checksum. That its own `fsync` fails as well does not matter to that.
   */
  #bury(): void {
    try {
      this.rewrite()
    } catch {
      // A disk that takes no writes either: then it is not known what is left on it.
    }
  }

  #settleOwedRollback(): void {
    if (this.#native.isTransaction) this.#rollback.run()
    this.#rollbackOwed = false
  }
}

const configure = (native: DatabaseSync, options: SqliteOptions): void => {
  const pageCacheKib = Math.ceil(
    wholeNumber("pageCacheBytes", options.pageCacheBytes ?? PAGE_CACHE_BYTES) / KIBIBYTE,
  )
  const mmapBytes = wholeNumber("mmapBytes", options.mmapBytes ?? MMAP_BYTES)
  if (options.readOnly !== true) useWriteAheadLog(native, options.filename)
  native.exec(`
    PRAGMA synchronous = ${options.synchronous ?? "FULL"};
    PRAGMA temp_store = MEMORY;
    PRAGMA recursive_triggers = ON; -- without it INSERT OR REPLACE would delete rows behind a delete trigger's back
    PRAGMA cache_size = -${pageCacheKib};
    PRAGMA mmap_size = ${mmapBytes};
    PRAGMA journal_size_limit = ${WAL_SIZE_LIMIT_BYTES};
  `)
}

/** SQLite answers with the mode it kept instead of failing, for example on a file system without shared memory. */
const useWriteAheadLog = (native: DatabaseSync, filename: string): void => {
  const mode = native.prepare("PRAGMA journal_mode = WAL").get()?.["journal_mode"]
  if (mode === "wal" || mode === "memory") return
  throw new Error(
    `${filename} cannot use a write-ahead log here; SQLite stayed in journal mode ${String(mode)}`,
  )
}

const wholeNumber = (name: string, value: number): number => {
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new RangeError(`${name} must be a whole number of at least 0, not ${value}`)
}
