/**
 * The depth of queues, for people and dashboards: how many jobs of each status and priority, and how old the oldest ready
 * one is. Counts are kept by the projection, so reading them does not depend on how many jobs there are.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { JournalError, StoreFailed } from "../journal/Journal.ts"
import { ReaderPool } from "../sqlite/ReaderPool.ts"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { PRIORITIES, type Priority } from "./JobEvents.ts"
import { ROW_STATUS } from "./JobRow.ts"
import type { JobStatus } from "./JobState.ts"

/** The primary key of job_counts: at most queues × types × 4 priorities × 5 statuses rows. */
export const SELECT_COUNTS = `SELECT q.name, c.queue, c.type, c.priority, c.status, c.jobs
  FROM queue_names q LEFT JOIN job_counts c ON c.queue = q.id WHERE ?1 IS NULL OR q.name = ?1 ORDER BY q.name`
/**
 * Indexes: jobs_waiting and jobs_behind, the ranges of one lane that are not due yet. Counts entries, so it runs on the
 * pool.
 */
export const SELECT_SCHEDULED = `SELECT
  (SELECT count(*) FROM jobs INDEXED BY jobs_waiting
    WHERE status = 0 AND queue = ?1 AND type = ?2 AND priority = ?3 AND due_at > ?4) +
  (SELECT count(*) FROM jobs INDEXED BY jobs_behind
    WHERE status = 6 AND queue = ?1 AND type = ?2 AND priority = ?3 AND due_at > ?4) AS jobs`
/** Index: jobs_waiting, one seek. */
export const SELECT_OLDEST = `SELECT min(due_at) AS due_at FROM jobs INDEXED BY jobs_waiting
  WHERE status = 0 AND queue = ? AND type = ? AND priority = ? AND due_at <= ?`

export interface QueueDepth {
  readonly name: string
  readonly byStatus: Readonly<Record<JobStatus, number>>
  /** Jobs that wait (scheduled or pending), by priority. */
  readonly waitingByPriority: Readonly<Record<Priority, number>>
  /** Milliseconds for which the oldest ready job has been due; null without one. */
  readonly oldestPendingMs: number | null
}

/**
 * Jobs of a queue as the table counts them: which of those that wait are due already is not known without counting them, but how
 * long the oldest of those has been is.
 */
export interface QueueLevel {
  readonly name: string
  readonly jobs: Readonly<Record<LevelStatus, number>>
  readonly oldestPendingMs: number | null
}

export type LevelStatus = "waiting" | "blocked" | "processing" | "completed" | "dead_letter" | "cancelled"

/** Lanes whose oldest job is looked up for metrics: a seek each, of some microseconds. */
const OLDEST_SEEKS_MAX = 1_000

interface Lane {
  readonly queue: number
  readonly type: number
  readonly priority: number
}

export class QueueStats extends Context.Service<
  QueueStats,
  {
    /** Every queue that ever had a job, by name; or the one of that name, if there is one. */
    readonly depths: (name?: string) => Effect.Effect<ReadonlyArray<QueueDepth>, JournalError>
    /** What is counted anyway, of every queue: a read of a bounded size on the main thread, for metrics. */
    readonly levels: Effect.Effect<ReadonlyArray<QueueLevel>, JournalError>
  }
>()("renderowl/jobs/QueueStats") {
  static readonly layer = Layer.effect(
    QueueStats,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      const pool = yield* ReaderPool

      const scheduled = ({ queue, type, priority }: Lane, now: number) =>
        pool.query(SELECT_SCHEDULED, [queue, type, priority, now]).pipe(
          Effect.map((rows) => rows[0]!["jobs"] as number),
          Effect.mapError(storeFailed),
        )

      const depths = Effect.fnUntraced(function* (name?: string) {
        const now = yield* Clock.currentTimeMillis
        const rows = yield* Effect.try({
          try: () => reader.prepare(SELECT_COUNTS).all(name ?? null),
          catch: storeFailed,
        })
        const found: Array<QueueDepth> = []
        for (const [queueName, counts] of Map.groupBy(rows, (row) => row["name"] as string)) {
          const byStatus = {
            scheduled: 0,
            pending: 0,
            processing: 0,
            completed: 0,
            dead_letter: 0,
            cancelled: 0,
          }
          const waitingByPriority = { urgent: 0, high: 0, normal: 0, low: 0 }
          let oldest: number | null = null
          for (const count of counts) {
            // A queue that was set up and has no job yet.
            if (count["jobs"] === null) continue
            const jobs = count["jobs"] as number
            const status = count["status"] as number
            if (status === ROW_STATUS.blocked) {
              byStatus.scheduled += jobs
              waitingByPriority[PRIORITIES[count["priority"] as number]!] += jobs
              continue
            }
            if (status !== ROW_STATUS.waiting) {
              byStatus[STATUS_NAMES[status]!] += jobs
              continue
            }
            const lane = count as unknown as Lane
            waitingByPriority[PRIORITIES[lane.priority]!] += jobs
            const notDue = yield* scheduled(lane, now)
            byStatus.scheduled += notDue
            byStatus.pending += jobs - notDue
            const dueAt = reader.prepare(SELECT_OLDEST).get(lane.queue, lane.type, lane.priority, now)?.[
              "due_at"
            ]
            if (typeof dueAt === "number") oldest = Math.max(oldest ?? 0, now - dueAt)
          }
          found.push({ name: queueName, byStatus, waitingByPriority, oldestPendingMs: oldest })
        }
        return found
      })

      const levels = Effect.gen(function* () {
        const now = yield* Clock.currentTimeMillis
        return yield* Effect.try({ try: () => levelsAt(now), catch: storeFailed })
      })

      const levelsAt = (now: number): ReadonlyArray<QueueLevel> => {
        const oldestIn = reader.prepare(SELECT_OLDEST)
        let seeks = 0
        const rows = reader.prepare(SELECT_COUNTS).all(null)
        return [...Map.groupBy(rows, (row) => row["name"] as string)].map(([name, counts]) => {
          const jobs = { waiting: 0, blocked: 0, processing: 0, completed: 0, dead_letter: 0, cancelled: 0 }
          let oldestPendingMs: number | null = null
          for (const count of counts) {
            if (count["jobs"] === null) continue
            const status = count["status"] as number
            jobs[LEVEL_NAMES.get(status) ?? "waiting"] += count["jobs"] as number
            if (status !== ROW_STATUS.waiting || seeks++ >= OLDEST_SEEKS_MAX) continue
            const { priority, queue, type } = count as unknown as Lane
            const dueAt = oldestIn.get(queue, type, priority, now)?.["due_at"]
            if (typeof dueAt === "number") oldestPendingMs = Math.max(oldestPendingMs ?? 0, now - dueAt)
          }
          return { name, jobs, oldestPendingMs }
        })
      }

      return QueueStats.of({ depths, levels })
    }),
  )
}

const LEVEL_NAMES: ReadonlyMap<number, LevelStatus> = new Map([
  [ROW_STATUS.waiting, "waiting"],
  [ROW_STATUS.blocked, "blocked"],
  [ROW_STATUS.processing, "processing"],
  [ROW_STATUS.completed, "completed"],
  [ROW_STATUS.dead_letter, "dead_letter"],
  [ROW_STATUS.cancelled, "cancelled"],
])

/** By code; waiting has two public names and is told apart by its due time. */
const STATUS_NAMES: ReadonlyArray<Exclude<JobStatus, "scheduled">> = [
  "pending",
  "processing",
  "completed",
  "dead_letter",
  "cancelled",
]

const storeFailed = (cause: unknown) => new JournalError({ reason: new StoreFailed({ cause }) })
