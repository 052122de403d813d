/**
 * How many requests there were, how they ended and how long they took, by route, method and status. Whatever callers send, there
 * is a bounded number of series: a route is its template, and all that was found on none is one. Requests that asked to wait are
 * series of their own: they count as requests, and their time says nothing of how quick a route is.
 */
import { Effect, Layer } from "effect"
import { Family, Histogram } from "./Instruments.ts"
import { CurrentObserver } from "./Observer.ts"
import { methodLabel, routeLabel } from "./RequestLabels.ts"

/** Those that OpenTelemetry advises, and two below for answers out of memory. */
const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
const MILLIS_PER_SECOND = 1_000

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Effect.context<never>()
    const observer = yield* CurrentObserver
    const durations = new Family(
      ([method, route, status, waited]) =>
        new Histogram(
          registry,
          {
            name: "http_server_request_duration_seconds",
            description: "Time until a request was answered; of a streamed answer, until it began",
          },
          SECONDS,
          {
            http_request_method: method!,
            http_route: route!,
            http_response_status_code: status!,
            waited: waited!,
          },
        ),
    )
    yield* observer.on("request", ({ durationMs, method, route, status, waited }) =>
      durations
        .of(methodLabel(method), routeLabel(route), String(status), String(waited))
        .record(durationMs / MILLIS_PER_SECOND),
    )
  }),
)
