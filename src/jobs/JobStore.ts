/**
 * What the queue looks up in its tables: by index, never by scanning. Lists and counts for people are in `JobList` and
 * `QueueStats`.
 */
import { Context, Effect, Layer } from "effect"
import type { SQLOutputValue } from "node:sqlite"
import { EventCatalog } from "../journal/DomainEvent.ts"
import { JournalError, StoreFailed } from "../journal/Journal.ts"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { JobBehavior } from "./JobBehavior.ts"
import { type JobEvent, jobEventTypes } from "./JobEvents.ts"
import { absent } from "./JobState.ts"
import { LANE_CAPACITY, type ReadyJob, SMALL_PAYLOAD_CHARACTERS } from "./ReadyWindow.ts"

/**
 * The first ready jobs of a lane. Index: jobs_waiting; each id costs one primary-key look-up. A job whose first event is
 * still its only one comes with that event, which saves its claim a read (one seek of UNIQUE (stream, version) here).
 */
export const SELECT_READY = `SELECT j.position, j.due_at, e.stream, e.revision, e.recorded_at,
  CASE WHEN j.attempt = 0 AND octet_length(e.data) <= ${SMALL_PAYLOAD_CHARACTERS}
    AND NOT EXISTS (SELECT 1 FROM events n WHERE n.stream = e.stream AND n.version = 2) THEN e.data END AS data
  FROM jobs j INDEXED BY jobs_waiting CROSS JOIN events e ON e.position = j.position
  WHERE j.status = 0 AND j.queue = ? AND j.type = ? AND j.priority = ? AND j.due_at <= ?
  ORDER BY j.due_at, j.position LIMIT ${LANE_CAPACITY}`
/** When the next job of a lane becomes due. Index: jobs_waiting, one seek. */
export const SELECT_NEXT_DUE = `SELECT min(due_at) AS due_at FROM jobs INDEXED BY jobs_waiting
  WHERE status = 0 AND queue = ? AND type = ? AND priority = ? AND due_at > ?`
/** All leased jobs of a queue: no more than its concurrency. Index: jobs_processing. */
export const SELECT_PROCESSING = `SELECT e.stream
  FROM jobs j INDEXED BY jobs_processing CROSS JOIN events e ON e.position = j.position
  WHERE j.status = 1 AND j.queue = ?`
/** The job of an idempotency key. Index: the primary key of job_keys. */
export const SELECT_BY_KEY = `SELECT e.stream
  FROM queue_names q JOIN job_keys k ON k.queue = q.id JOIN events e ON e.position = k.position
  WHERE q.name = ? AND k.key = ?`
const SELECT_QUEUE_ID = "SELECT id FROM queue_names WHERE name = ?"
const SELECT_TYPE_ID = "SELECT id FROM job_types WHERE name = ?"
const SELECT_QUEUES = "SELECT name FROM queue_names ORDER BY id"

/** One lane's content: see `Lane.fill`. */
export interface LaneContent {
  readonly jobs: Array<ReadyJob>
  readonly complete: boolean
  readonly nextDueAt: number
}

export class JobStore extends Context.Service<
  JobStore,
  {
    /** The first ready jobs of a queue's type and priority at a moment. */
    readonly ready: (
      queue: string,
      type: string,
      priority: number,
      now: number,
    ) => Effect.Effect<LaneContent, JournalError>
    /** Ids of all jobs of a queue that hold a lease. */
    readonly processing: (queue: string) => Effect.Effect<ReadonlyArray<string>, JournalError>
    /** The id of the job that an idempotency key of a queue belongs to. */
    readonly findByKey: (queue: string, key: string) => Effect.Effect<string | undefined, JournalError>
    /** The names of all queues that ever had a job. */
    readonly queues: Effect.Effect<ReadonlyArray<string>, JournalError>
  }
>()("renderowl/jobs/JobStore") {
  static readonly layer = Layer.effect(
    JobStore,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      const ids = new Map<string, number>()
      const catalog = new EventCatalog(jobEventTypes)

      /** The job of a row of {@link SELECT_READY} that holds its only event. */
      const knownFrom = (row: Record<string, SQLOutputValue>): ReadyJob["known"] => {
        const { data, revision, recorded_at } = row
        if (data === null) return undefined
        const event = catalog.decode("JobEnqueued", revision as number, data as string) as JobEvent
        return { state: JobBehavior.evolve(absent, event, recorded_at as number), version: 1 }
      }

      const read = <A>(f: () => A): Effect.Effect<A, JournalError> =>
        Effect.try({ try: f, catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }) })

      /** Ids never change once they are committed, and only committed ones are seen here. */
      const idOf = (sql: string, name: string): number | undefined => {
        const key = `${sql} ${name}`
        const known = ids.get(key)
        if (known !== undefined) return known
        const id = reader.prepare(sql).get(name)?.["id"] as number | undefined
        if (id !== undefined) ids.set(key, id)
        return id
      }

      return JobStore.of({
        ready: (queueName, typeName, priority, now) =>
          read(() => {
            const queue = idOf(SELECT_QUEUE_ID, queueName)
            const type = idOf(SELECT_TYPE_ID, typeName)
            if (queue === undefined || type === undefined) {
              return { jobs: [], complete: true, nextDueAt: Number.POSITIVE_INFINITY }
            }
            const jobs = reader
              .prepare(SELECT_READY)
              .all(queue, type, priority, now)
              .map(
                (row): ReadyJob => ({
                  id: row["stream"] as string,
                  type: typeName,
                  priority,
                  dueAt: row["due_at"] as number,
                  position: row["position"] as number,
                  known: knownFrom(row),
                }),
              )
            const next = reader.prepare(SELECT_NEXT_DUE).get(queue, type, priority, now)?.["due_at"]
            return {
              jobs,
              complete: jobs.length < LANE_CAPACITY,
              nextDueAt: typeof next === "number" ? next : Number.POSITIVE_INFINITY,
            }
          }),
        processing: (queueName) =>
          read(() => {
            const queue = idOf(SELECT_QUEUE_ID, queueName)
            if (queue === undefined) return []
            return reader
              .prepare(SELECT_PROCESSING)
              .all(queue)
              .map((row) => row["stream"] as string)
          }),
        findByKey: (queue, key) =>
          read(() => reader.prepare(SELECT_BY_KEY).get(queue, key)?.["stream"] as string | undefined),
        queues: read(() =>
          reader
            .prepare(SELECT_QUEUES)
            .all()
            .map((row) => row["name"] as string),
        ),
      })
    }),
  )
}
