/**
 * What the analytics tables say: of one queue, project, … the aggregates of some hours or days, and who had most of something. Each
 * hour and day is one look-up by key, in the reader pool; events are never looked at.
 */
import { Context, Effect, Layer } from "effect"
import { limitTo } from "../../sqlite/Limit.ts"
import type { PoolError } from "../../sqlite/PoolError.ts"
import { ReaderPool } from "../../sqlite/ReaderPool.ts"
import { Aggregate, COUNTS, type Dimension, fromRow } from "./Aggregate.ts"
import { BUCKETS_MAX, type TimeRange } from "./TimeRange.ts"

/** Longer than that nobody waits for a chart. */
const DEADLINE = "5 seconds"

/** Of a JSON array of starts. Index: the primary key, one seek each. */
export const SELECT_HOURS_OF = `SELECT a.* FROM json_each(?1) wanted CROSS JOIN analytics_hourly a
  ON a.start = wanted.value AND a.dimension = ?2 AND a.name = ?3`
export const SELECT_DAYS_OF = `SELECT a.* FROM json_each(?1) wanted CROSS JOIN analytics_daily a
  ON a.start = wanted.value AND a.dimension = ?2 AND a.name = ?3`

/** By what a ranking goes. */
export const RANKED = [...COUNTS, "wait_ms", "processing_ms"] as const
export type Ranked = (typeof RANKED)[number]

/** The column that a parameter names. */
const RANKED_VALUE = `CASE ?3
    WHEN 'created' THEN a.created WHEN 'started' THEN a.started WHEN 'completed' THEN a.completed
    WHEN 'failed' THEN a.failed WHEN 'cancelled' THEN a.cancelled WHEN 'retried' THEN a.retried
    WHEN 'stalled' THEN a.stalled WHEN 'redriven' THEN a.redriven WHEN 'frames' THEN a.frames
    WHEN 'video_ms' THEN a.video_ms WHEN 'output_bytes' THEN a.output_bytes WHEN 'requests' THEN a.requests
    WHEN 'wait_ms' THEN a.wait_ms WHEN 'processing_ms' THEN a.processing_ms END`
/** Index: the primary key, the rows of the dimension at each start; what is left is sorted, as many as have names. */
export const SELECT_TOP_OF_HOURS = `SELECT a.name, total(${RANKED_VALUE}) AS value
  FROM json_each(?1) wanted CROSS JOIN analytics_hourly a ON a.start = wanted.value AND a.dimension = ?2
  GROUP BY a.name HAVING value > 0 ORDER BY value DESC, a.name ${limitTo("?4")}`
export const SELECT_TOP_OF_DAYS = `SELECT a.name, total(${RANKED_VALUE}) AS value
  FROM json_each(?1) wanted CROSS JOIN analytics_daily a ON a.start = wanted.value AND a.dimension = ?2
  GROUP BY a.name HAVING value > 0 ORDER BY value DESC, a.name ${limitTo("?4")}`

/** Whom or what a look is about. */
export interface Subject {
  readonly dimension: Dimension
  /** Empty for `all`. */
  readonly name: string
}

export const EVERYTHING: Subject = { dimension: "all", name: "" }

export class Analytics extends Context.Service<
  Analytics,
  {
    /** The aggregates of a subject by the start of their hour or day; nothing happened where there is none. */
    readonly series: (
      range: TimeRange,
      subject: Subject,
    ) => Effect.Effect<ReadonlyMap<number, Aggregate>, PoolError>
    /** All of it as one. */
    readonly total: (range: TimeRange, subject: Subject) => Effect.Effect<Aggregate, PoolError>
    /** The names of a dimension that have most, the greatest first. */
    readonly top: (
      range: TimeRange,
      options: { readonly by: Dimension; readonly metric: Ranked; readonly limit: number },
    ) => Effect.Effect<ReadonlyArray<{ readonly name: string; readonly value: number }>, PoolError>
  }
>()("renderowl/domain/analytics/Analytics") {
  static readonly layer: Layer.Layer<Analytics, never, ReaderPool> = Layer.effect(
    Analytics,
    Effect.gen(function* () {
      const pool = yield* ReaderPool

      const series: Analytics["Service"]["series"] = ({ interval, starts }, { dimension, name }) =>
        Effect.map(
          pool.query(
            interval === "hour" ? SELECT_HOURS_OF : SELECT_DAYS_OF,
            [JSON.stringify(starts), dimension, name],
            { deadline: DEADLINE, rowsMax: BUCKETS_MAX[interval] },
          ),
          (rows) => new Map(rows.map((row) => [row["start"] as number, fromRow(row)])),
        )

      return Analytics.of({
        series,
        total: (range, subject) =>
          Effect.map(series(range, subject), (found) => {
            const total = new Aggregate()
            for (const aggregate of found.values()) total.merge(aggregate)
            return total
          }),
        top: ({ interval, starts }, { by, limit, metric }) =>
          Effect.map(
            pool.query(
              interval === "hour" ? SELECT_TOP_OF_HOURS : SELECT_TOP_OF_DAYS,
              [JSON.stringify(starts), by, metric, limit],
              { deadline: DEADLINE, rowsMax: limit },
            ),
            (rows) => rows.map((row) => ({ name: row["name"] as string, value: row["value"] as number })),
          ),
      })
    }),
  )
}
