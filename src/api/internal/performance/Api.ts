/**
 * Performance for operators: what is slow and what fails, of the minutes just gone.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { requireScopes } from "../../../http/Authorization.ts"
import { InternalAuthorization } from "../../../http/InternalAuthorization.ts"
import { Instant } from "../../v1/Timestamp.ts"

/** Windows that may be asked for, in milliseconds. */
export const WINDOWS_MS = { "1m": 60_000, "5m": 300_000, "15m": 900_000 } as const
export type WindowName = keyof typeof WINDOWS_MS
export const DEFAULT_WINDOW: WindowName = "5m"

const windowQuery = {
  window: Schema.optionalKey(
    Schema.Literals(["1m", "5m", "15m"]).annotate({
      description: "The minutes just gone that count, in steps of 30 seconds; 5m by default",
    }),
  ),
}

/** Percentiles are off by 0.8 % at most. Requests that asked to wait (`Prefer`) count, and their times do not. */
export const RouteTimesJson = Schema.Struct({
  method: Schema.String,
  /** Such as `/v1/jobs/:id`; `unmatched` for all that was found on none. */
  route: Schema.String,
  requests: Schema.Int,
  requests_per_second: Schema.Finite,
  /** Share of answers that were our fault (5xx). */
  error_rate: Schema.Finite,
  mean_ms: Schema.Finite,
  p50_ms: Schema.Finite,
  p95_ms: Schema.Finite,
  p99_ms: Schema.Finite,
  max_ms: Schema.Finite,
}).annotate({ identifier: "RouteTimes" })

const Routes = Schema.Struct({
  /** What the figures are about: the window, up to 30 seconds more, or since the start. */
  window_sec: Schema.Finite,
  data: Schema.Array(RouteTimesJson),
})

const Latencies = { p50_ms: Schema.Finite, p99_ms: Schema.Finite, max_ms: Schema.Finite }

export const SystemJson = Schema.Struct({
  /** What the figures are about: the window, up to 30 seconds more, or since the start. */
  window_sec: Schema.Finite,
  uptime_sec: Schema.Finite,
  requests: Schema.Int,
  requests_per_second: Schema.Finite,
  error_rate: Schema.Finite,
  /** Of all requests together. */
  latency: Schema.Struct({ p50_ms: Schema.Finite, p95_ms: Schema.Finite, p99_ms: Schema.Finite }),
  event_loop_delay: Schema.Struct(Latencies),
  memory: Schema.Struct({
    resident_bytes: Schema.Int,
    heap_used_bytes: Schema.Int,
    external_bytes: Schema.Int,
  }),
  /** Since the start. */
  processor_sec: Schema.Struct({ user: Schema.Finite, system: Schema.Finite }),
  /** Of hits and misses together, since the start; null before the first. */
  cache_hit_rate: Schema.NullOr(Schema.Finite),
  /** What follows the journal at its own pace, and how far behind it is. */
  projections: Schema.Array(
    Schema.Struct({ name: Schema.String, position: Schema.Int, lag: Schema.Int, failures: Schema.Int }),
  ),
}).annotate({ identifier: "SystemPerformance" })

const Operation = Schema.Literals(["COMMIT", "READ", "SCAN"])

export const QueryAnalysisJson = Schema.Struct({
  /** Since the start. Of `READ` only the slow ones are told apart. */
  operations: Schema.Array(
    Schema.Struct({
      operation: Operation,
      count: Schema.Int,
      failures: Schema.Int,
      mean_ms: Schema.Finite,
      p95_ms: Schema.Finite,
      ...Latencies,
    }),
  ),
  /** Those that took the most time together first. */
  statements: Schema.Array(
    Schema.Struct({
      sql: Schema.String,
      count: Schema.Int,
      failures: Schema.Int,
      /** That it has answered in all. */
      rows: Schema.Int,
      total_ms: Schema.Finite,
      max_ms: Schema.Finite,
      plan: Schema.Array(Schema.String),
      /** What the plan shows that may be slow on large tables. */
      findings: Schema.Array(Schema.Literals(["full_scan", "temporary_sort", "automatic_index"])),
    }),
  ),
  /** Over 100 ms, the newest first. */
  slow: Schema.Array(
    Schema.Struct({
      operation: Operation,
      sql: Schema.NullOr(Schema.String),
      started_at: Instant,
      duration_ms: Schema.Finite,
    }),
  ),
}).annotate({ identifier: "QueryAnalysis" })

const admin = requireScopes("admin")

export class PerformanceApi extends HttpApiGroup.make("performance")
  .add(
    HttpApiEndpoint.get("routes", "/internal/performance/routes", { query: windowQuery, success: Routes })
      .annotate(OpenApi.Summary, "How long each route takes, and how often it fails")
      .annotateMerge(admin),
    HttpApiEndpoint.get("slowRoutes", "/internal/performance/slow-routes", {
      query: windowQuery,
      success: Routes,
    })
      .annotate(OpenApi.Summary, "Routes whose slowest twentieth takes over a second")
      .annotateMerge(admin),
    HttpApiEndpoint.get("errorRoutes", "/internal/performance/error-routes", {
      query: windowQuery,
      success: Routes,
    })
      .annotate(OpenApi.Summary, "Routes of which over a tenth of the answers are our fault")
      .annotateMerge(admin),
    HttpApiEndpoint.get("system", "/internal/performance/system", { query: windowQuery, success: SystemJson })
      .annotate(OpenApi.Summary, "The process: its throughput, event loop, memory, cache and projections")
      .annotateMerge(admin),
    HttpApiEndpoint.get("queries", "/internal/query-analysis", { success: QueryAnalysisJson })
      .annotate(OpenApi.Summary, "What the database does, what is slow, and by which plan")
      .annotateMerge(admin),
  )
  .middleware(InternalAuthorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Performance", description: "What is slow, and what fails" }),
  ) {}
