/**
 * The ceiling: what SQLite does on the same disk, with the same schema, pragmas and rows, when a plain loop of prepared
 * statements writes what RenderOwl's journal and queue table get. Ids and JSON are made beforehand and nothing is
 * checked, counted or remembered, so no system on top of this schema and these statements can be faster.
 */
import { Effect } from "effect"
import { randomFillSync } from "node:crypto"
import { join } from "node:path"
import type { SQLInputValue, StatementSync } from "node:sqlite"
import { ROW_STATUS } from "../../src/jobs/JobRow.ts"
import { TypeIdGenerator } from "../../src/security/TypeId.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import { NOOP_PAYLOAD, NoopJob } from "./NoopJob.ts"

const PRIORITY = 2
/** Rows of a multi-row INSERT: beyond this the gain levels off. */
const ROWS_PER_INSERT = 50

const EVENT_ROW = "(?,?,?,?,?,?,?,?)"
const INSERT_EVENT =
  "INSERT INTO events (position, stream, version, type, revision, data, metadata, recorded_at) VALUES "
const JOB_ROW = "(?,?,?,?,?,?,?,?)"
const INSERT_JOB =
  "INSERT INTO jobs (position, queue, type, priority, status, due_at, attempt, finished_at) VALUES "
/** The whole row, because that is what a projection knows. Index: the primary key. */
const UPDATE_JOB =
  "UPDATE jobs SET priority = ?, status = ?, due_at = ?, attempt = ?, finished_at = ? WHERE position = ?"

const times = (row: string, count: number) => Array.from({ length: count }, () => row).join(",")

const ENQUEUED = JSON.stringify({
  queue: NoopJob.queue,
  type: NoopJob.type,
  priority: "normal",
  payload: NOOP_PAYLOAD,
  max_attempts: NoopJob.retry.maxAttempts,
  timeout_ms: NoopJob.timeoutMs,
})
const STARTED = JSON.stringify({ attempt: 1, worker: `pid-${process.pid}` })
const COMPLETED = JSON.stringify({ attempt: 1, result: null })

/** A job that was enqueued by {@link RawJobs}. */
export interface RawJob {
  readonly id: string
  readonly position: number
  readonly dueAt: number
}

/** A job with what its event says, as JSON. */
export interface RawEnqueue {
  readonly id: string
  readonly dueAt: number
  readonly data: string
  readonly metadata: string
}

/** Writes job events and queue rows, and nothing else. */
export class RawJobs {
  readonly #db: SqliteDatabase
  readonly #queue: number
  readonly #type: number
  readonly #insertEvent: StatementSync
  readonly #insertJob: StatementSync
  readonly #insertEvents: StatementSync
  readonly #insertJobs: StatementSync
  readonly #updateJob: StatementSync
  #position = 0

  /** On a fresh database with the real migrations. */
  static readonly open = Effect.fnUntraced(function* (folder: string) {
    const db = yield* Effect.acquireRelease(
      Effect.sync(() => SqliteDatabase.open({ filename: join(folder, "raw.db") })),
      (db) => Effect.sync(() => db.close()),
    )
    yield* Migrations.run(db, yield* Migrations.load(Migrations.defaultFolder))
    return new RawJobs(db)
  })

  private constructor(db: SqliteDatabase) {
    this.#db = db
    const idOf = (table: string, name: string) =>
      db.prepare(`INSERT INTO ${table} (name) VALUES (?) RETURNING id`).get(name)!["id"] as number
    this.#queue = idOf("queue_names", NoopJob.queue)
    this.#type = idOf("job_types", NoopJob.type)
    this.#insertEvent = db.prepareUncached(INSERT_EVENT + EVENT_ROW)
    this.#insertJob = db.prepareUncached(INSERT_JOB + JOB_ROW)
    this.#insertEvents = db.prepareUncached(INSERT_EVENT + times(EVENT_ROW, ROWS_PER_INSERT))
    this.#insertJobs = db.prepareUncached(INSERT_JOB + times(JOB_ROW, ROWS_PER_INSERT))
    this.#updateJob = db.prepareUncached(UPDATE_JOB)
  }

  static readonly #ids = new TypeIdGenerator((bytes) => randomFillSync(bytes))

  /** Ids in the order of their making, as the real ones are. */
  static nextId(): string {
    return RawJobs.#ids.next("job", Date.now())
  }

  static makeIds(count: number): ReadonlyArray<string> {
    return Array.from({ length: count }, RawJobs.nextId)
  }

  /** One event row and one queue row a job, a statement each, `perTransaction` jobs a commit. */
  enqueue(ids: ReadonlyArray<string>, perTransaction: number): Array<RawJob> {
    const jobs: Array<RawJob> = []
    for (let next = 0; next < ids.length; next += perTransaction) {
      const dueAt = Date.now()
      this.#db.transaction(() => {
        for (const id of ids.slice(next, next + perTransaction)) jobs.push(this.#enqueueOne(id, dueAt))
      })
    }
    return jobs
  }

  /** Jobs that say what they are, in one commit. */
  enqueueTogether(jobs: ReadonlyArray<RawEnqueue>): void {
    const now = Date.now()
    this.#db.transaction(() => {
      for (const { data, dueAt, id, metadata } of jobs) {
        const position = ++this.#position
        this.#insertEvent.run(position, id, 1, "JobEnqueued", 1, data, metadata, now)
        this.#insertJob.run(position, this.#queue, this.#type, PRIORITY, ROW_STATUS.waiting, dueAt, 0, null)
      }
    })
  }

  /** What `enqueue` does, with many rows a statement. `perTransaction` is a multiple of {@link ROWS_PER_INSERT}. */
  enqueueMultiRow(ids: ReadonlyArray<string>, perTransaction: number): void {
    if (perTransaction % ROWS_PER_INSERT !== 0) throw new Error(`not a multiple of ${ROWS_PER_INSERT}`)
    for (let next = 0; next < ids.length; next += perTransaction) {
      const dueAt = Date.now()
      this.#db.transaction(() => {
        const end = next + perTransaction
        for (let from = next; from < end; from += ROWS_PER_INSERT) {
          const events: Array<SQLInputValue> = []
          const rows: Array<SQLInputValue> = []
          for (const id of ids.slice(from, from + ROWS_PER_INSERT)) {
            const position = ++this.#position
            events.push(position, id, 1, "JobEnqueued", 1, ENQUEUED, null, dueAt)
            rows.push(position, this.#queue, this.#type, PRIORITY, ROW_STATUS.waiting, dueAt, 0, null)
          }
          this.#insertEvents.run(...events)
          this.#insertJobs.run(...rows)
        }
      })
    }
  }

  /**
   * Starts and completes jobs as a queue does that keeps `concurrency` of them going: each transaction completes that
   * many and starts the next ones.
   */
  drain(jobs: ReadonlyArray<RawJob>, concurrency: number): void {
    let running: ReadonlyArray<RawJob> = []
    for (let next = 0; next < jobs.length || running.length > 0; next += concurrency) {
      const starting = jobs.slice(next, next + concurrency)
      const now = Date.now()
      this.#db.transaction(() => {
        for (const job of running) this.#complete(job, now)
        for (const job of starting) this.#start(job, now)
      })
      running = starting
    }
  }

  /** Enqueues one job and starts it in the same transaction. */
  enqueueAndStart(id: string): RawJob {
    const now = Date.now()
    return this.#db.transaction(() => {
      const job = this.#enqueueOne(id, now)
      this.#start(job, now)
      return job
    })
  }

  #enqueueOne(id: string, dueAt: number): RawJob {
    const position = ++this.#position
    this.#insertEvent.run(position, id, 1, "JobEnqueued", 1, ENQUEUED, null, dueAt)
    this.#insertJob.run(position, this.#queue, this.#type, PRIORITY, ROW_STATUS.waiting, dueAt, 0, null)
    return { id, position, dueAt }
  }

  #start({ id, position, dueAt }: RawJob, now: number): void {
    this.#insertEvent.run(++this.#position, id, 2, "JobStarted", 1, STARTED, null, now)
    this.#updateJob.run(PRIORITY, ROW_STATUS.processing, dueAt, 1, null, position)
  }

  #complete({ id, position, dueAt }: RawJob, now: number): void {
    this.#insertEvent.run(++this.#position, id, 3, "JobCompleted", 1, COMPLETED, null, now)
    this.#updateJob.run(PRIORITY, ROW_STATUS.completed, dueAt, 1, now, position)
  }
}
