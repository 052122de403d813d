/**
 * Makes a database quick and small, as its only owner: tells the query planner what the tables hold, gives free pages back
 * to the file system, and brings the write-ahead log into the file. A power cut leaves it as it was or as it should be.
 */
import { Clock, Effect, Schema, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { dirname } from "node:path"
import { statSync } from "node:fs"
import { letOthersRun } from "../sqlite/EventLoop.ts"
import type { DatabaseOwned } from "../sqlite/Ownership.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../sqlite/SqliteError.ts"
import { bytes } from "./CommandLine.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import { diskOf } from "../telemetry/DiskSpace.ts"
import type { OnProgress } from "./Progress.ts"

/** Rows of each index that are looked at: enough to tell a rare value from a common one, in milliseconds. */
const ANALYSED_ROWS_MAX = 1_000
export const ANALYSE = `PRAGMA analysis_limit = ${ANALYSED_ROWS_MAX}; ANALYZE`
/** Pages that go back to the file system at a time: 4 MiB. */
const PAGES_FREED_TOGETHER = 1_000
/** What `PRAGMA auto_vacuum` answers for INCREMENTAL. */
const INCREMENTAL_VACUUM = 2
/** `VACUUM` writes all pages twice: to a file of its own, and to the write-ahead log. */
const VACUUM_COPIES = 2

/** `VACUUM` would fill the disk. */
export class NoRoomToVacuum extends Schema.TaggedError<NoRoomToVacuum>()("NoRoomToVacuum", {
  folder: Schema.String,
  neededBytes: Schema.Number,
  freeBytes: Schema.Number,
}) {
  override get message(): string {
    return `a VACUUM needs ${bytes(this.neededBytes)} in ${this.folder}, and ${bytes(this.freeBytes)} are free`
  }
}

export interface FileState {
  readonly bytes: number
  /** Of it, in pages that hold nothing. */
  readonly freeBytes: number
  readonly walBytes: number
}

export interface Optimised {
  readonly database: string
  readonly before: FileState
  /** With a dry run, as before. */
  readonly after: FileState
  /** How free pages go back to the file system: `none` where the file was not made for it, and no VACUUM was asked for. */
  readonly vacuum: "full" | "incremental" | "none"
  /** What a VACUUM needs on the disk, and has. */
  readonly vacuumNeedsBytes: number
  readonly diskFreeBytes: number
  readonly durationMs: number
}

/** Optimises a database. Refused while somebody else owns it, unless it is only looked at. */
export const optimise = Effect.fnUntraced(function* (options: {
  readonly filename: string
  /** Rewrite the whole file, so that it has no free pages. */
  readonly vacuum: boolean
  readonly dryRun: boolean
  readonly onProgress?: OnProgress | undefined
}): Effect.fn.Return<
  Optimised,
  DatabaseFile.DatabaseProblem | DatabaseOwned | NoRoomToVacuum | SqlError,
  Scope.Scope
> {
  const { dryRun, filename, onProgress = () => {} } = options
  const begun = yield* Clock.currentTimeMillis
  yield* DatabaseFile.requireFile(filename)
  const db = yield* dryRun ? DatabaseFile.openExisting(filename) : DatabaseFile.openOwned(filename)
  yield* DatabaseFile.requireSchema(db)
  const run = <A>(body: () => A): Effect.Effect<A, SqlError> =>
    Effect.try({ try: body, catch: (cause) => toSqlError(cause, `optimise ${filename}`) })

  const before = yield* run(() => stateOf(db))
  const isIncremental = yield* run(() => db.pragma("auto_vacuum") === INCREMENTAL_VACUUM)
  const vacuum = options.vacuum ? "full" : isIncremental ? "incremental" : "none"
  const folder = dirname(filename)
  const vacuumNeedsBytes = (before.bytes - before.freeBytes) * VACUUM_COPIES
  const { freeBytes: diskFreeBytes } = yield* diskOf(folder)
  if (vacuum === "full" && diskFreeBytes < vacuumNeedsBytes)
    return yield* new NoRoomToVacuum({ folder, neededBytes: vacuumNeedsBytes, freeBytes: diskFreeBytes })
  const result = { database: filename, before, vacuum, vacuumNeedsBytes, diskFreeBytes } as const
  if (dryRun) return { ...result, after: before, durationMs: (yield* Clock.currentTimeMillis) - begun }

  const step = <A>(task: string, body: () => A) => {
    onProgress({ task, done: 0, total: 1 })
    return Effect.andThen(letOthersRun, run(body))
  }
  yield* step("analysing", () => db.exec(ANALYSE))
  if (vacuum === "full") yield* step("vacuuming", () => vacuumIn(db, folder))
  if (vacuum === "incremental") {
    const total = before.freeBytes / db.pragma("page_size")
    for (;;) {
      const left = yield* run(() => db.pragma("freelist_count"))
      onProgress({ task: "giving back free pages", done: Math.max(0, total - left), total })
      if (left === 0) break
      yield* letOthersRun
      yield* run(() => db.exec(`PRAGMA incremental_vacuum(${PAGES_FREED_TOGETHER})`))
    }
  }
  yield* step("writing the log back", () => db.exec("PRAGMA wal_checkpoint(TRUNCATE)"))
  return {
    ...result,
    after: yield* run(() => stateOf(db)),
    durationMs: (yield* Clock.currentTimeMillis) - begun,
  }
})

/**
 * Rewrites the whole file. Its temporary file is put beside the database, whose disk was seen to have room, and not into
 * memory, where this connection has all others.
 */
const vacuumIn = (db: SqliteDatabase, folder: string): void => {
  const before = process.env["SQLITE_TMPDIR"]
  process.env["SQLITE_TMPDIR"] = folder
  try {
    db.exec("PRAGMA temp_store = FILE; VACUUM; PRAGMA temp_store = MEMORY")
  } finally {
    if (before === undefined) delete process.env["SQLITE_TMPDIR"]
    else process.env["SQLITE_TMPDIR"] = before
  }
}

const stateOf = (db: SqliteDatabase): FileState => {
  const pageSize = db.pragma("page_size")
  return {
    bytes: db.pragma("page_count") * pageSize,
    freeBytes: db.pragma("freelist_count") * pageSize,
    walBytes: statSync(`${db.filename}-wal`, { throwIfNoEntry: false })?.size ?? 0,
  }
}
