/**
 * What the performance routes do.
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { TaggedCache } from "../../../cache/TaggedCache.ts"
import { AsyncProjector } from "../../../journal/AsyncProjector.ts"
import { queryPlan } from "../../../sqlite/QueryPlan.ts"
import { SqliteClient } from "../../../sqlite/SqliteClient.ts"
import { LatencyHistogram } from "../../../telemetry/LatencyHistogram.ts"
import { PerformanceMonitor } from "../../../telemetry/PerformanceMonitor.ts"
import type { RouteReport } from "../../../telemetry/RouteTimes.ts"
import { errorRateOf, isFailing, isSlow } from "../../../telemetry/RouteVerdict.ts"
import { ApiV1 } from "../../v1/ApiV1.ts"
import { toInstant } from "../../v1/Timestamp.ts"
import { DEFAULT_WINDOW, type RouteTimesJson, type WindowName, WINDOWS_MS } from "./Api.ts"

const MILLIS_PER_SECOND = 1_000
const MICROS_PER_SECOND = 1e6

const toRouteJson = (report: RouteReport, coveredMs: number): typeof RouteTimesJson.Type => {
  const { method, requests, route, times } = report
  return {
    method,
    route,
    requests,
    requests_per_second: requests / (coveredMs / MILLIS_PER_SECOND),
    error_rate: errorRateOf(report),
    mean_ms: times.mean,
    p50_ms: times.percentile(50),
    p95_ms: times.percentile(95),
    p99_ms: times.percentile(99),
    max_ms: times.max,
  }
}

const hitRateOf = ({ hits, misses }: { readonly hits: number; readonly misses: number }): number | null =>
  hits + misses === 0 ? null : hits / (hits + misses)

export const PerformanceLive = HttpApiBuilder.group(
  ApiV1,
  "performance",
  Effect.fnUntraced(function* (handlers) {
    const monitor = yield* PerformanceMonitor
    const cache = yield* TaggedCache
    const projector = yield* AsyncProjector
    const { reader } = yield* SqliteClient

    const routes = (
      window: WindowName = DEFAULT_WINDOW,
      isMeant: (report: RouteReport) => boolean = () => true,
    ) =>
      Effect.map(monitor.routes(WINDOWS_MS[window]), ({ coveredMs, routes }) => ({
        window_sec: coveredMs / MILLIS_PER_SECOND,
        data: routes.filter(isMeant).map((report) => toRouteJson(report, coveredMs)),
      }))

    /** A statement of an older release, or one that needs what a reader has not, has no plan here. */
    const planOf = (sql: string) => {
      try {
        return queryPlan(reader, sql)
      } catch {
        return { steps: [], findings: [] }
      }
    }

    return handlers.handleAll({
      routes: ({ query: { window } }) => routes(window),
      slowRoutes: ({ query: { window } }) => routes(window, isSlow),
      errorRoutes: ({ query: { window } }) => routes(window, isFailing),

      system: ({ query: { window = DEFAULT_WINDOW } }) =>
        Effect.gen(function* () {
          const { coveredMs, routes } = yield* monitor.routes(WINDOWS_MS[window])
          const times = new LatencyHistogram()
          let requests = 0
          let errors = 0
          for (const report of routes) {
            times.add(report.times)
            requests += report.requests
            errors += report.errors
          }
          const delay = yield* monitor.loopDelay
          const memory = process.memoryUsage()
          const processor = process.cpuUsage()
          return {
            window_sec: coveredMs / MILLIS_PER_SECOND,
            uptime_sec: process.uptime(),
            requests,
            requests_per_second: requests / (coveredMs / MILLIS_PER_SECOND),
            error_rate: errorRateOf({ errors, requests }),
            latency: {
              p50_ms: times.percentile(50),
              p95_ms: times.percentile(95),
              p99_ms: times.percentile(99),
            },
            event_loop_delay: { p50_ms: delay.p50, p99_ms: delay.p99, max_ms: delay.max },
            memory: {
              resident_bytes: memory.rss,
              heap_used_bytes: memory.heapUsed,
              external_bytes: memory.external,
            },
            processor_sec: {
              user: processor.user / MICROS_PER_SECOND,
              system: processor.system / MICROS_PER_SECOND,
            },
            cache_hit_rate: hitRateOf(cache.stats()),
            projections: yield* projector.status,
          }
        }),

      queries: () =>
        Effect.map(monitor.queries, ({ operations, slow, statements }) => ({
          operations: operations.map(({ count, failures, operation, times }) => ({
            operation,
            count,
            failures,
            mean_ms: times.mean,
            p50_ms: times.percentile(50),
            p95_ms: times.percentile(95),
            p99_ms: times.percentile(99),
            max_ms: times.max,
          })),
          statements: statements.map(({ count, failures, maxMs, rows, sql, totalMs }) => {
            const { findings, steps } = planOf(sql)
            return { sql, count, failures, rows, total_ms: totalMs, max_ms: maxMs, plan: steps, findings }
          }),
          slow: slow.map(({ durationMs, operation, sql, startedAt }) => ({
            operation,
            sql: sql ?? null,
            started_at: toInstant(startedAt),
            duration_ms: durationMs,
          })),
        })),
    })
  }),
)
