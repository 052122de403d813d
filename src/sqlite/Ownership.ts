/**
 * One process owns an embedded database, and this is how it says so. Ownership is an exclusive SQLite lock on a file
 * beside the database (`<database>.lock`), which the kernel drops when its holder dies, however it dies; a second file
 * (`<database>.owner`) says in JSON who that is, for people. It does not protect against programs that do not ask.
 *
 * Nothing but SQLite may open `<database>.lock` in the owning process: POSIX drops a process's locks on a file as soon
 * as any of its descriptors on that file is closed. The same holds for the database itself.
 */
import { Clock, Effect, Option, Schema, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { readFileSync, realpathSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { hostname } from "node:os"
import { basename, dirname, join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { isBusy, toSqlError } from "./SqliteError.ts"

/** Who holds a database. */
export class DatabaseOwner extends Schema.Class<DatabaseOwner>("renderowl/sqlite/DatabaseOwner")({
  pid: Schema.Int,
  host: Schema.String,
  /** ISO 8601, UTC. */
  started_at: Schema.String,
}) {}

/** The database is open already, in another process or in this one. */
export class DatabaseOwned extends Schema.TaggedError<DatabaseOwned>()("DatabaseOwned", {
  filename: Schema.String,
  /** Missing in the moment between an owner's lock and its note. */
  owner: Schema.optional(DatabaseOwner),
}) {
  override get message(): string {
    const holder =
      this.owner === undefined
        ? "another process"
        : `process ${this.owner.pid} on ${this.owner.host} since ${this.owner.started_at}`
    return `${this.filename} is in use by ${holder}; an embedded database has one owner`
  }
}

const OwnerJson = Schema.fromJsonString(DatabaseOwner)
const encodeOwner = Schema.encodeSync(OwnerJson)
const decodeOwner = Schema.decodeOption(OwnerJson)

/** Taking and reading the ownership of database files. */
export const Ownership = {
  /**
   * Owns `filename` until the scope closes or the process ends. Fails at once with `DatabaseOwned` when it is owned,
   * and with `SqlError` when the lock file cannot be made. The folder must exist; the database need not.
   */
  acquire: Effect.fnUntraced(function* (
    filename: string,
  ): Effect.fn.Return<DatabaseOwner, DatabaseOwned | SqlError, Scope.Scope> {
    const path = yield* attempt(filename, () => canonicalPath(filename))
    const owner = new DatabaseOwner({
      pid: process.pid,
      host: hostname(),
      started_at: new Date(yield* Clock.currentTimeMillis).toISOString(),
    })
    yield* Effect.acquireRelease(lock(filename, path), (held) => Effect.sync(() => held.close()))
    yield* Effect.acquireRelease(
      attempt(filename, () => leaveNote(path, owner)),
      () => Effect.sync(() => rmSync(ownerFile(path), { force: true })),
    )
    return owner
  }),

  /** Who last owned `filename`; it may have ended since. None when nobody did or the note cannot be read. */
  lastOwner: (filename: string): Effect.Effect<Option.Option<DatabaseOwner>> =>
    Effect.sync(() => readNote(filename)),
}

const lockFile = (path: string): string => `${path}.lock`
const ownerFile = (path: string): string => `${path}.owner`

/** Two spellings of one file, or a link to it, must meet at the same lock. */
const canonicalPath = (filename: string): string => {
  const existing = realpathIfAny(filename)
  return existing ?? join(realpathSync(dirname(filename)), basename(filename))
}

const realpathIfAny = (filename: string): string | undefined => {
  try {
    return realpathSync(filename)
  } catch {
    return undefined
  }
}

const lock = (filename: string, path: string): Effect.Effect<DatabaseSync, DatabaseOwned | SqlError> =>
  Effect.mapError(
    attempt(filename, () => holdExclusively(lockFile(path))),
    (error) =>
      isBusy(error) ? new DatabaseOwned({ filename, owner: Option.getOrUndefined(readNote(path)) }) : error,
  )

/** The rollback journal stays in memory: nothing is ever written, and no journal file is left beside the lock. */
const holdExclusively = (file: string): DatabaseSync => {
  const database = new DatabaseSync(file, { timeout: 0 })
  try {
    database.exec("PRAGMA journal_mode = MEMORY; BEGIN EXCLUSIVE")
    return database
  } catch (cause) {
    database.close()
    throw cause
  }
}

/** Renamed into place, so that nobody reads half a note. */
const leaveNote = (path: string, owner: DatabaseOwner): void => {
  const draft = `${ownerFile(path)}.${owner.pid}`
  writeFileSync(draft, `${encodeOwner(owner)}\n`)
  renameSync(draft, ownerFile(path))
}

const readNote = (filename: string): Option.Option<DatabaseOwner> => {
  try {
    return decodeOwner(readFileSync(ownerFile(canonicalPath(filename)), "utf8"))
  } catch {
    return Option.none()
  }
}

const attempt = <A>(filename: string, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, `own ${filename}`) })
