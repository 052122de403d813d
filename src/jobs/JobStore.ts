/**
 * What the queue looks up in its tables: by index, never by scanning. Lists and counts for people are in `JobList` and
 * `QueueStats`.
 */
import { Context, Effect, Layer } from "effect"
import type { SQLOutputValue } from "node:sqlite"
import { EventCatalog } from "../journal/DomainEvent.ts"
import { type EventMetadata, JournalError, StoreFailed } from "../journal/Journal.ts"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { JobBehavior } from "./JobBehavior.ts"
import { type JobEvent, jobEventTypes, type JobOutcome } from "./JobEvents.ts"
import { ROW_STATUS } from "./JobRow.ts"
import { absent } from "./JobState.ts"
import { traceAfter } from "./JobTrace.ts"
import { LANE_CAPACITY, type ReadyJob, SMALL_PAYLOAD_CHARACTERS } from "./Lane.ts"

/** Expired jobs that one turn of a queue ends. */
export const EXPIRED_AT_A_TIME = 500
/** Ended dependencies that are told at a time. */
export const ENDED_AT_A_TIME = 256

/**
 * The first ready jobs of a lane. Index: jobs_waiting; each id costs one primary-key look-up. A job whose first event is
 * still its only one comes with that event, which saves its claim a read (one seek of UNIQUE (stream, version) here).
 */
const READY_COLUMNS = `j.position, j.due_at, j.concurrency_key, e.stream, e.revision, e.recorded_at,
  CASE WHEN j.attempt = 0 AND octet_length(e.data) <= ${SMALL_PAYLOAD_CHARACTERS}
    AND NOT EXISTS (SELECT 1 FROM events n WHERE n.stream = e.stream AND n.version = 2) THEN e.data END AS data, e.metadata`
export const SELECT_READY = `SELECT ${READY_COLUMNS}
  FROM jobs j INDEXED BY jobs_waiting CROSS JOIN events e ON e.position = j.position
  WHERE j.status = 0 AND j.queue = ? AND j.type = ? AND j.priority = ? AND j.due_at > ? AND j.due_at <= ?
  ORDER BY j.due_at, j.position LIMIT ${LANE_CAPACITY}`
/** When the next job of a lane becomes due. Index: jobs_waiting, one seek. */
export const SELECT_NEXT_DUE = `SELECT min(due_at) AS due_at FROM jobs INDEXED BY jobs_waiting
  WHERE status = 0 AND queue = ? AND type = ? AND priority = ? AND due_at > ?`
/** All leased jobs of a queue: no more than its concurrency. Index: jobs_processing. */
export const SELECT_PROCESSING = `SELECT e.stream
  FROM jobs j INDEXED BY jobs_processing CROSS JOIN events e ON e.position = j.position
  WHERE j.status = 1 AND j.queue = ?`
/**
 * Of each `[type, priority, key]` the job that comes first, due or not. Index: jobs_keyed, a seek each; they are as many as
 * the last turn has touched.
 */
export const SELECT_FIRST_OF_KEYS = `SELECT wanted.key AS asked, ${READY_COLUMNS}
  FROM json_each(?2) wanted
    CROSS JOIN job_types t ON t.name = wanted.value ->> 0
    CROSS JOIN jobs j INDEXED BY jobs_keyed
      ON j.queue = ?1 AND j.type = t.id AND j.priority = wanted.value ->> 1
        AND j.concurrency_key = wanted.value ->> 2 AND j.status IN (0, 6) AND j.status = 0
    CROSS JOIN events e ON e.position = j.position`
/** Of a JSON array of job ids, the statuses of those that are in the tables. Two seeks each. */
export const SELECT_STATUSES = `SELECT e.stream, j.status FROM json_each(?) wanted
    CROSS JOIN events e ON e.stream = wanted.atom AND e.version = 1
    CROSS JOIN jobs j ON j.position = e.position`
/** When the next job of a queue expires that has not yet. Index: jobs_expiring, one seek. */
export const SELECT_NEXT_EXPIRY = `SELECT min(expires_at) AS expires_at FROM jobs INDEXED BY jobs_expiring
  WHERE queue = ? AND expires_at > ? AND status IN (0, 5, 6)`
/** Jobs that have expired. Index: jobs_expiring. */
export const SELECT_EXPIRED = `SELECT e.stream
  FROM jobs j INDEXED BY jobs_expiring CROSS JOIN events e ON e.position = j.position
  WHERE j.queue = ? AND j.expires_at <= ? AND j.status IN (0, 5, 6)
  ORDER BY j.expires_at LIMIT ${EXPIRED_AT_A_TIME}`
/** Jobs that others wait for and that have ended. Index: job_dependencies_ended; each costs a few primary-key look-ups. */
export const SELECT_ENDED_DEPENDENCIES = `SELECT d.outcome, e.stream AS dependency, f.stream AS dependent, q.name AS queue
  FROM job_dependencies d INDEXED BY job_dependencies_ended
    CROSS JOIN events e ON e.position = d.dependency
    CROSS JOIN events f ON f.position = d.dependent
    CROSS JOIN jobs j ON j.position = d.dependent
    CROSS JOIN queue_names q ON q.id = j.queue
  WHERE d.outcome IS NOT NULL LIMIT ${ENDED_AT_A_TIME}`
/** Index: the primary key. */
const SELECT_ANY_DEPENDENCY = "SELECT EXISTS (SELECT 1 FROM job_dependencies) AS found"
/** The job of an idempotency key. Index: the primary key of job_keys. */
export const SELECT_BY_KEY = `SELECT e.stream
  FROM queue_names q JOIN job_keys k ON k.queue = q.id JOIN events e ON e.position = k.position
  WHERE q.name = ? AND k.key = ?`
const SELECT_QUEUE_ID = "SELECT id FROM queue_names WHERE name = ?"
const SELECT_TYPE_ID = "SELECT id FROM job_types WHERE name = ?"
const SELECT_QUEUES = "SELECT name FROM queue_names ORDER BY id"

/** What a lane takes in: see `Lane.fill` and `Lane.extend`. */
export interface LaneContent {
  readonly jobs: Array<ReadyJob>
  readonly complete: boolean
  readonly nextDueAt: number
}

/** The place of a concurrency key: its jobs of one type and priority wait in one line. */
export type KeyPlace = readonly [type: string, priority: number, key: string]

/** A job has ended that another one waits for. */
export interface EndedDependency {
  readonly dependency: string
  readonly outcome: JobOutcome
  readonly dependent: string
  readonly queue: string
}

const OUTCOMES: Readonly<Record<number, JobOutcome>> = {
  [ROW_STATUS.completed]: "completed",
  [ROW_STATUS.dead_letter]: "dead_letter",
  [ROW_STATUS.cancelled]: "cancelled",
}

export class JobStore extends Context.Service<
  JobStore,
  {
    /** The first jobs of a queue's type and priority that became ready after one moment and until another. */
    readonly ready: (
      queue: string,
      type: string,
      priority: number,
      after: number,
      now: number,
    ) => Effect.Effect<LaneContent, JournalError>
    /** Of each place, the job that comes first, due or not; undefined where none waits. */
    readonly firstOfKeys: (
      queue: string,
      places: ReadonlyArray<KeyPlace>,
    ) => Effect.Effect<ReadonlyArray<ReadyJob | undefined>, JournalError>
    /** How the jobs of these ids stand: `undefined` while they may still run, absent where there is none. */
    readonly statuses: (
      ids: ReadonlyArray<string>,
    ) => Effect.Effect<ReadonlyMap<string, JobOutcome | undefined>, JournalError>
    /** When the next job of a queue expires after a moment; infinite when none does. */
    readonly nextExpiry: (queue: string, after: number) => Effect.Effect<number, JournalError>
    /** Ids of the jobs of a queue that have expired: the first {@link EXPIRED_AT_A_TIME}. */
    readonly expired: (queue: string, now: number) => Effect.Effect<ReadonlyArray<string>, JournalError>
    /** Some of the jobs that have ended and whose dependents were not told yet. */
    readonly endedDependencies: Effect.Effect<ReadonlyArray<EndedDependency>, JournalError>
    /** Whether any job waits for another one. */
    readonly hasDependencies: Effect.Effect<boolean, JournalError>
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
        const { data, metadata: stored, revision, recorded_at } = row
        if (data === null) return undefined
        const event = catalog.decode("JobEnqueued", revision as number, data as string) as JobEvent
        const metadata = stored === null ? undefined : (JSON.parse(stored as string) as EventMetadata)
        return {
          state: JobBehavior.evolve(absent, event, recorded_at as number),
          version: 1,
          trace: traceAfter(undefined, event, metadata),
        }
      }

      const readyFrom = (row: Record<string, SQLOutputValue>, type: string, priority: number): ReadyJob => ({
        id: row["stream"] as string,
        type,
        priority,
        dueAt: row["due_at"] as number,
        position: row["position"] as number,
        key: (row["concurrency_key"] as string | null) ?? undefined,
        known: knownFrom(row),
      })

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
        ready: (queueName, typeName, priority, after, now) =>
          read(() => {
            const queue = idOf(SELECT_QUEUE_ID, queueName)
            const type = idOf(SELECT_TYPE_ID, typeName)
            if (queue === undefined || type === undefined) {
              return { jobs: [], complete: true, nextDueAt: Number.POSITIVE_INFINITY }
            }
            const jobs = reader
              .prepare(SELECT_READY)
              .all(queue, type, priority, after, now)
              .map((row) => readyFrom(row, typeName, priority))
            const next = reader.prepare(SELECT_NEXT_DUE).get(queue, type, priority, now)?.["due_at"]
            return {
              jobs,
              complete: jobs.length < LANE_CAPACITY,
              nextDueAt: typeof next === "number" ? next : Number.POSITIVE_INFINITY,
            }
          }),
        firstOfKeys: (queueName, places) =>
          read(() => {
            const firsts: Array<ReadyJob | undefined> = places.map(() => undefined)
            const queue = idOf(SELECT_QUEUE_ID, queueName)
            if (queue === undefined) return firsts
            for (const row of reader.prepare(SELECT_FIRST_OF_KEYS).all(queue, JSON.stringify(places))) {
              const asked = row["asked"] as number
              const [type, priority] = places[asked]!
              firsts[asked] = readyFrom(row, type, priority)
            }
            return firsts
          }),
        statuses: (ids) =>
          read(
            () =>
              new Map(
                reader
                  .prepare(SELECT_STATUSES)
                  .all(JSON.stringify(ids))
                  .map((row) => [row["stream"] as string, OUTCOMES[row["status"] as number]]),
              ),
          ),
        nextExpiry: (queueName, after) =>
          read(() => {
            const queue = idOf(SELECT_QUEUE_ID, queueName)
            if (queue === undefined) return Number.POSITIVE_INFINITY
            const at = reader.prepare(SELECT_NEXT_EXPIRY).get(queue, after)?.["expires_at"]
            return typeof at === "number" ? at : Number.POSITIVE_INFINITY
          }),
        expired: (queueName, now) =>
          read(() => {
            const queue = idOf(SELECT_QUEUE_ID, queueName)
            if (queue === undefined) return []
            return reader
              .prepare(SELECT_EXPIRED)
              .all(queue, now)
              .map((row) => row["stream"] as string)
          }),
        endedDependencies: read(() =>
          reader
            .prepare(SELECT_ENDED_DEPENDENCIES)
            .all()
            .map((row) => ({
              dependency: row["dependency"] as string,
              outcome: OUTCOMES[row["outcome"] as number]!,
              dependent: row["dependent"] as string,
              queue: row["queue"] as string,
            })),
        ),
        hasDependencies: read(() => reader.prepare(SELECT_ANY_DEPENDENCY).get()!["found"] === 1),
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
