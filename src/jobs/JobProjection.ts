/**
 * The queue tables as an inline projection of job events. Each append folds its events into rows first and then writes
 * every changed row once, so a job that is enqueued and started in one commit costs a single insert.
 */
import type { SQLInputValue } from "node:sqlite"
import type { InlineProjection } from "../journal/InlineProjection.ts"
import type { RecordedEvent } from "../journal/Journal.ts"
import { MultiRowInsert } from "../journal/MultiRowInsert.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { DependencyRows } from "./DependencyRows.ts"
import { isJobEvent, type JobEnqueued, PRIORITIES } from "./JobEvents.ts"
import { evolveRow, type JobRow, priorityCode, ROW_STATUS, type RowChange } from "./JobRow.ts"
import { settleKeys } from "./KeyedRows.ts"
import { isQueueEvent, queueOfStream } from "./QueueBehavior.ts"

/** Rows remembered at least, of jobs not yet finished, so that their next event needs no look-up. About 150 bytes each. */
const ROWS_REMEMBERED = 4_000
/** Stands above every `job_types.id`, for keys made of numbers. */
const TYPES_MAX = 2 ** 20

const COLUMNS = "position, queue, type, priority, status, due_at, attempt, finished_at"
const ON_CONFLICT = `ON CONFLICT (position) DO UPDATE SET priority = excluded.priority, status = excluded.status,
  due_at = excluded.due_at, attempt = excluded.attempt, finished_at = excluded.finished_at`
/**
 * New and changed rows alike. Index: the primary key. Many rows a statement cost half of an UPDATE each (measured: 1.8
 * and 3.5 µs a row).
 */
const UPSERT = new MultiRowInsert({
  into: `INSERT INTO jobs (${COLUMNS})`,
  columns: 8,
  onConflict: ON_CONFLICT,
})
/** The same for rows with columns that most leave empty. */
const UPSERT_RARE = new MultiRowInsert({
  into: `INSERT INTO jobs (${COLUMNS}, concurrency_key, expires_at)`,
  columns: 10,
  onConflict: `${ON_CONFLICT}, expires_at = excluded.expires_at`,
})
/**
 * The rows of a JSON array of streams. Indexes: events UNIQUE (stream, version), then the primary key, one seek each;
 * half the cost of a statement each (measured: 2.8 and 5 µs a row).
 */
export const SELECT_ROWS = `SELECT
    e.stream, j.position, j.queue, j.type, j.priority, j.status, j.due_at, j.attempt, j.finished_at,
    j.concurrency_key, j.expires_at
  FROM json_each(?) wanted
    CROSS JOIN events e ON e.stream = wanted.atom AND e.version = 1
    CROSS JOIN jobs j ON j.position = e.position`
const INSERT_KEY = "INSERT INTO job_keys (queue, key, position) VALUES (?, ?, ?)"
const INSERT_TAG = "INSERT OR IGNORE INTO job_tags (tag, position) VALUES (?, ?)"
const ADD_COUNT = `INSERT INTO job_counts (queue, type, priority, status, jobs) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (queue, type, priority, status) DO UPDATE SET jobs = jobs + excluded.jobs`
const DROP_EMPTY_COUNT =
  "DELETE FROM job_counts WHERE queue = ? AND type = ? AND priority = ? AND status = ? AND jobs = 0"

/** Keeps the queue tables in step with the journal. */
export const jobProjection = (): InlineProjection => {
  /** In two generations, the younger of which becomes the older when it is full: forgetting row by row cost 3 %. */
  let rows = new Map<string, JobRow>()
  let olderRows = new Map<string, JobRow>()
  let queueIds = new Map<string, number>()
  let typeIds = new Map<string, number>()
  const dependencies = new DependencyRows()
  /** Whether a job of this append depends on others. */
  let isDependent = false

  const idOf = (db: SqliteDatabase, table: "queue_names" | "job_types", name: string): number => {
    const ids = table === "queue_names" ? queueIds : typeIds
    let id = ids.get(name)
    if (id === undefined) {
      const row =
        db.prepare(`SELECT id FROM ${table} WHERE name = ?`).get(name) ??
        db.prepare(`INSERT INTO ${table} (name) VALUES (?) RETURNING id`).get(name)
      id = row!["id"] as number
      ids.set(name, id)
    }
    return id
  }

  /** Brings to mind the rows that these events change. */
  const recall = (db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>) => {
    const wanted = new Set<string>()
    for (const { event, stream, version } of events) {
      if (version === 1 || rows.has(stream) || olderRows.has(stream) || !isJobEvent(event)) continue
      wanted.add(stream)
    }
    if (wanted.size === 0) return
    // Whose first event is among these has no row yet.
    for (const { stream, version } of events) if (version === 1) wanted.delete(stream)
    if (wanted.size === 0) return
    for (const row of db.prepare(SELECT_ROWS).all(JSON.stringify([...wanted]))) {
      rows.set(row["stream"] as string, {
        position: row["position"] as number,
        queue: row["queue"] as number,
        type: row["type"] as number,
        priority: row["priority"] as number,
        // Which job of a key comes first is found out anew with each change.
        status: row["status"] === ROW_STATUS.behind ? ROW_STATUS.waiting : (row["status"] as number),
        dueAt: row["due_at"] as number,
        attempt: row["attempt"] as number,
        finishedAt: row["finished_at"] as number | null,
        rare: rareColumns(row["concurrency_key"] as string | null, row["expires_at"] as number | null),
      })
    }
  }

  const enqueue = (db: SqliteDatabase, recorded: RecordedEvent, event: typeof JobEnqueued.Type): JobRow => {
    const row: JobRow = {
      position: recorded.position,
      queue: idOf(db, "queue_names", event.queue),
      type: idOf(db, "job_types", event.type),
      priority: priorityCode(event.priority),
      status: event.depends_on === undefined ? ROW_STATUS.waiting : ROW_STATUS.blocked,
      dueAt: event.due_at ?? recorded.recordedAt,
      attempt: 0,
      finishedAt: null,
      rare: rareColumns(event.concurrency_key ?? null, event.expires_at ?? null),
    }
    if (event.idempotency_key !== undefined) {
      db.prepare(INSERT_KEY).run(row.queue, event.idempotency_key, row.position)
    }
    if (event.depends_on !== undefined) isDependent = true
    if (event.tags !== undefined) for (const tag of event.tags) db.prepare(INSERT_TAG).run(tag, row.position)
    return row
  }

  const fold = (db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>): ReadonlyArray<RowChange> => {
    const changes: Array<RowChange> = []
    const byStream = new Map<string, RowChange>()
    const onlyFresh = events.every(({ version }) => version === 1)
    if (!onlyFresh) recall(db, events)
    for (const recorded of events) {
      const { event, stream } = recorded
      if (!isJobEvent(event)) {
        if (isQueueEvent(event)) idOf(db, "queue_names", queueOfStream(stream))
        continue
      }
      if (event._tag === "JobEnqueued") {
        const change = { stream, before: undefined, after: enqueue(db, recorded, event) }
        changes.push(change)
        if (!onlyFresh) byStream.set(stream, change)
        continue
      }
      const change = byStream.get(stream)
      const current = change?.after ?? rows.get(stream) ?? olderRows.get(stream)
      if (current === undefined) throw new Error(`the stream ${stream} has no row in jobs`)
      const after = evolveRow(current, event, recorded.recordedAt)
      if (change !== undefined) change.after = after
      else if (after !== current) {
        const change = { stream, before: current, after }
        changes.push(change)
        byStream.set(stream, change)
      }
    }
    return changes
  }

  const remember = (changes: ReadonlyArray<RowChange>) => {
    for (const { stream, after } of changes) {
      if (after.finishedAt === null) rows.set(stream, after)
      else {
        rows.delete(stream)
        olderRows.delete(stream)
      }
    }
    if (rows.size <= ROWS_REMEMBERED) return
    olderRows = rows
    rows = new Map()
  }

  return {
    name: "jobs",
    tables: ["jobs", "job_keys", "job_tags", "job_counts", "job_dependencies"],
    dictionaries: ["queue_names", "job_types"],
    project: (db, events) => {
      const changes = fold(db, events)
      if (changes.length > 0) {
        write(db, changes)
        count(db, changes)
        settleKeys(db, changes)
        remember(changes)
      }
      if (isDependent || dependencies.exist(db)) dependencies.project(db, events)
      isDependent = false
    },
    retained: dependedOn,
    remove: removeJobs,
    forget: () => {
      rows = new Map()
      olderRows = new Map()
      queueIds = new Map()
      typeIds = new Map()
      dependencies.forget()
      isDependent = false
    },
  }
}

const rareColumns = (concurrencyKey: string | null, expiresAt: number | null): JobRow["rare"] =>
  concurrencyKey === null && expiresAt === null ? undefined : { concurrencyKey, expiresAt }

const write = (db: SqliteDatabase, changes: ReadonlyArray<RowChange>) => {
  const rare = changes.filter(({ after }) => after.rare !== undefined)
  const plain = rare.length === 0 ? changes : changes.filter(({ after }) => after.rare === undefined)
  UPSERT.run(db, plain, ({ after }, values, at) => bind(after, after.status, values, at))
  if (rare.length === 0) return
  UPSERT_RARE.run(db, rare, ({ after }, values, at) => {
    const { concurrencyKey, expiresAt } = after.rare!
    const isBehind = concurrencyKey !== null && after.status === ROW_STATUS.waiting
    bind(after, isBehind ? ROW_STATUS.behind : after.status, values, at)
    values[at + 8] = concurrencyKey
    values[at + 9] = expiresAt
  })
}

const bind = (row: JobRow, status: number, values: Array<SQLInputValue>, at: number) => {
  values[at] = row.position
  values[at + 1] = row.queue
  values[at + 2] = row.type
  values[at + 3] = row.priority
  values[at + 4] = status
  values[at + 5] = row.dueAt
  values[at + 6] = row.attempt
  values[at + 7] = row.finishedAt
}

/** Moves jobs between the counts: one statement for each count that changed, however many jobs did. */
const count = (db: SqliteDatabase, changes: ReadonlyArray<RowChange>) => {
  const deltas = new Map<number, { readonly row: JobRow; jobs: number }>()
  const add = (row: JobRow, jobs: number) => {
    const key = ((row.queue * TYPES_MAX + row.type) * PRIORITIES.length + row.priority) * 8 + row.status
    const delta = deltas.get(key)
    if (delta === undefined) deltas.set(key, { row, jobs })
    else delta.jobs += jobs
  }
  for (const { before, after } of changes) {
    if (before?.status === after.status && before.priority === after.priority) continue
    if (before !== undefined) add(before, -1)
    add(after, 1)
  }
  for (const { row, jobs } of deltas.values()) {
    if (jobs === 0) continue
    db.prepare(ADD_COUNT).run(row.queue, row.type, row.priority, row.status, jobs)
    if (jobs < 0) db.prepare(DROP_EMPTY_COUNT).run(row.queue, row.type, row.priority, row.status)
  }
}

/** Index: the primary key of job_dependencies. */
const SELECT_DEPENDED_ON = `SELECT DISTINCT dependency FROM job_dependencies
  WHERE dependency IN (SELECT atom FROM json_each(?))`

/** Jobs that another one has not settled with: what becomes of it may hang on them yet. */
const dependedOn: InlineProjection["retained"] & {} = (db, events) => {
  const streams = new Map<number, string>()
  for (const { event, position, stream } of events)
    if (isJobEvent(event) && event._tag === "JobEnqueued") streams.set(position, stream)
  const rows = db.prepare(SELECT_DEPENDED_ON).all(JSON.stringify([...streams.keys()]))
  return new Set(rows.map((row) => streams.get(row["dependency"] as number)!))
}

/** Index: the primary key. */
const DELETE_ROWS = `DELETE FROM jobs WHERE position IN (SELECT atom FROM json_each(?))
  RETURNING queue, type, priority, status`
const SUBTRACT_COUNT =
  "UPDATE job_counts SET jobs = jobs - ? WHERE queue = ? AND type = ? AND priority = ? AND status = ?"
/** Index: the primary key of job_keys. */
const DELETE_KEY =
  "DELETE FROM job_keys WHERE queue = (SELECT id FROM queue_names WHERE name = ?) AND key = ? AND position = ?"
const DELETE_TAG = "DELETE FROM job_tags WHERE tag = ? AND position = ?"

/**
 * Takes jobs out that leave for the archive: every row that their first events have made, and their place in the counts.
 * They are finished, and finished rows are not remembered, so there is nothing to forget.
 */
const removeJobs: InlineProjection["remove"] & {} = (db, events) => {
  const positions: Array<number> = []
  for (const { event, position } of events) {
    if (!isJobEvent(event) || event._tag !== "JobEnqueued") continue
    positions.push(position)
    const { idempotency_key: key, queue, tags = [] } = event
    if (key !== undefined) db.prepare(DELETE_KEY).run(queue, key, position)
    for (const tag of tags) db.prepare(DELETE_TAG).run(tag, position)
  }
  const counts = new Map<string, { readonly of: ReadonlyArray<number>; jobs: number }>()
  for (const row of db.prepare(DELETE_ROWS).all(JSON.stringify(positions))) {
    const of = ["queue", "type", "priority", "status"].map((column) => row[column] as number)
    const count = counts.get(of.join()) ?? { of, jobs: 0 }
    counts.set(of.join(), { of, jobs: count.jobs + 1 })
  }
  for (const { jobs, of } of counts.values()) {
    db.prepare(SUBTRACT_COUNT).run(jobs, ...of)
    db.prepare(DROP_EMPTY_COUNT).run(...of)
  }
}
