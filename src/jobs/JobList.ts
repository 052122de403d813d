/**
 * Lists of jobs for people and programs, newest first, by filter. What an index serves is read at once; what has to look
 * through many jobs runs on the reader pool, where it cannot hold up anybody else.
 */
import { Clock, Context, Effect, Layer } from "effect"
import type { SQLInputValue } from "node:sqlite"
import { JournalError, StoreFailed } from "../journal/Journal.ts"
import { limitTo } from "../sqlite/Limit.ts"
import { ReaderPool } from "../sqlite/ReaderPool.ts"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { ROW_STATUS } from "./JobRow.ts"
import type { JobStatus } from "./JobState.ts"

/** Which jobs; everything given must hold. */
export interface JobFilter {
  readonly queue?: string | undefined
  readonly type?: string | undefined
  readonly status?: JobStatus | undefined
  readonly tag?: string | undefined
  /** Milliseconds since 1970, inclusive. */
  readonly createdAfter?: number | undefined
  /** Milliseconds since 1970, exclusive. */
  readonly createdBefore?: number | undefined
}

/** One entry: the job's id, and the position to go on from. */
export interface ListedJob {
  readonly id: string
  readonly position: number
}

/** The conditions that are checked row by row. Each is off when its parameter is null. */
const RESIDUAL = `
  AND (?2 IS NULL OR j.queue = (SELECT id FROM queue_names WHERE name = ?2))
  AND (?3 IS NULL OR j.type = (SELECT id FROM job_types WHERE name = ?3))
  AND (?4 IS NULL OR j.status = ?4 OR (?4 = 0 AND j.status IN (5, 6)))
  AND (?5 IS NULL OR j.due_at > ?5 OR j.status = 5)
  AND (?6 IS NULL OR (j.due_at <= ?6 AND j.status <> 5))
  AND (?7 IS NULL OR e.recorded_at >= ?7)
  AND (?8 IS NULL OR e.recorded_at < ?8)
  ORDER BY j.position DESC ${limitTo("?9")}`
const JOB_EVENT = "CROSS JOIN events e ON e.position = j.position"

/** Index: the primary key, backwards. */
export const LIST_ALL = `SELECT j.position, e.stream FROM jobs j ${JOB_EVENT} WHERE j.position < ?1 ${RESIDUAL}`
/** Index: jobs_processing, jobs_dead or jobs_cancelled, backwards. */
const listByStatus = (index: string, status: number) =>
  `SELECT j.position, e.stream FROM jobs j INDEXED BY ${index} ${JOB_EVENT}
   WHERE j.status = ${status} AND j.position < ?1 ${RESIDUAL}`
export const LIST_PROCESSING = listByStatus("jobs_processing", ROW_STATUS.processing)
export const LIST_DEAD = listByStatus("jobs_dead", ROW_STATUS.dead_letter)
export const LIST_CANCELLED = listByStatus("jobs_cancelled", ROW_STATUS.cancelled)
/** Index: the primary key of job_tags, backwards. */
export const LIST_TAGGED = `SELECT j.position, e.stream
   FROM job_tags t CROSS JOIN jobs j ON j.position = t.position ${JOB_EVENT}
   WHERE t.tag = ?10 AND t.position < ?1 ${RESIDUAL.replace("ORDER BY j.position", "ORDER BY t.position")}`

/** Statuses that few jobs have at a time, each with an index of its own. */
const BY_STATUS: Partial<Record<JobStatus, string>> = {
  processing: LIST_PROCESSING,
  dead_letter: LIST_DEAD,
  cancelled: LIST_CANCELLED,
}

const statusCode = (status: JobStatus | undefined): number | null => {
  if (status === undefined) return null
  return status === "scheduled" || status === "pending" ? ROW_STATUS.waiting : ROW_STATUS[status]
}

export class JobList extends Context.Service<
  JobList,
  {
    /** At most `limit` jobs that were enqueued before the one at the position `before`. */
    readonly page: (
      filter: JobFilter,
      page: { readonly before: number; readonly limit: number },
    ) => Effect.Effect<ReadonlyArray<ListedJob>, JournalError>
  }
>()("renderowl/jobs/JobList") {
  static readonly layer = Layer.effect(
    JobList,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient
      const pool = yield* ReaderPool

      const page = Effect.fnUntraced(function* (
        filter: JobFilter,
        { before, limit }: { readonly before: number; readonly limit: number },
      ) {
        const now = yield* Clock.currentTimeMillis
        const parameters: Array<SQLInputValue> = [
          before,
          filter.queue ?? null,
          filter.type ?? null,
          statusCode(filter.status),
          filter.status === "scheduled" ? now : null,
          filter.status === "pending" ? now : null,
          filter.createdAfter ?? null,
          filter.createdBefore ?? null,
          limit,
        ]
        const byStatus = filter.status === undefined ? undefined : BY_STATUS[filter.status]
        const sql = filter.tag === undefined ? (byStatus ?? LIST_ALL) : LIST_TAGGED
        if (filter.tag !== undefined) parameters.push(filter.tag)
        const { queue, type, status, createdAfter, createdBefore } = filter
        const mayScan = (
          sql !== LIST_ALL
            ? [queue, type, createdAfter, createdBefore]
            : [queue, type, status, createdAfter, createdBefore]
        ).some((condition) => condition !== undefined)
        const rows = mayScan
          ? yield* Effect.mapError(pool.query(sql, parameters), storeFailed)
          : yield* Effect.try({ try: () => reader.prepare(sql).all(...parameters), catch: storeFailed })
        return rows.map((row) => ({ id: row["stream"] as string, position: row["position"] as number }))
      })

      return JobList.of({ page })
    }),
  )
}

const storeFailed = (cause: unknown) => new JournalError({ reason: new StoreFailed({ cause }) })
