/**
 * Is it well? A few checks of what RenderOwl cannot do without, each with a time limit, asked when somebody wants to know.
 * A failing critical check makes the whole unhealthy; any other makes it degraded.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"

/** How long one check may take before it counts as failed. */
const CHECK_TIMEOUT: Duration.Input = "2 seconds"

export type HealthStatus = "healthy" | "degraded" | "unhealthy"

/** What a check found: `ok`, and words or figures for people. */
export interface Finding {
  readonly ok: boolean
  readonly detail: string
}

export interface HealthCheck {
  readonly name: string
  /** Whether RenderOwl is of no use without it. */
  readonly critical: boolean
  /** A failure counts as `ok: false`. */
  readonly check: Effect.Effect<Finding, unknown>
}

export interface CheckResult {
  readonly name: string
  readonly critical: boolean
  readonly status: "pass" | "fail"
  readonly detail: string
  readonly duration_ms: number
}

export interface HealthReport {
  readonly status: HealthStatus
  readonly checks: ReadonlyArray<CheckResult>
}

const run = Effect.fnUntraced(function* ({ name, critical, check }: HealthCheck) {
  const start = yield* Clock.currentTimeMillis
  const { ok, detail } = yield* check.pipe(
    Effect.timeoutOrElse({
      duration: CHECK_TIMEOUT,
      orElse: () =>
        Effect.succeed({
          ok: false,
          detail: `no answer within ${Duration.format(Duration.fromInputUnsafe(CHECK_TIMEOUT))}`,
        }),
    }),
    // What exactly failed is in the log; the answer goes to whoever asks.
    Effect.catchCause((cause) =>
      Effect.as(Effect.logWarning("a health check failed", { check: name }, cause), {
        ok: false,
        detail: "the check failed",
      }),
    ),
  )
  const duration_ms = (yield* Clock.currentTimeMillis) - start
  return { name, critical, status: ok ? "pass" : "fail", detail, duration_ms } satisfies CheckResult
})

export class Health extends Context.Service<Health, { readonly report: Effect.Effect<HealthReport> }>()(
  "renderowl/telemetry/Health",
) {
  /** All checks run at the same time. */
  static readonly layer = <R>(checks: Effect.Effect<ReadonlyArray<HealthCheck>, never, R>) =>
    Layer.effect(
      Health,
      Effect.map(checks, (all) => ({
        report: Effect.map(Effect.forEach(all, run, { concurrency: "unbounded" }), (results) => {
          const failed = results.filter(({ status }) => status === "fail")
          const status = failed.some(({ critical }) => critical)
            ? "unhealthy"
            : failed.length > 0
              ? "degraded"
              : "healthy"
          return { status, checks: results } as const
        }),
      })),
    )
}
