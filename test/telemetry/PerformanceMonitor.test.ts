import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as Observer from "../../src/telemetry/Observer.ts"
import { PerformanceMonitor } from "../../src/telemetry/PerformanceMonitor.ts"
import { ROUTES_MAX } from "../../src/telemetry/RouteTimes.ts"

const request = (method: string, route: string | undefined): Observer.FinishedRequest => ({
  method,
  route,
  status: 405,
  durationMs: 1,
  streamedMs: undefined,
  bytes: 0,
  waited: false,
  principal: undefined,
  requestId: "req",
  traceId: "0af7651916cd43dd8448eb211c80319c",
  spanId: "b7ad6b7169203331",
})

describe("the performance monitor", () => {
  it.effect("gives no place of a route to methods that callers make up", () =>
    Effect.gen(function* () {
      const observer = yield* Observer.CurrentObserver
      const monitor = yield* PerformanceMonitor
      for (let n = 0; n < ROUTES_MAX; n++) observer.tell("request", request(`MADE-UP-${n}`, undefined))
      observer.tell("request", request("GET", "/v1/jobs"))
      const { routes } = yield* monitor.routes(60_000)
      assert.deepStrictEqual(
        routes.map(({ method, requests, route }) => [method, route, requests]),
        [
          ["_OTHER", "unmatched", ROUTES_MAX],
          ["GET", "/v1/jobs", 1],
        ],
      )
    }).pipe(Effect.provide(PerformanceMonitor.layer.pipe(Layer.provideMerge(Observer.layer)))),
  )
})
