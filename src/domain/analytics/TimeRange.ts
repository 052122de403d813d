/**
 * Which hours or days are asked for: whole ones in UTC, from the one that the first moment is in to the one that the last is in,
 * and not more of them than one look can cost. Pure.
 */
import { Result, Schema } from "effect"
import { DAY_MS, HOUR_MS, startOf } from "./AnalyticsProjection.ts"

export const Interval = Schema.Literals(["hour", "day"])
export type Interval = typeof Interval.Type

/** A month of hours, and two years of days. */
export const BUCKETS_MAX: Readonly<Record<Interval, number>> = { hour: 31 * 24, day: 732 }
/** Without a first moment. */
const BUCKETS_DEFAULT: Readonly<Record<Interval, number>> = { hour: 24, day: 30 }
const LENGTH_MS: Readonly<Record<Interval, number>> = { hour: HOUR_MS, day: DAY_MS }
/** Up to this an answer is made of hours, unless somebody says otherwise. */
const HOURS_UP_TO_MS = 2 * DAY_MS
/** What a `Date` can say, with room for a bucket on either side. */
const MOMENT_MS_MAX = 8_640_000_000_000_000 - DAY_MS

/** No such range. */
export class InvalidTimeRange extends Schema.TaggedError<InvalidTimeRange>()("InvalidTimeRange", {
  field: Schema.Literals(["after", "before"]),
  detail: Schema.String,
}) {}

export interface TimeRange {
  readonly interval: Interval
  /** The first moment and the first that is too late, in milliseconds since 1970. */
  readonly after: number
  readonly before: number
  /** The start of each hour or day, in order. */
  readonly starts: ReadonlyArray<number>
}

/** What was asked for; moments in milliseconds since 1970. */
export interface TimeRangeQuery {
  readonly after?: number | undefined
  readonly before?: number | undefined
  readonly interval?: Interval | undefined
}

export const resolve = (query: TimeRangeQuery, now: number): Result.Result<TimeRange, InvalidTimeRange> => {
  const last = query.before ?? now
  const interval = query.interval ?? intervalFor(query.after, last)
  const length = LENGTH_MS[interval]
  const floor = (millis: number) => startOf(interval === "hour" ? "hourly" : "daily", millis)
  const before = floor(last - 1) + length
  const after = query.after === undefined ? before - BUCKETS_DEFAULT[interval] * length : floor(query.after)
  const refuse = (field: "after" | "before", detail: string) =>
    Result.fail(new InvalidTimeRange({ field, detail }))
  if (Math.abs(before) > MOMENT_MS_MAX) return refuse("before", "is too far away")
  if (Math.abs(after) > MOMENT_MS_MAX) return refuse("after", "is too far away")
  if (query.after !== undefined && query.after >= last) return refuse("after", "must be earlier than before")
  const count = (before - after) / length
  if (count > BUCKETS_MAX[interval])
    return refuse("after", `must be at most ${BUCKETS_MAX[interval]} ${interval}s earlier than before`)
  return Result.succeed({
    interval,
    after,
    before,
    starts: Array.from({ length: count }, (_, i) => after + i * length),
  })
}

const intervalFor = (after: number | undefined, before: number): Interval =>
  after === undefined || before - after <= HOURS_UP_TO_MS ? "hour" : "day"
