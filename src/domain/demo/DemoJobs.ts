/**
 * Job types for trying things out, tests and load tests: one that answers what it was given, one that takes its time, and
 * one that fails as often as it is told to. The latter two log what they do; the first leaves no more than it must.
 */
import { Effect, Layer, Schema } from "effect"
import * as Job from "../../jobs/Job.ts"
import { BoundedJson } from "../../security/BoundedJson.ts"

/** How often `system:sleep` reports progress, in milliseconds. */
const SLEEP_PROGRESS_INTERVAL_MS = 200
const SLEEP_MS_MAX = 3_600_000
const FAILURES_MAX = 100

const Echo = Job.make("system:echo", {
  description: "Completes with its payload as the result",
  payload: BoundedJson,
  success: BoundedJson,
})

const Sleep = Job.make("system:sleep", {
  description: "Sleeps for `ms` milliseconds and reports progress",
  payload: Schema.Struct({
    ms: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: SLEEP_MS_MAX }))),
  }),
  success: Schema.Struct({ slept_ms: Schema.Int }),
  timeout: "2 hours",
})

/** What `system:fail` fails with. */
class ToldToFail extends Schema.TaggedError<ToldToFail>()("ToldToFail", { message: Schema.String }) {}

const Fail = Job.make("system:fail", {
  description: "Fails `times` attempts with `message`, then completes",
  payload: Schema.Struct({
    times: Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: FAILURES_MAX }))),
    message: Schema.optionalKey(Schema.String.pipe(Schema.check(Schema.isMaxLength(500)))),
  }),
  success: Schema.Struct({ attempts: Schema.Int }),
  error: ToldToFail,
})

/** The handlers of `system:echo`, `system:sleep` and `system:fail`. */
export const DemoJobsLive = Layer.mergeAll(
  Echo.toLayer((payload) => Effect.succeed(payload)),
  Sleep.toLayer(
    Effect.fnUntraced(function* ({ ms }, job) {
      yield* job.log(`sleeps for ${ms} ms`)
      for (let slept = 0; slept < ms; slept += SLEEP_PROGRESS_INTERVAL_MS) {
        yield* job.progress({ percent: (slept / ms) * 100 })
        yield* Effect.sleep(Math.min(SLEEP_PROGRESS_INTERVAL_MS, ms - slept))
      }
      return { slept_ms: ms }
    }),
  ),
  Fail.toLayer(
    Effect.fnUntraced(function* ({ times, message }, job) {
      const { attempt } = job
      if (attempt > times) return { attempts: attempt }
      yield* job.log("fails as it was told to", { level: "warn", data: { attempt, times } })
      return yield* new ToldToFail({ message: message ?? `attempt ${attempt} of ${times} that fail` })
    }),
  ),
)
