/**
 * Is it well? A few checks of what RenderOwl works with, each with a time limit, made every 30 seconds however often somebody
 * asks; the answer says how old each result is. A failing critical check makes the whole unhealthy; any other makes it degraded.
 */
import { Clock, Context, Deferred, Duration, Effect, Layer, Schedule } from "effect"

/** From one round of checks to the next. */
const CHECK_INTERVAL: Duration.Input = "30 seconds"
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
  /** Since it was made. */
  readonly age_ms: number
}

/** A result as it is kept. */
type Made = Omit<CheckResult, "age_ms"> & { readonly at: number }

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
  const at = yield* Clock.currentTimeMillis
  return { name, critical, status: ok ? "pass" : "fail", detail, duration_ms: at - start, at } satisfies Made
})

export class Health extends Context.Service<Health, { readonly report: Effect.Effect<HealthReport> }>()(
  "renderowl/telemetry/Health",
) {
  /** All checks run at the same time, for as long as the scope is open. Whoever asks before the first have ended waits for them. */
  static readonly layer = <R>(checks: Effect.Effect<ReadonlyArray<HealthCheck>, never, R>) =>
    Layer.effect(
      Health,
      Effect.gen(function* () {
        const all = yield* checks
        const first = yield* Deferred.make<void>()
        let results: ReadonlyArray<Made> = []
        const round = Effect.gen(function* () {
          results = yield* Effect.forEach(all, run, { concurrency: "unbounded" })
          yield* Deferred.succeed(first, undefined)
        })
        yield* Effect.forkScoped(Effect.repeat(round, Schedule.spaced(CHECK_INTERVAL)))
        return Health.of({
          report: Effect.gen(function* () {
            yield* Deferred.await(first)
            const now = yield* Clock.currentTimeMillis
            return reportOf(results.map((made) => agedBy(made, now)))
          }),
        })
      }),
    )
}

const agedBy = ({ at, critical, detail, duration_ms, name, status }: Made, now: number): CheckResult => ({
  name,
  critical,
  status,
  detail,
  duration_ms,
  age_ms: Math.max(0, now - at),
})

const reportOf = (checks: ReadonlyArray<CheckResult>): HealthReport => {
  const failed = checks.filter(({ status }) => status === "fail")
  if (failed.some(({ critical }) => critical)) return { status: "unhealthy", checks }
  return { status: failed.length > 0 ? "degraded" : "healthy", checks }
}
