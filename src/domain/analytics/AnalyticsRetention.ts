/**
 * How long the analytics are kept: hours for three months, days for two years. First it is written down from where on each table
 * is kept, and from that moment the projection makes nothing older, in a rebuild neither; then what is older is deleted, a
 * little at a time.
 */
import { Cause, Clock, Duration, Effect, Layer } from "effect"
import { letOthersRun } from "../../sqlite/EventLoop.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import { startOf } from "./AnalyticsProjection.ts"

export const HOURS_KEPT: Duration.Input = "90 days"
export const DAYS_KEPT: Duration.Input = "732 days"
const INTERVAL: Duration.Input = "1 hour"
/** Rows deleted in one transaction: about a millisecond, for which the journal's writer waits. */
const ROWS_PER_SWEEP = 500

const KEEP_FROM = `UPDATE analytics_retention
  SET hourly_from = max(hourly_from, ?), daily_from = max(daily_from, ?) WHERE id = 1`
/** Index: the primary key, from its start; as many rows as go. */
export const DELETE_HOURS = `DELETE FROM analytics_hourly WHERE (start, dimension, name) IN (
  SELECT start, dimension, name FROM analytics_hourly
  WHERE start < (SELECT hourly_from FROM analytics_retention WHERE id = 1) LIMIT ${ROWS_PER_SWEEP})`
export const DELETE_DAYS = `DELETE FROM analytics_daily WHERE (start, dimension, name) IN (
  SELECT start, dimension, name FROM analytics_daily
  WHERE start < (SELECT daily_from FROM analytics_retention WHERE id = 1) LIMIT ${ROWS_PER_SWEEP})`

/** Does it once; answers how many rows went. */
export const sweep: Effect.Effect<number, never, SqliteClient> = Effect.gen(function* () {
  const { writeLock, writer } = yield* SqliteClient
  const write = (sql: string, ...values: ReadonlyArray<number>) =>
    writeLock.withPermit(
      Effect.sync(() => writer.transaction(() => Number(writer.prepare(sql).run(...values).changes))),
    )
  const now = yield* Clock.currentTimeMillis
  yield* write(
    KEEP_FROM,
    startOf("hourly", now - Duration.toMillis(HOURS_KEPT)),
    startOf("daily", now - Duration.toMillis(DAYS_KEPT)),
  )
  let gone = 0
  for (const sql of [DELETE_HOURS, DELETE_DAYS]) {
    for (let more = true; more;) {
      const changes = yield* write(sql)
      gone += changes
      more = changes === ROWS_PER_SWEEP
      yield* letOthersRun
    }
  }
  return gone
})

/** Does it every hour for as long as the layer lives. A run that fails is logged, and the next one makes up for it. */
export const layer: Layer.Layer<never, never, SqliteClient> = Layer.effectDiscard(
  Effect.sleep(INTERVAL).pipe(
    Effect.andThen(sweep),
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.logError("old analytics were not deleted", cause),
    ),
    Effect.forever,
    Effect.forkScoped,
  ),
)
