/**
 * Brings a database to the schema of this version, and back. Migrations are SQL files numbered 0001, 0002, …; each is
 * applied in one transaction together with its record, so a crash leaves it applied or not. A database whose records
 * do not match the files is left alone: guessing would be worse than stopping.
 */
import { Clock, Effect, Result } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Migration, migrationFile, parseMigration } from "./Migration.ts"
import {
  AppliedFileMissing,
  ChangedAfterApply,
  DuplicateId,
  IdGap,
  Irreversible,
  MigrationError,
  OutOfOrder,
  StatementFailed,
  Unreadable,
} from "./MigrationError.ts"
import type { SqliteDatabase } from "./SqliteDatabase.ts"
import { toSqlError } from "./SqliteError.ts"

const CREATE_RECORDS = `
  CREATE TABLE IF NOT EXISTS schema_migrations (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    checksum TEXT NOT NULL,       -- SHA-256 of the file, hex
    applied_at INTEGER NOT NULL,  -- milliseconds since 1970
    duration_ms REAL NOT NULL
  ) STRICT`

const HAS_RECORDS = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'schema_migrations'"

/** By primary key; a row per migration. */
const SELECT_RECORDS = "SELECT id, name, checksum, applied_at, duration_ms FROM schema_migrations ORDER BY id"

const INSERT_RECORD =
  "INSERT INTO schema_migrations (id, name, checksum, applied_at, duration_ms) VALUES (?, ?, ?, ?, ?)"

const DELETE_RECORD = "DELETE FROM schema_migrations WHERE id = ?"

const NANOSECONDS_PER_MILLISECOND = 1e6

/** A row of `schema_migrations`. */
interface MigrationRecord {
  readonly id: number
  readonly name: string
  readonly checksum: string
  readonly appliedAt: number
  readonly durationMs: number
}

/** A migration that was run, in either direction. */
export interface MigrationRun {
  readonly id: number
  readonly file: string
  readonly durationMs: number
}

/** Where one migration stands: `changed` and `missing` are applied ones whose file no longer matches or exists. */
export interface MigrationStatus {
  readonly id: number
  readonly file: string
  readonly state: "applied" | "pending" | "changed" | "missing"
  /** Milliseconds since 1970; undefined while pending. */
  readonly appliedAt: number | undefined
  readonly durationMs: number | undefined
}

/** Loading, applying and undoing the migrations of a database. */
export const Migrations = {
  /** The `migrations` folder of this package. */
  defaultFolder: fileURLToPath(new URL("../../migrations", import.meta.url)),

  /**
   * Reads every `.sql` file of a folder, in order. Fails when one is malformed, or when their numbers are not
   * 1, 2, 3 … without duplicates and gaps.
   */
  load: Effect.fnUntraced(function* (
    folder: string,
  ): Effect.fn.Return<ReadonlyArray<Migration>, MigrationError> {
    const names = yield* read(folder, () => readdirSync(folder))
    const migrations: Array<Migration> = []
    for (const file of names.filter((name) => name.endsWith(".sql")).sort()) {
      const path = join(folder, file)
      const bytes = yield* read(path, () => readFileSync(path))
      const parsed = parseMigration(file, bytes)
      if (Result.isFailure(parsed)) return yield* new MigrationError({ reason: parsed.failure })
      migrations.push(parsed.success)
    }
    const disorder = firstNumberingFault(migrations)
    if (disorder !== undefined) return yield* new MigrationError({ reason: disorder })
    return migrations
  }),

  /**
   * Applies what is pending, oldest first, and answers what it applied. When one fails it is undone and the run stops
   * there; the ones before it stay applied.
   */
  run: Effect.fnUntraced(function* (
    database: SqliteDatabase,
    migrations: ReadonlyArray<Migration>,
  ): Effect.fn.Return<ReadonlyArray<MigrationRun>, MigrationError | SqlError> {
    yield* access("create schema_migrations", () => database.exec(CREATE_RECORDS))
    const runs: Array<MigrationRun> = []
    for (const migration of yield* Migrations.pending(database, migrations))
      runs.push(yield* apply(database, migration))
    return runs
  }),

  /** What `run` would apply, oldest first. Reads only, and refuses like `run`. */
  pending: (
    database: SqliteDatabase,
    migrations: ReadonlyArray<Migration>,
  ): Effect.Effect<ReadonlyArray<Migration>, MigrationError | SqlError> =>
    ofMatching(database, migrations, (records) => migrations.slice(records.length)),

  /** Where every migration stands, by number. Reads only; a database without records has everything pending. */
  status: Effect.fnUntraced(function* (
    database: SqliteDatabase,
    migrations: ReadonlyArray<Migration>,
  ): Effect.fn.Return<ReadonlyArray<MigrationStatus>, SqlError> {
    const records = yield* access("read schema_migrations", () => readRecords(database))
    const files = new Map(migrations.map((migration) => [migration.file, migration]))
    const recorded = new Set(records.map(recordedFile))
    const pending = migrations.filter((migration) => !recorded.has(migration.file))
    return [
      ...records.map((record) => appliedStatus(record, files.get(recordedFile(record)))),
      ...pending.map(pendingStatus),
    ].sort((a, b) => a.id - b.id)
  }),

  /**
   * Undoes the newest `steps` applied migrations, newest first, and answers what it undid; fewer when fewer are
   * applied. Refuses like `run` when the files do not match the records.
   */
  rollback: Effect.fnUntraced(function* (
    database: SqliteDatabase,
    migrations: ReadonlyArray<Migration>,
    steps: number,
  ): Effect.fn.Return<ReadonlyArray<MigrationRun>, MigrationError | SqlError> {
    const runs: Array<MigrationRun> = []
    for (const migration of yield* Migrations.undoable(database, migrations, steps))
      runs.push(yield* undo(database, migration))
    return runs
  }),

  /** What `rollback` would undo, newest first. Reads only, and refuses like `rollback`. */
  undoable: (
    database: SqliteDatabase,
    migrations: ReadonlyArray<Migration>,
    steps: number,
  ): Effect.Effect<ReadonlyArray<Migration>, MigrationError | SqlError> =>
    ofMatching(database, migrations, ({ length }) => {
      const undone = migrations.slice(Math.max(0, length - steps), length).toReversed()
      const irreversible = undone.find((migration) => migration.down === "")
      if (irreversible === undefined) return undone
      throw new MigrationError({ reason: new Irreversible({ file: irreversible.file }) })
    }),
}

/** What follows from the records of a database, unless they do not match the files. `use` may refuse as well. */
const ofMatching = <A>(
  database: SqliteDatabase,
  migrations: ReadonlyArray<Migration>,
  use: (records: ReadonlyArray<MigrationRecord>) => A,
): Effect.Effect<A, MigrationError | SqlError> =>
  Effect.try({
    try: () => {
      const records = readRecords(database)
      const mismatch = firstMismatch(records, migrations)
      if (mismatch !== undefined) throw new MigrationError({ reason: mismatch })
      return use(records)
    },
    catch: (cause) => (cause instanceof MigrationError ? cause : toSqlError(cause, "read schema_migrations")),
  })

const read = <A>(path: string, body: () => A): Effect.Effect<A, MigrationError> =>
  Effect.try({
    try: body,
    catch: (cause) => new MigrationError({ reason: new Unreadable({ path, cause }) }),
  })

const access = <A>(operation: string, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, operation) })

const readRecords = (database: SqliteDatabase): ReadonlyArray<MigrationRecord> => {
  if (database.prepareUncached(HAS_RECORDS).get() === undefined) return []
  return database
    .prepareUncached(SELECT_RECORDS)
    .all()
    .map((row) => ({
      id: Number(row["id"]),
      name: String(row["name"]),
      checksum: String(row["checksum"]),
      appliedAt: Number(row["applied_at"]),
      durationMs: Number(row["duration_ms"]),
    }))
}

const recordedFile = ({ id, name }: MigrationRecord): string => migrationFile(id, name)

/** `migrations` are sorted by file name, and so by number. */
const firstNumberingFault = (migrations: ReadonlyArray<Migration>): DuplicateId | IdGap | undefined => {
  for (const [index, { id, file }] of migrations.entries()) {
    const previous = migrations[index - 1]
    if (previous?.id === id) return new DuplicateId({ id, files: [previous.file, file] })
    if (id !== index + 1) return new IdGap({ file, expected: index + 1 })
  }
  return undefined
}

/** When this finds nothing, the records are exactly the first so many of the migrations. */
const firstMismatch = (records: ReadonlyArray<MigrationRecord>, migrations: ReadonlyArray<Migration>) => {
  const files = new Map(migrations.map((migration) => [migration.file, migration]))
  for (const record of records) {
    const file = recordedFile(record)
    const migration = files.get(file)
    if (migration === undefined) return new AppliedFileMissing({ file })
    if (migration.checksum !== record.checksum) {
      return new ChangedAfterApply({
        file,
        appliedChecksum: record.checksum,
        fileChecksum: migration.checksum,
      })
    }
  }
  const newest = records.at(-1)
  const recorded = new Set(records.map((record) => record.id))
  const skipped = migrations.find(({ id }) => newest !== undefined && id < newest.id && !recorded.has(id))
  if (newest === undefined || skipped === undefined) return undefined
  return new OutOfOrder({ file: skipped.file, newestApplied: recordedFile(newest) })
}

const apply = (database: SqliteDatabase, migration: Migration): Effect.Effect<MigrationRun, MigrationError> =>
  inTransaction(database, migration, "up", (durationMs, now) => {
    const { id, name, checksum } = migration
    database.prepareUncached(INSERT_RECORD).run(id, name, checksum, now, durationMs)
  })

const undo = (database: SqliteDatabase, migration: Migration): Effect.Effect<MigrationRun, MigrationError> =>
  inTransaction(database, migration, "down", () => {
    database.prepareUncached(DELETE_RECORD).run(migration.id)
  })

const inTransaction = (
  database: SqliteDatabase,
  migration: Migration,
  direction: "up" | "down",
  record: (durationMs: number, now: number) => void,
): Effect.Effect<MigrationRun, MigrationError> =>
  Effect.flatMap(Clock.Clock, (clock) =>
    Effect.try({
      try: () =>
        database.transaction(() => {
          const begun = clock.monotonicTimeNanosUnsafe()
          database.withoutTransactionControl(() => database.exec(migration[direction]))
          const durationMs = Number(clock.monotonicTimeNanosUnsafe() - begun) / NANOSECONDS_PER_MILLISECOND
          record(durationMs, clock.currentTimeMillisUnsafe())
          return { id: migration.id, file: migration.file, durationMs }
        }),
      catch: (cause) => {
        const detail = cause instanceof Error ? cause.message : String(cause)
        return new MigrationError({
          reason: new StatementFailed({ file: migration.file, direction, detail, cause }),
        })
      },
    }),
  )

const appliedStatus = (record: MigrationRecord, migration: Migration | undefined): MigrationStatus => ({
  id: record.id,
  file: recordedFile(record),
  state: stateOf(record, migration),
  appliedAt: record.appliedAt,
  durationMs: record.durationMs,
})

const stateOf = (record: MigrationRecord, migration: Migration | undefined) => {
  if (migration === undefined) return "missing"
  return migration.checksum === record.checksum ? "applied" : "changed"
}

const pendingStatus = ({ id, file }: Migration): MigrationStatus => ({
  id,
  file,
  state: "pending",
  appliedAt: undefined,
  durationMs: undefined,
})
