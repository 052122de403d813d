/**
 * The connections of an embedded database, opened together and closed with their scope: the synchronous writer of the
 * journal, a read-only reader for point reads on the main thread, and Effect's `SqlClient` for everything else. The
 * layer has the outward shape of Effect's own SQLite drivers, so one of those can take its place.
 *
 * Three connections, because the writer runs `BEGIN … COMMIT` within one JavaScript turn, while a `SqlClient`
 * transaction stays open across turns: on one connection the journal's rows would land in somebody else's transaction
 * and vanish with its rollback. SQLite still has one write lock per file, so both hold `writeLock` while they write.
 */
import { Context, Effect, Layer, Semaphore, type Scope } from "effect"
import { Reactivity } from "effect/reactivity"
import { SqlClient, Statement } from "effect/sql"
import type { SqlError } from "effect/sql/SqlError"
import { mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { type DatabaseOwned, Ownership } from "./Ownership.ts"
import { makeSqliteConnection, type SqliteConnection } from "./SqliteConnection.ts"
import { IN_MEMORY, SqliteDatabase, type Synchronous } from "./SqliteDatabase.ts"
import { toSqlError } from "./SqliteError.ts"

/** How an embedded database is opened. Names follow Effect's SQLite drivers where both have the option. */
export interface SqliteClientConfig {
  /** Path of the database file, whose folder is created when missing, or `:memory:`. */
  readonly filename: string
  /** Default: `FULL`. */
  readonly synchronous?: Synchronous | undefined
  /** Milliseconds to wait for a lock held by another program. Default: `BUSY_TIMEOUT_MS`. */
  readonly busyTimeout?: number | undefined
  /** Prepared statements kept per connection. Default: `STATEMENT_CACHE_CAPACITY`. */
  readonly prepareCacheSize?: number | undefined
  readonly spanAttributes?: Readonly<Record<string, unknown>> | undefined
  readonly transformResultNames?: ((name: string) => string) | undefined
  readonly transformQueryNames?: ((name: string) => string) | undefined
}

/**
 * The connections of the open database.
 *
 * With `:memory:` there is one connection behind all three roles: a database in memory belongs to the connection that
 * made it. Then `reader` sees the rows of a `SqlClient` transaction before it commits, and a writer that ignores
 * `writeLock` fails while one is open, because SQLite does not nest transactions.
 */
export class SqliteClient extends Context.Service<
  SqliteClient,
  {
    readonly filename: string
    /** For short synchronous transactions. Hold `writeLock` around them. */
    readonly writer: SqliteDatabase
    /** Read-only, for point reads; it sees what was committed before each statement. */
    readonly reader: SqliteDatabase
    /**
     * Held by a `SqlClient` transaction from before its `BEGIN` until after its `COMMIT`. Whoever writes through
     * `writer` runs `writeLock.withPermit(Effect.sync(() => writer.transaction(…)))`: without it, a `SqlClient`
     * transaction in progress makes the writer block the thread that could finish it, until the busy timeout. Hold it
     * for synchronous work only, never around a `SqlClient` statement.
     */
    readonly writeLock: Semaphore.Semaphore
  }
>()("renderowl/sqlite/SqliteClient") {
  /**
   * Takes ownership of the file and opens it for the scope of the layer. Closing checkpoints the write-ahead log.
   *
   * Fails with `DatabaseOwned` when a process, this one included, has the database open already, and with `SqlError`
   * when the file cannot be opened or is not a database.
   */
  static layer(
    config: SqliteClientConfig,
  ): Layer.Layer<SqliteClient | SqlClient.SqlClient, DatabaseOwned | SqlError> {
    return Layer.effectContext(open(config)).pipe(Layer.provide(Reactivity.layer))
  }
}

const open = Effect.fnUntraced(function* (config: SqliteClientConfig) {
  const inMemory = config.filename === IN_MEMORY
  if (!inMemory) {
    yield* createFolder(dirname(config.filename))
    yield* Ownership.acquire(config.filename)
  }
  // Opened first and so closed last: the last connection to close checkpoints, which a read-only one cannot do.
  const writer = yield* connect(config, false)
  const shared = inMemory ? writer : yield* connect(config, false)
  const reader = inMemory ? writer : yield* connect(config, true)
  const writeLock = Semaphore.makeUnsafe(1)
  const sql = yield* makeSqlClient(config, makeSqliteConnection(shared), writeLock)
  return Context.make(SqliteClient, { filename: config.filename, writer, reader, writeLock }).pipe(
    Context.add(SqlClient.SqlClient, sql),
  )
})

const createFolder = (folder: string): Effect.Effect<void, SqlError> =>
  Effect.try({
    try: () => void mkdirSync(folder, { recursive: true }),
    catch: (cause) => toSqlError(cause, `create folder ${folder}`),
  })

const connect = (
  config: SqliteClientConfig,
  readOnly: boolean,
): Effect.Effect<SqliteDatabase, SqlError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () =>
        SqliteDatabase.open({
          filename: config.filename,
          readOnly,
          synchronous: config.synchronous,
          busyTimeout: config.busyTimeout,
          statementCacheCapacity: config.prepareCacheSize,
        }),
      catch: (cause) => toSqlError(cause, `open ${config.filename}`),
    }),
    (database) => Effect.sync(() => database.close()),
  )

const makeSqlClient = (
  config: SqliteClientConfig,
  connection: SqliteConnection,
  writeLock: Semaphore.Semaphore,
) => {
  const acquirers = SqlClient.makeSqliteAcquirers({
    connection: Effect.succeed(connection),
    semaphore: Semaphore.makeUnsafe(1),
    isTransaction: ({ database }) => database.isTransaction,
  })
  const transformName = config.transformResultNames
  return SqlClient.make({
    ...acquirers,
    // The connection first, then the write lock: a slow stream holds the connection, and must not hold up the journal.
    transactionAcquirer: Effect.tap(acquirers.transactionAcquirer, () => writeLock.takeScoped(1)),
    compiler: Statement.makeCompilerSqlite(config.transformQueryNames),
    driver: "sqlite-node",
    beginTransaction: "BEGIN IMMEDIATE",
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    prepareTransactionControls: true,
    spanAttributes: [...Object.entries(config.spanAttributes ?? {}), ["db.system.name", "sqlite"]],
    ...(transformName && { transformRows: Statement.defaultTransforms(transformName).array }),
  })
}
