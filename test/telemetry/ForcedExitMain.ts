/** Tells of an attempt, is busy for a while, and is ended by force: nobody closes a scope. Says on stderr between when it told. */
import { Effect, Layer } from "effect"
import { jsonLines } from "../../src/telemetry/LogFormat.ts"
import * as Logging from "../../src/telemetry/Logging.ts"
import { Logs, LogSink, standardOutput } from "../../src/telemetry/LogSink.ts"
import * as Observer from "../../src/telemetry/Observer.ts"

const BUSY_MS = 200

const logging = Logging.layer({
  level: "info",
  format: jsonLines("renderowl"),
  contextOf: () => undefined,
  quietRoutes: new Set(),
})

const program = Effect.gen(function* () {
  const observer = yield* Observer.CurrentObserver
  const before = Date.now()
  observer.tell("attempt", {
    job: "job_1",
    queue: "videos",
    type: "test",
    attempt: 1,
    outcome: "completed",
    error: undefined,
    waitMs: 0,
    processingMs: 0,
    jobOutcome: "completed",
    spanId: undefined,
    requestId: undefined,
    traceId: undefined,
  })
  process.stderr.write(JSON.stringify([before, Date.now()]))
  const until = performance.now() + BUSY_MS
  while (performance.now() < until);
  process.exit(1)
})

await Effect.runPromise(
  program.pipe(
    Effect.provide(
      logging.pipe(
        Layer.provideMerge(
          Layer.mergeAll(
            Observer.layer,
            Logs.layer(() => new LogSink(standardOutput())),
          ),
        ),
      ),
    ),
  ),
)
