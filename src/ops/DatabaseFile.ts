/**
 * Opening a database file for one command and closing it after: to write, as its only owner, or to read, beside whoever
 * owns it.
 */
import { Effect, Schema, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { existsSync, mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { Archive } from "../journal/Archive.ts"
import type { MigrationError } from "../sqlite/MigrationError.ts"
import { Migrations } from "../sqlite/Migrations.ts"
import { Ownership } from "../sqlite/Ownership.ts"
import { SqliteDatabase, type SqliteOptions } from "../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../sqlite/SqliteError.ts"

/** There is no file to read. */
export class NoDatabase extends Schema.TaggedError<NoDatabase>()("NoDatabase", { filename: Schema.String }) {
  override get message(): string {
    return `there is no database at ${this.filename}; QUEUE_DB_PATH or DATA_DIR says where it is`
  }
}

/** The database has another schema than this release makes. */
export class SchemaOutdated extends Schema.TaggedError<SchemaOutdated>()("SchemaOutdated", {
  filename: Schema.String,
  /** The first migration that is not applied as it is. */
  file: Schema.String,
  state: Schema.Literals(["pending", "changed", "missing"]),
}) {
  override get message(): string {
    const what = {
      pending: "is not applied",
      changed: "was changed after it was applied",
      missing: "is missing",
    }
    const hint = this.state === "pending" ? "; migrate first" : ""
    return `${this.filename} does not have the schema of this release: the migration ${this.file} ${what[this.state]}${hint}`
  }
}

/** Why a command cannot begin with a database. */
export type DatabaseProblem = NoDatabase | SchemaOutdated | MigrationError

/** Opens a database for a scope. */
export const open = (options: SqliteOptions): Effect.Effect<SqliteDatabase, SqlError, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.try({
      try: () => SqliteDatabase.open(options),
      catch: (cause) => toSqlError(cause, `open ${options.filename}`),
    }),
    (database) => Effect.sync(() => database.close()),
  )

/** The database, made when there is none, for the scope's use alone: refused while a server owns it. */
export const openOwned = Effect.fnUntraced(function* (filename: string) {
  yield* Effect.try({
    try: () => mkdirSync(dirname(filename), { recursive: true }),
    catch: (cause) => toSqlError(cause, `create folder ${dirname(filename)}`),
  })
  yield* Ownership.acquire(filename)
  return yield* open({ filename })
})

/** The database to read from, which must be there; its owner is not disturbed. */
export const openExisting = (
  filename: string,
): Effect.Effect<SqliteDatabase, NoDatabase | SqlError, Scope.Scope> =>
  Effect.andThen(requireFile(filename), open({ filename, readOnly: true }))

/** The archive to read from, when it is needed; it need not be there. */
export const openArchive = (filename: string): Effect.Effect<Archive, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => new Archive(filename, { readOnly: true })),
    (archive) => Effect.sync(() => archive.close()),
  )

/** Fails when there is no such file, before anything is made in its place. */
export const requireFile = (filename: string): Effect.Effect<void, NoDatabase> =>
  Effect.suspend(() => (existsSync(filename) ? Effect.void : Effect.fail(new NoDatabase({ filename }))))

/** Fails unless exactly the migrations of this release are applied. */
export const requireSchema = Effect.fnUntraced(function* (
  database: SqliteDatabase,
): Effect.fn.Return<void, MigrationError | SchemaOutdated | SqlError> {
  const migrations = yield* Migrations.load(Migrations.defaultFolder)
  for (const { file, state } of yield* Migrations.status(database, migrations)) {
    if (state !== "applied") return yield* new SchemaOutdated({ filename: database.filename, file, state })
  }
})
