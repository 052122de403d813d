/**
 * What the analytics routes do.
 */
import { Clock, Effect, Struct } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import {
  Aggregate,
  COUNTS,
  type Count,
  type Dimension,
  DIMENSIONS,
} from "../../../domain/analytics/Aggregate.ts"
import { Analytics, EVERYTHING, type Subject } from "../../../domain/analytics/Analytics.ts"
import type { Durations } from "../../../domain/analytics/Durations.ts"
import * as TimeRange from "../../../domain/analytics/TimeRange.ts"
import { RENDER_JOB_TYPE } from "../../../domain/renders/RenderProjection.ts"
import { ValidationFailedProblem } from "../../../http/RequestProblems.ts"
import { ApiV1 } from "../ApiV1.ts"
import { toProblem } from "../DomainProblems.ts"
import { toInstant } from "../Timestamp.ts"
import type { Metric, RendersJson, SummaryJson } from "./Api.ts"

type SubjectQuery = { readonly [D in Exclude<Dimension, "all">]?: string }

/** Whom it is about. Rows are made for one such thing at a time, so two filters together have none. */
const subjectOf = (query: SubjectQuery): Effect.Effect<Subject, ValidationFailedProblem> => {
  const given = DIMENSIONS.filter((dimension) => dimension !== "all" && query[dimension] !== undefined)
  const [dimension, other] = given as ReadonlyArray<Exclude<Dimension, "all">>
  if (dimension === undefined) return Effect.succeed(EVERYTHING)
  if (other === undefined) return Effect.succeed({ dimension, name: query[dimension]! })
  const message = `must not be given together with ${dimension}`
  return Effect.fail(
    new ValidationFailedProblem({ errors: [{ field: other, code: "invalid_value", message }] }),
  )
}

const rangeOf = (query: TimeRange.TimeRangeQuery) =>
  Effect.flatMap(Clock.currentTimeMillis, (now) =>
    Effect.mapError(
      Effect.fromResult(TimeRange.resolve(query, now)),
      ({ detail, field }) =>
        new ValidationFailedProblem({ errors: [{ field, code: "out_of_range", message: detail }] }),
    ),
  )

const periodOf = ({ after, before, interval }: TimeRange.TimeRange) => ({
  after: toInstant(after),
  before: toInstant(before),
  interval,
})

const P50 = 0.5
const P95 = 0.95
const P99 = 0.99

const durationsJson = (durations: Durations) => ({
  count: durations.count,
  sum_ms: durations.sum,
  average_ms: durations.average,
  min_ms: durations.min,
  max_ms: durations.max,
  p50_ms: durations.percentile(P50),
  p95_ms: durations.percentile(P95),
  p99_ms: durations.percentile(P99),
})

const jobCounts = ({ counts }: Aggregate) =>
  Struct.pick(counts, ["created", "completed", "failed", "cancelled"])

const renderAmounts = ({ counts }: Aggregate) => Struct.pick(counts, ["frames", "video_ms", "output_bytes"])

const successRate = ({ counts: { completed, failed } }: Aggregate): number | null =>
  completed + failed === 0 ? null : completed / (completed + failed)

const summaryJson = (range: TimeRange.TimeRange, total: Aggregate): typeof SummaryJson.Type => ({
  ...periodOf(range),
  jobs: { ...jobCounts(total), redriven: total.counts.redriven, success_rate: successRate(total) },
  attempts: Struct.pick(total.counts, ["started", "retried", "stalled"]),
  wait: durationsJson(total.wait),
  processing: durationsJson(total.processing),
  output: renderAmounts(total),
  requests: total.counts.requests,
})

const NOTHING = new Aggregate()

const isCount = (metric: Metric): metric is Count => (COUNTS as ReadonlyArray<string>).includes(metric)

const valueOf = (metric: Metric, aggregate: Aggregate): number | null => {
  if (isCount(metric)) return aggregate.counts[metric]
  const durations = metric.startsWith("wait_ms") ? aggregate.wait : aggregate.processing
  switch (metric) {
    case "wait_ms":
    case "processing_ms":
      return durations.sum
    case "wait_ms_average":
    case "processing_ms_average":
      return durations.average
    case "wait_ms_max":
    case "processing_ms_max":
      return durations.max
    case "wait_ms_p50":
    case "processing_ms_p50":
      return durations.percentile(P50)
    case "wait_ms_p95":
    case "processing_ms_p95":
      return durations.percentile(P95)
    case "wait_ms_p99":
    case "processing_ms_p99":
      return durations.percentile(P99)
  }
}

export const AnalyticsLive = HttpApiBuilder.group(
  ApiV1,
  "analytics",
  Effect.fnUntraced(function* (handlers) {
    const analytics = yield* Analytics

    return handlers.handleAll({
      summary: ({ query: { after, before, interval, ...filters } }) =>
        Effect.gen(function* () {
          const range = yield* rangeOf({ after, before, interval })
          return summaryJson(range, yield* analytics.total(range, yield* subjectOf(filters)))
        }).pipe(toProblem),

      timeseries: ({ query: { after, before, interval, metric, ...filters } }) =>
        Effect.gen(function* () {
          const range = yield* rangeOf({ after, before, interval })
          const series = yield* analytics.series(range, yield* subjectOf(filters))
          const data = range.starts.map((start) => ({
            at: toInstant(start),
            value: valueOf(metric, series.get(start) ?? NOTHING),
          }))
          return { ...periodOf(range), metric, data }
        }).pipe(toProblem),

      renders: ({ query: { after, before, interval, project } }) =>
        Effect.gen(function* () {
          const range = yield* rangeOf({ after, before, interval })
          const subject: Subject =
            project === undefined
              ? { dimension: "type", name: RENDER_JOB_TYPE }
              : { dimension: "project", name: project }
          const series = yield* analytics.series(range, subject)
          const total = new Aggregate()
          for (const aggregate of series.values()) total.merge(aggregate)
          const answer: typeof RendersJson.Type = {
            ...periodOf(range),
            total: {
              ...jobCounts(total),
              ...renderAmounts(total),
              success_rate: successRate(total),
              wait: durationsJson(total.wait),
              processing: durationsJson(total.processing),
            },
            data: range.starts.map((start) => {
              const aggregate = series.get(start) ?? NOTHING
              return Object.assign({ at: toInstant(start) }, jobCounts(aggregate), renderAmounts(aggregate))
            }),
          }
          return answer
        }).pipe(toProblem),

      top: ({ query: { after, before, by, interval, limit, metric } }) =>
        Effect.gen(function* () {
          const range = yield* rangeOf({ after, before, interval })
          const data = yield* analytics.top(range, { by, metric, limit })
          return { ...periodOf(range), by, metric, data }
        }).pipe(toProblem),
    })
  }),
)
