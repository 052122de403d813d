import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { Drain } from "../../src/http/Drain.ts"
import { open, parse } from "./RawHttp.ts"
import { call, layer as TestServer, port, Progress, slugOf } from "./TestApi.ts"

/** A server of its own, and the effect that stops it. */
const start = Effect.fnUntraced(function* (grace: number) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(TestServer({ grace }), scope)
  return { context, stop: Scope.close(scope, Exit.void) }
})

const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`

/** Returns once `condition` holds; sockets give no other sign. */
const until = (condition: () => boolean): Effect.Effect<void> =>
  Effect.suspend(() =>
    condition() ? Effect.void : Effect.andThen(Effect.sleep("5 millis"), until(condition)),
  )

describe("a server that stops", () => {
  it.live("lets a request in flight finish, and closes its connection after it", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* start(5000)
      const connection = yield* Effect.provide(Effect.flatMap(port, open), context)
      connection.send(request("/v1/slow"))
      const progress = yield* Effect.provide(Progress, context)
      yield* until(() => progress.entered === 1)
      const stopped = yield* Effect.forkChild(stop)
      const drain = yield* Effect.provide(Drain, context)
      yield* drain.signal
      progress.finish.resolve()
      const received = parse(yield* Effect.promise(() => connection.closed.then(() => connection.received)))
      assert.strictEqual(received.status, 200)
      assert.strictEqual(received.headers.get("connection"), "close")
      assert.strictEqual(received.body, '"done"')
      yield* Fiber.join(stopped)
    }).pipe(Effect.scoped),
  )

  it.live("accepts no new connections and refuses new requests on old ones", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* start(5000)
      const number = yield* Effect.provide(port, context)
      const connection = yield* open(number)
      const progress = yield* Effect.provide(Progress, context)
      connection.send(request("/v1/slow"))
      yield* until(() => progress.entered === 1)
      const drain = yield* Effect.provide(Drain, context)
      yield* drain.begin
      const refused = yield* Effect.provide(call("/v1/identity"), context)
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(slugOf(refused), "service-unavailable")
      assert.strictEqual(refused.headers.get("retry-after"), "5")
      assert.strictEqual(refused.headers.get("connection"), "close")
      const stopped = yield* Effect.forkChild(stop)
      yield* Effect.sleep("20 millis")
      const late = yield* open(number)
      yield* Effect.promise(() => late.closed)
      assert.strictEqual(late.received, "")
      progress.finish.resolve()
      yield* Fiber.join(stopped)
    }).pipe(Effect.scoped),
  )

  it.live("ends live streams politely and at once", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* start(5000)
      const connection = yield* Effect.provide(Effect.flatMap(port, open), context)
      connection.send(request("/v1/silent-events"))
      yield* Effect.promise(() => connection.receive((text) => text.includes("still here")))
      const before = performance.now()
      yield* stop
      assert.isBelow(performance.now() - before, 3000)
      assert.include(connection.received, ": the server is stopping\nretry: 2000\n\n")
      assert.isTrue(connection.received.endsWith("0\r\n\r\n"))
    }).pipe(Effect.scoped),
  )

  it.live("interrupts what outlives the grace period, which still gets service-unavailable", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* start(100)
      const connection = yield* Effect.provide(Effect.flatMap(port, open), context)
      const progress = yield* Effect.provide(Progress, context)
      connection.send(request("/v1/never"))
      yield* until(() => progress.entered === 1)
      yield* stop
      yield* Effect.promise(() => connection.closed)
      const received = parse(connection.received)
      assert.strictEqual(received.status, 503)
      assert.match(String(received.json["type"]), /service-unavailable$/)
      assert.strictEqual(received.headers.get("retry-after"), "5")
    }).pipe(Effect.scoped),
  )

  it.live("does not wait for a reader that does not read, nor for half a request", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* start(100)
      const stuck = yield* Effect.provide(Effect.flatMap(port, open), context)
      stuck.socket.pause()
      stuck.send(request("/v1/endless-events"))
      const half = yield* Effect.provide(Effect.flatMap(port, open), context)
      half.send(
        "POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{",
      )
      const progress = yield* Effect.provide(Progress, context)
      yield* until(() => progress.pulled > 10)
      const before = performance.now()
      yield* stop
      assert.isBelow(performance.now() - before, 4000)
      yield* Effect.promise(() => half.closed)
    }).pipe(Effect.scoped),
  )

  it.live("closes idle connections without waiting for them", () =>
    Effect.gen(function* () {
      const { context, stop } = yield* start(5000)
      const idle = yield* Effect.provide(Effect.flatMap(port, open), context)
      idle.send(request("/v1/identity"))
      yield* Effect.promise(() => idle.receive((text) => text.includes("request_id")))
      const before = performance.now()
      yield* stop
      yield* Effect.promise(() => idle.closed)
      assert.isBelow(performance.now() - before, 3000)
    }).pipe(Effect.scoped),
  )
})
