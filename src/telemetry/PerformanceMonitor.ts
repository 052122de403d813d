/**
 * What is slow, and what fails: the requests of the minutes just gone by route, the operations of the database, and how late the
 * event loop is. It hears of each request from the observer and keeps counts alone; who wants to know asks.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { type LoopDelay, loopDelayMonitor } from "./EventLoopDelay.ts"
import { CurrentObserver } from "./Observer.ts"
import { QueryTimes } from "./QueryTimes.ts"
import { methodLabel, routeLabel } from "./RequestLabels.ts"
import { type RouteReport, RouteTimes, SLICE_MS } from "./RouteTimes.ts"

export class PerformanceMonitor extends Context.Service<
  PerformanceMonitor,
  {
    /** The routes that were asked for in the milliseconds just gone, the busiest first. */
    readonly routes: (
      windowMs: number,
    ) => Effect.Effect<{ readonly coveredMs: number; readonly routes: ReadonlyArray<RouteReport> }>
    readonly queries: Effect.Effect<QueryTimes>
    /** Of the last whole interval of {@link SLICE_MS}; before the first has ended, of what there is. */
    readonly loopDelay: Effect.Effect<LoopDelay>
  }
>()("renderowl/telemetry/PerformanceMonitor") {
  static readonly layer = Layer.effect(
    PerformanceMonitor,
    Effect.gen(function* () {
      const observer = yield* CurrentObserver
      const clock = yield* Clock.Clock
      const times = new RouteTimes(clock.currentTimeMillisUnsafe())
      const queries = new QueryTimes()
      yield* observer.on("request", ({ durationMs, method, route, status, waited }) =>
        times.record(
          {
            method: methodLabel(method),
            route: routeLabel(route),
            status,
            durationMs: waited ? undefined : durationMs,
          },
          clock.currentTimeMillisUnsafe(),
        ),
      )
      yield* observer.on("database", (operation) => queries.record(operation))
      return PerformanceMonitor.of({
        routes: (windowMs) =>
          Effect.sync(() => {
            observer.deliver()
            const now = clock.currentTimeMillisUnsafe()
            return { coveredMs: times.coveredMs(windowMs, now), routes: times.report(windowMs, now) }
          }),
        queries: Effect.sync(() => {
          observer.deliver()
          return queries
        }),
        loopDelay: yield* loopDelays,
      })
    }),
  )
}

const loopDelays = Effect.gen(function* () {
  const { look, take } = yield* loopDelayMonitor
  let last: LoopDelay | undefined
  yield* Effect.forkScoped(
    Effect.forever(
      Effect.andThen(
        Effect.sleep(SLICE_MS),
        Effect.sync(() => void (last = take())),
      ),
    ),
  )
  return Effect.sync(() => last ?? look())
})
