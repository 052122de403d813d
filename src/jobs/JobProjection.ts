/**
 * The queue tables as an inline projection of job events. Each append folds its events into rows first and then writes
 * every changed row once, so a job that is enqueued and started in one commit costs a single insert.
 */
import type { SQLInputValue } from "node:sqlite"
import type { InlineProjection } from "../journal/InlineProjection.ts"
import type { RecordedEvent } from "../journal/Journal.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { isJobEvent, type JobEnqueued } from "./JobEvents.ts"
import { evolveRow, type JobRow, priorityCode, ROW_STATUS } from "./JobRow.ts"

/** Rows remembered so that a job's next event needs no look-up. About 150 bytes each. */
const ROWS_REMEMBERED = 20_000
const ROWS_PER_INSERT = 32

const INSERT_COLUMNS =
  "INSERT INTO jobs (position, queue, type, priority, status, due_at, attempt, finished_at) VALUES "
const ROW_PLACEHOLDERS = "(?,?,?,?,?,?,?,?)"
const INSERT_ONE = INSERT_COLUMNS + ROW_PLACEHOLDERS
const INSERT_MANY = INSERT_COLUMNS + Array.from({ length: ROWS_PER_INSERT }, () => ROW_PLACEHOLDERS).join(",")
/** Index: the primary key. */
const UPDATE =
  "UPDATE jobs SET priority = ?, status = ?, due_at = ?, attempt = ?, finished_at = ? WHERE position = ?"
/** Indexes: events UNIQUE (stream, version), then the primary key. */
const SELECT = `SELECT j.position, j.queue, j.type, j.priority, j.status, j.due_at, j.attempt, j.finished_at
  FROM events e JOIN jobs j ON j.position = e.position WHERE e.stream = ? AND e.version = 1`
const INSERT_KEY = "INSERT INTO job_keys (queue, key, position) VALUES (?, ?, ?)"
const INSERT_TAG = "INSERT OR IGNORE INTO job_tags (tag, position) VALUES (?, ?)"
const ADD_COUNT = `INSERT INTO job_counts (queue, type, priority, status, jobs) VALUES (?, ?, ?, ?, ?)
  ON CONFLICT (queue, type, priority, status) DO UPDATE SET jobs = jobs + excluded.jobs`
const DROP_EMPTY_COUNT =
  "DELETE FROM job_counts WHERE queue = ? AND type = ? AND priority = ? AND status = ? AND jobs = 0"

interface Change {
  readonly before: JobRow | undefined
  after: JobRow
}

/** Keeps `jobs`, `job_keys`, `job_tags`, `job_counts`, `queue_names` and `job_types` in step with the journal. */
export const jobProjection = (): InlineProjection => {
  let rows = new Map<string, JobRow>()
  let queueIds = new Map<string, number>()
  let typeIds = new Map<string, number>()

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

  const find = (db: SqliteDatabase, stream: string): JobRow => {
    const row = db.prepare(SELECT).get(stream)
    if (row === undefined) throw new Error(`the stream ${stream} has no row in jobs`)
    return {
      position: row["position"] as number,
      queue: row["queue"] as number,
      type: row["type"] as number,
      priority: row["priority"] as number,
      status: row["status"] as number,
      dueAt: row["due_at"] as number,
      attempt: row["attempt"] as number,
      finishedAt: row["finished_at"] as number | null,
    }
  }

  const enqueue = (db: SqliteDatabase, recorded: RecordedEvent, event: typeof JobEnqueued.Type): JobRow => {
    const row: JobRow = {
      position: recorded.position,
      queue: idOf(db, "queue_names", event.queue),
      type: idOf(db, "job_types", event.type),
      priority: priorityCode(event.priority),
      status: ROW_STATUS.waiting,
      dueAt: event.due_at ?? recorded.recordedAt,
      attempt: 0,
      finishedAt: null,
    }
    if (event.idempotency_key !== undefined) {
      db.prepare(INSERT_KEY).run(row.queue, event.idempotency_key, row.position)
    }
    if (event.tags !== undefined) for (const tag of event.tags) db.prepare(INSERT_TAG).run(tag, row.position)
    return row
  }

  const fold = (db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>): Map<string, Change> => {
    const changes = new Map<string, Change>()
    for (const recorded of events) {
      const { event, stream } = recorded
      if (!isJobEvent(event)) continue
      if (event._tag === "JobEnqueued") {
        changes.set(stream, { before: undefined, after: enqueue(db, recorded, event) })
        continue
      }
      const change = changes.get(stream)
      const current = change?.after ?? rows.get(stream) ?? find(db, stream)
      const after = evolveRow(current, event, recorded.recordedAt)
      if (change !== undefined) change.after = after
      else if (after !== current) changes.set(stream, { before: current, after })
    }
    return changes
  }

  const write = (db: SqliteDatabase, changes: Map<string, Change>) => {
    const fresh: Array<JobRow> = []
    for (const { before, after } of changes.values()) {
      if (before === undefined) fresh.push(after)
      else {
        const { priority, status, dueAt, attempt, finishedAt, position } = after
        db.prepare(UPDATE).run(priority, status, dueAt, attempt, finishedAt, position)
      }
    }
    insert(db, fresh)
  }

  const remember = (changes: Map<string, Change>) => {
    for (const [stream, { after }] of changes) {
      rows.delete(stream)
      rows.set(stream, after)
    }
    if (rows.size <= ROWS_REMEMBERED) return
    for (const stream of rows.keys()) {
      rows.delete(stream)
      if (rows.size <= ROWS_REMEMBERED) return
    }
  }

  return {
    name: "jobs",
    project: (db, events) => {
      const changes = fold(db, events)
      if (changes.size === 0) return
      write(db, changes)
      count(db, changes)
      remember(changes)
    },
    forget: () => {
      rows = new Map()
      queueIds = new Map()
      typeIds = new Map()
    },
  }
}

const insert = (db: SqliteDatabase, rows: ReadonlyArray<JobRow>) => {
  const values = (row: JobRow, into: Array<SQLInputValue>) => {
    into.push(
      row.position,
      row.queue,
      row.type,
      row.priority,
      row.status,
      row.dueAt,
      row.attempt,
      row.finishedAt,
    )
  }
  let next = 0
  for (; rows.length - next >= ROWS_PER_INSERT; next += ROWS_PER_INSERT) {
    const many: Array<SQLInputValue> = []
    for (let i = 0; i < ROWS_PER_INSERT; i++) values(rows[next + i]!, many)
    db.prepare(INSERT_MANY).run(...many)
  }
  for (; next < rows.length; next++) {
    const one: Array<SQLInputValue> = []
    values(rows[next]!, one)
    db.prepare(INSERT_ONE).run(...one)
  }
}

/** Moves jobs between the counts: one statement for each count that changed, however many jobs did. */
const count = (db: SqliteDatabase, changes: Map<string, Change>) => {
  const deltas = new Map<string, { readonly row: JobRow; jobs: number }>()
  const add = (row: JobRow, jobs: number) => {
    const key = `${row.queue} ${row.type} ${row.priority} ${row.status}`
    const delta = deltas.get(key)
    if (delta === undefined) deltas.set(key, { row, jobs })
    else delta.jobs += jobs
  }
  for (const { before, after } of changes.values()) {
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
