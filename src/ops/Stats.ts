/**
 * How large a database is and what fills it: pages, bytes of every table and index, events by type, jobs by status, the
 * archive and the disk. It only reads, in one transaction, and so tells of one moment also beside a running server.
 */
import { Clock, Effect, Option, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { existsSync, statSync } from "node:fs"
import { hostname } from "node:os"
import { dirname } from "node:path"
import type { JobStatus } from "../jobs/JobState.ts"
import { ROW_STATUS } from "../jobs/JobRow.ts"
import { archivedTotals } from "../journal/Archive.ts"
import { type ArchiveError, toArchiveError } from "../journal/ArchiveError.ts"
import { ArchiveFile } from "../journal/ArchiveFile.ts"
import { SELECT_HEAD } from "../journal/EventRows.ts"
import { letOthersRun } from "../sqlite/EventLoop.ts"
import { type DatabaseOwner, Ownership } from "../sqlite/Ownership.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../sqlite/SqliteError.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import { type DiskSpace, diskOf } from "../telemetry/DiskSpace.ts"
import type { OnProgress } from "./Progress.ts"

/** Positions that are counted in one go. */
const POSITIONS_TOGETHER = 100_000

/**
 * The pages of every B-tree, those of indexes with their table. Reads the whole file; `dbstat` is part of the SQLite that
 * Node brings along.
 */
const SELECT_PAGES = `SELECT coalesce(s.tbl_name, d.name) AS name,
    sum(iif(s.type = 'index', 0, d.pgsize)) AS bytes, sum(iif(s.type = 'index', d.pgsize, 0)) AS index_bytes
  FROM dbstat('main', 1) d LEFT JOIN sqlite_schema s ON s.name = d.name
  GROUP BY 1 ORDER BY bytes + index_bytes DESC, name`
const SELECT_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
/** A range of the primary key; the sizes are in the rows' headers, so long texts are not read. */
const SELECT_TYPES = `SELECT type, count(*) AS events,
    sum(octet_length(data) + coalesce(octet_length(metadata), 0)) AS bytes,
    min(recorded_at) AS oldest, max(recorded_at) AS newest
  FROM events WHERE position > ? AND position <= ? GROUP BY type`
/** All of job_counts: queues × types × 4 priorities × 7 statuses rows at most. */
const SELECT_JOBS = "SELECT status, sum(jobs) AS jobs FROM job_counts GROUP BY status"
/** Indexes: jobs_waiting and jobs_behind, from their start to their end. */
const SELECT_SCHEDULED = `SELECT
  (SELECT count(*) FROM jobs INDEXED BY jobs_waiting WHERE status = 0 AND due_at > ?1) +
  (SELECT count(*) FROM jobs INDEXED BY jobs_behind  WHERE status = 6 AND due_at > ?1) AS jobs`
/** The primary key of jobs from its start, to the first that has not ended; two seeks in events. */
const SELECT_OLDEST_UNFINISHED = `SELECT e.stream AS id, e.recorded_at AS at
  FROM jobs j CROSS JOIN events e ON e.position = j.position
  WHERE j.finished_at IS NULL ORDER BY j.position LIMIT 1`
/** All of the archive's table of blocks, a few hundred bytes of each. */
const SELECT_BLOCKS = `SELECT count(*) AS blocks, min(archived_at) AS oldest, max(archived_at) AS newest
  FROM blocks`

export interface TableSize {
  readonly table: string
  readonly rows: number
  readonly bytes: number
  /** Of its indexes. */
  readonly indexBytes: number
}

export interface TypeSize {
  readonly type: string
  readonly events: number
  /** Of data and metadata. */
  readonly bytes: number
}

export interface Stats {
  readonly database: string
  /** Of the file; the write-ahead log comes on top. */
  readonly bytes: number
  readonly walBytes: number
  readonly pageSize: number
  readonly pages: number
  /** Used again by what comes next. */
  readonly freePages: number
  /** Whom its note names, as far as that process is still there. */
  readonly owner: DatabaseOwner | null
  readonly disk: DiskSpace
  /** The newest position. */
  readonly head: number
  /** In the journal, without the archive. */
  readonly events: number
  /** ISO 8601; null when there is none. */
  readonly oldestEvent: string | null
  readonly newestEvent: string | null
  /** Largest first. */
  readonly tables: ReadonlyArray<TableSize>
  /** Most bytes first. */
  readonly eventTypes: ReadonlyArray<TypeSize>
  readonly jobs: Readonly<Record<JobStatus, number>>
  readonly oldestUnfinishedJob: { readonly id: string; readonly createdAt: string } | null
  readonly archive: ArchiveStats
  readonly durationMs: number
}

export interface ArchiveStats {
  readonly file: string
  /** 0 while nothing was archived. */
  readonly bytes: number
  readonly blocks: number
  /** That have left the journal. */
  readonly streams: number
  readonly events: number
  readonly oldestMove: string | null
  readonly newestMove: string | null
  /** Why the file cannot be read; null when it can, or need not be there. */
  readonly problem: string | null
}

/** Looks at the database and at its archive. */
export const stats = Effect.fnUntraced(function* (options: {
  readonly filename: string
  readonly archive: string
  readonly onProgress?: OnProgress | undefined
}): Effect.fn.Return<Stats, DatabaseFile.DatabaseProblem | SqlError, Scope.Scope> {
  const { archive, filename, onProgress = () => {} } = options
  const begun = yield* Clock.currentTimeMillis
  const db = yield* DatabaseFile.openExisting(filename)
  yield* DatabaseFile.requireSchema(db)
  const read = <A>(body: () => A): Effect.Effect<A, SqlError> =>
    Effect.try({ try: body, catch: (cause) => toSqlError(cause, `read ${filename}`) })
  yield* read(() => db.exec("BEGIN"))

  const head = (yield* read(() => db.prepare(SELECT_HEAD).get()!["position"] as number | null)) ?? 0
  onProgress({ task: "measuring pages", done: 0, total: 1 })
  yield* letOthersRun
  const pages = yield* read(() => db.prepare(SELECT_PAGES).all())
  const names = new Set((yield* read(() => db.prepare(SELECT_TABLES).all())).map(({ name }) => name))
  const tables: Array<TableSize> = []
  for (const { bytes, index_bytes, name } of pages) {
    if (!names.has(name!)) continue
    const table = name as string
    onProgress({ task: "counting rows", done: tables.length, total: names.size })
    yield* letOthersRun
    const rows = yield* read(
      () => db.prepareUncached(`SELECT count(*) AS rows FROM "${table}"`).get()!["rows"] as number,
    )
    tables.push({ table, rows, bytes: bytes as number, indexBytes: index_bytes as number })
  }

  const types = new Map<string, { type: string; events: number; bytes: number }>()
  let oldest = Number.POSITIVE_INFINITY
  let newest = Number.NEGATIVE_INFINITY
  for (let after = 0; after < head; after += POSITIONS_TOGETHER) {
    onProgress({ task: "counting events", done: after, total: head })
    yield* letOthersRun
    for (const row of yield* read(() => db.prepare(SELECT_TYPES).all(after, after + POSITIONS_TOGETHER))) {
      const type = row["type"] as string
      const sum = types.get(type) ?? { type, events: 0, bytes: 0 }
      sum.events += row["events"] as number
      sum.bytes += row["bytes"] as number
      types.set(type, sum)
      oldest = Math.min(oldest, row["oldest"] as number)
      newest = Math.max(newest, row["newest"] as number)
    }
  }
  onProgress({ task: "counting events", done: head, total: head })

  const eventTypes = [...types.values()].sort((a, b) => b.bytes - a.bytes)
  const found = yield* read(() => ({
    pageSize: db.pragma("page_size"),
    pages: db.pragma("page_count"),
    freePages: db.pragma("freelist_count"),
    jobs: jobsByStatus(db, begun),
    oldestUnfinishedJob: oldestUnfinished(db),
  }))
  return {
    database: filename,
    bytes: found.pages * found.pageSize,
    walBytes: fileBytes(`${filename}-wal`),
    ...found,
    owner: yield* presentOwner(filename),
    disk: yield* diskOf(dirname(filename)),
    head,
    events: eventTypes.reduce((sum, { events }) => sum + events, 0),
    oldestEvent: oldest <= newest ? timestamp(oldest) : null,
    newestEvent: oldest <= newest ? timestamp(newest) : null,
    tables,
    eventTypes,
    archive: yield* archiveStats(db, archive),
    durationMs: (yield* Clock.currentTimeMillis) - begun,
  }
}, Effect.scoped)

const timestamp = (millis: number): string => new Date(millis).toISOString()

const jobsByStatus = (db: SqliteDatabase, now: number): Readonly<Record<JobStatus, number>> => {
  const byCode = new Map(
    db
      .prepare(SELECT_JOBS)
      .all()
      .map(({ jobs, status }) => [status, jobs as number]),
  )
  const count = (...names: ReadonlyArray<keyof typeof ROW_STATUS>) =>
    names.reduce((sum, name) => sum + (byCode.get(ROW_STATUS[name]) ?? 0), 0)
  const notDue = db.prepare(SELECT_SCHEDULED).get(now)!["jobs"] as number
  return {
    scheduled: count("blocked") + notDue,
    pending: count("waiting", "behind") - notDue,
    processing: count("processing"),
    completed: count("completed"),
    dead_letter: count("dead_letter"),
    cancelled: count("cancelled"),
  }
}

const oldestUnfinished = (db: SqliteDatabase): Stats["oldestUnfinishedJob"] => {
  const row = db.prepare(SELECT_OLDEST_UNFINISHED).get()
  return row === undefined ? null : { id: row["id"] as string, createdAt: timestamp(row["at"] as number) }
}

const archiveStats = (db: SqliteDatabase, file: string): Effect.Effect<ArchiveStats, SqlError, Scope.Scope> =>
  Effect.gen(function* () {
    const { events, streams } = yield* Effect.try({
      try: () => archivedTotals(db),
      catch: (cause) => toSqlError(cause, "read what was archived"),
    })
    const known = { file, bytes: fileBytes(file), streams, events }
    const nothing = { ...known, blocks: 0, oldestMove: null, newestMove: null, problem: null }
    if (!existsSync(file)) return streams === 0 ? nothing : { ...nothing, problem: "the file is not there" }
    return yield* Effect.acquireRelease(
      archiveAttempt(file, () => ArchiveFile.open(file, "read")),
      (opened) => Effect.sync(() => opened.close()),
    ).pipe(
      Effect.flatMap(({ database }) =>
        archiveAttempt(file, (): ArchiveStats => {
          const { blocks, newest, oldest } = database.prepare(SELECT_BLOCKS).get()!
          return {
            ...nothing,
            blocks: blocks as number,
            oldestMove: oldest === null ? null : timestamp(oldest as number),
            newestMove: newest === null ? null : timestamp(newest as number),
          }
        }),
      ),
      Effect.catch(({ reason }) => Effect.succeed({ ...nothing, problem: reason.message })),
    )
  })

const archiveAttempt = <A>(file: string, body: () => A): Effect.Effect<A, ArchiveError> =>
  Effect.try({ try: body, catch: (cause) => toArchiveError(file, cause) })

const fileBytes = (path: string): number => statSync(path, { throwIfNoEntry: false })?.size ?? 0

/** A killed owner leaves its note behind: on this host it is asked whether it lives. */
const presentOwner = (filename: string): Effect.Effect<DatabaseOwner | null> =>
  Effect.map(Ownership.lastOwner(filename), (note) =>
    Option.getOrNull(Option.filter(note, ({ host, pid }) => host !== hostname() || isAlive(pid))),
  )

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch (cause) {
    // It lives, and is somebody else's.
    return (cause as NodeJS.ErrnoException).code === "EPERM"
  }
}
