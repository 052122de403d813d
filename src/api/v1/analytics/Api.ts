/**
 * Analytics over HTTP: how much was done, how long it took, and by whom, in hours and days. Everything is read from tables that are
 * kept for it, and is a second or two behind what happens.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { DIMENSIONS } from "../../../domain/analytics/Aggregate.ts"
import { RANKED } from "../../../domain/analytics/Analytics.ts"
import { BUCKETS_MAX, Interval } from "../../../domain/analytics/TimeRange.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { pageQuery } from "../../../http/Pagination.ts"
import { ValidationFailedProblem } from "../../../http/RequestProblems.ts"
import { cached, ResponseCache } from "../../../http/ResponseCache.ts"
import { ServiceUnavailableProblem } from "../../../http/ServiceProblems.ts"
import { Instant, Timestamp } from "../Timestamp.ts"

const NAME_CHARACTERS_MAX = 100
/** For how long an answer is given again: what it says is a moment behind in any case. */
const CACHE_TTL = "10 seconds"

const name = (description: string) =>
  Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(NAME_CHARACTERS_MAX)),
      Schema.annotate({ description: `Only ${description}; one such filter at a time` }),
    ),
  )

const rangeQuery = {
  after: Schema.optionalKey(
    Timestamp.annotate({
      description: `From the hour or day of this moment on; at most ${BUCKETS_MAX.hour} hours or ${BUCKETS_MAX.day} days`,
    }),
  ),
  before: Schema.optionalKey(
    Timestamp.annotate({ description: "Up to the hour or day before this moment; now, by default" }),
  ),
  interval: Schema.optionalKey(
    Interval.annotate({ description: "Hours up to two days, days beyond, by default" }),
  ),
}

const projectQuery = { project: name("renders of this project") }

const subjectQuery = {
  queue: name("jobs of this queue"),
  type: name("jobs of this type"),
  ...projectQuery,
  principal: name("what this key or user asked for"),
  composition: name("renders of this composition"),
  route: name("requests to this group of routes, such as jobs"),
}

const Count = Schema.Int
const Millis = Schema.NullOr(Schema.Int)

/** What is answered for: whole hours or days, in UTC. */
const period = { after: Instant, before: Instant, interval: Interval }

/** Percentiles are off by 6 % at most. */
const DurationsJson = Schema.Struct({
  count: Count,
  sum_ms: Count,
  average_ms: Millis,
  min_ms: Millis,
  max_ms: Millis,
  p50_ms: Millis,
  p95_ms: Millis,
  p99_ms: Millis,
}).annotate({ identifier: "Durations" })

/** Completed among those that ended as completed or failed; null while none did. */
const SuccessRate = Schema.NullOr(Schema.Finite)

const jobCounts = {
  created: Count,
  completed: Count,
  /** Whose attempts were used up. */
  failed: Count,
  cancelled: Count,
}

const renderAmounts = { frames: Count, video_ms: Count, output_bytes: Count }

export const SummaryJson = Schema.Struct({
  ...period,
  jobs: Schema.Struct({ ...jobCounts, redriven: Count, success_rate: SuccessRate }),
  attempts: Schema.Struct({ started: Count, retried: Count, stalled: Count }),
  /** From due to started, of every attempt. */
  wait: DurationsJson,
  /** Of the attempts that completed their job. */
  processing: DurationsJson,
  /** What completed renders have made. */
  output: Schema.Struct(renderAmounts),
  /** Recognised requests to the API, ten minutes behind. */
  requests: Count,
}).annotate({ identifier: "AnalyticsSummary" })

/** What can be seen over time: amounts, and of the two durations their average, maximum and percentiles. */
export const Metric = Schema.Literals([
  ...RANKED,
  "wait_ms_average",
  "wait_ms_max",
  "wait_ms_p50",
  "wait_ms_p95",
  "wait_ms_p99",
  "processing_ms_average",
  "processing_ms_max",
  "processing_ms_p50",
  "processing_ms_p95",
  "processing_ms_p99",
])
export type Metric = typeof Metric.Type

export const TimeseriesJson = Schema.Struct({
  ...period,
  metric: Metric,
  /** One for each hour or day. Where nothing happened an amount is 0, and a duration null. */
  data: Schema.Array(Schema.Struct({ at: Instant, value: Schema.NullOr(Schema.Finite) })),
}).annotate({ identifier: "AnalyticsTimeseries" })

export const RendersJson = Schema.Struct({
  ...period,
  total: Schema.Struct({
    ...jobCounts,
    ...renderAmounts,
    success_rate: SuccessRate,
    wait: DurationsJson,
    processing: DurationsJson,
  }),
  data: Schema.Array(Schema.Struct({ at: Instant, ...jobCounts, ...renderAmounts })),
}).annotate({ identifier: "AnalyticsRenders" })

export const TopJson = Schema.Struct({
  ...period,
  by: Schema.String,
  metric: Schema.Literals(RANKED),
  data: Schema.Array(Schema.Struct({ name: Schema.String, value: Schema.Finite })),
}).annotate({ identifier: "AnalyticsTop" })

const [, ...TOLD_APART] = DIMENSIONS
const problems = [ValidationFailedProblem, ServiceUnavailableProblem] as const
// No event changes it sooner.
const kept = cached({ ttl: CACHE_TTL, tags: () => [] })

export class AnalyticsApi extends HttpApiGroup.make("analytics")
  .add(
    HttpApiEndpoint.get("summary", "/v1/analytics/summary", {
      query: { ...rangeQuery, ...subjectQuery },
      success: SummaryJson,
      error: problems,
    })
      .annotate(OpenApi.Summary, "Sum up what was done, and how long it took")
      .annotateMerge(kept),
    HttpApiEndpoint.get("timeseries", "/v1/analytics/timeseries", {
      query: { ...rangeQuery, ...subjectQuery, metric: Metric },
      success: TimeseriesJson,
      error: problems,
    })
      .annotate(OpenApi.Summary, "Show one figure over time, by hour or day")
      .annotateMerge(kept),
    HttpApiEndpoint.get("renders", "/v1/analytics/renders", {
      query: { ...rangeQuery, ...projectQuery },
      success: RendersJson,
      error: problems,
    })
      .annotate(OpenApi.Summary, "Show renders over time, and what they have made")
      .annotateMerge(kept),
    HttpApiEndpoint.get("top", "/v1/analytics/top", {
      query: {
        ...rangeQuery,
        by: Schema.Literals(TOLD_APART),
        metric: Schema.Literals(RANKED),
        limit: pageQuery.limit,
      },
      success: TopJson,
      error: problems,
    })
      .annotate(OpenApi.Summary, "Rank who or what has most of something")
      .annotateMerge(kept),
  )
  .middleware(ResponseCache)
  .middleware(Authorization)
  .annotateMerge(requireScopes("analytics:read"))
  .annotateMerge(
    OpenApi.annotations({
      title: "Analytics",
      description: "How much was done, how long it took, and by whom, by hour and day",
    }),
  ) {}
