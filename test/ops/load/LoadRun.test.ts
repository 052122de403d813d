import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { runLoad } from "../../../src/ops/load/LoadRun.ts"
import { LoadRecord } from "../../../src/ops/load/LoadRecord.ts"
import { makeRequester, type Request } from "../../../src/ops/load/Requester.ts"
import { serve } from "./SlowServer.ts"

const REQUEST: Request = { endpoint: "GET /", method: "GET", path: "/" }

const after = (ms: number, then: () => void) => void setTimeout(then, ms)

describe("a load", () => {
  it.live("counts each answer once, and tells errors apart by what was wrong", () =>
    Effect.gen(function* () {
      let served = 0
      const target = yield* serve((_request, response) => {
        served++
        if (served % 3 === 0) response.socket!.destroy()
        else if (served % 3 === 1) response.end("{}")
        else response.writeHead(503).end('{"type": "http://127.0.0.1/errors/overloaded"}')
      })
      const requester = yield* makeRequester({ target, connections: 2, timeoutMs: 5_000 })
      const { record } = yield* runLoad({ requester, next: () => REQUEST, concurrency: 2, durationMs: 300 })
      assert.strictEqual(record.service.count, served)
      const errors = new Map(record.errors.map(({ count, type }) => [type, count]))
      assert.deepStrictEqual([...errors.keys()].sort(), ["503 overloaded", "connection lost"])
      assert.strictEqual(errors.get("connection lost"), Math.floor(served / 3))
      assert.strictEqual(record.errorCount, served - Math.ceil(served / 3))
      assert.deepStrictEqual(
        record.endpoints.map(({ endpoint, latency }) => [endpoint, latency.count]),
        [["GET /", served]],
      )
    }).pipe(Effect.scoped),
  )

  it.live("with a rate counts from when requests were due, also those that could not be sent", () =>
    Effect.gen(function* () {
      // One connection and 100 ms an answer: of 50 requests that are due in half a second some five are sent.
      const target = yield* serve((_request, response) => after(100, () => response.end("{}")))
      const requester = yield* makeRequester({ target, connections: 1, timeoutMs: 5_000 })
      const plan = { requester, next: () => REQUEST, concurrency: 1, durationMs: 500 }
      const { record } = yield* runLoad({ ...plan, rate: 100 })
      const unsent = record.errors.find(({ type }) => type === "due and never sent")!.count
      assert.strictEqual(record.latency.count, 50)
      assert.strictEqual(record.service.count, 50 - unsent)
      assert.isAtLeast(record.service.min, 99)
      // Without the correction the median would be that of an answer.
      assert.isAbove(record.latency.percentile(50), record.service.min * 1.5)

      const closed = yield* runLoad(plan)
      assert.strictEqual(closed.record.errorCount, 0)
      assert.strictEqual(closed.record.latency.count, closed.record.service.count)
    }).pipe(Effect.scoped),
  )

  it.live("sends no more than the rate while the server keeps up", () =>
    Effect.gen(function* () {
      let served = 0
      const target = yield* serve((_request, response) => {
        served++
        response.end("{}")
      })
      const requester = yield* makeRequester({ target, connections: 4, timeoutMs: 5_000 })
      const { record } = yield* runLoad({
        requester,
        next: () => REQUEST,
        concurrency: 4,
        durationMs: 500,
        rate: 40,
      })
      assert.strictEqual(record.latency.count, 20)
      assert.isAtMost(served, 20)
    }).pipe(Effect.scoped),
  )

  it.live("gives up on an answer that never ends, and on a server that is not there", () =>
    Effect.gen(function* () {
      const target = yield* serve((_request, response) => {
        const dripping = setInterval(() => response.write("."), 20)
        response.on("close", () => clearInterval(dripping))
      })
      const requester = yield* makeRequester({ target, connections: 2, timeoutMs: 300 })
      const plan = { requester, next: () => REQUEST, concurrency: 2, durationMs: 100 }
      const { record } = yield* runLoad(plan)
      assert.deepStrictEqual(record.errors, [{ type: "no answer in time", count: 2 }])

      const nowhere = yield* Effect.scoped(serve((_request, response) => response.end()))
      const gone = yield* makeRequester({ target: nowhere, connections: 2, timeoutMs: 300 })
      const refused = yield* runLoad({ ...plan, requester: gone })
      assert.deepStrictEqual(
        refused.record.errors.map(({ type }) => type),
        ["connection refused"],
      )
      // It does not try again at once.
      assert.isBelow(refused.record.errorCount, 10)
    }).pipe(Effect.scoped),
  )

  it.live("ends when it is interrupted", () =>
    Effect.gen(function* () {
      const target = yield* serve((_request, response) => response.end("{}"))
      const requester = yield* makeRequester({ target, connections: 2, timeoutMs: 5_000 })
      const run = yield* Effect.forkChild(
        runLoad({ requester, next: () => REQUEST, concurrency: 2, durationMs: 3_600_000, rate: 10 }),
      )
      yield* Effect.sleep("50 millis")
      yield* Fiber.interrupt(run)
    }).pipe(Effect.scoped),
  )
})

describe("the record of a load", () => {
  it("has at most six hundred points, whatever the length, and none of them loses a request", () => {
    for (const seconds of [1, 30, 3_600]) {
      const record = new LoadRecord(seconds * 1_000)
      const requests = seconds * 10
      for (let n = 0; n < requests; n++)
        record.request("GET /", undefined, { latency: 1, service: 1, at: n * 100 })
      // One that is answered after the end.
      record.request("GET /", undefined, { latency: 1, service: 1, at: seconds * 1_000 + 500 })
      record.end()
      assert.isAtMost(record.points.length, 600)
      const counted = record.points.reduce(
        ({ before, sum }, { at, perSecond }) => ({ before: at, sum: sum + perSecond * (at - before) }),
        { before: 0, sum: 0 },
      )
      assert.closeTo(counted.sum, requests + 1, 0.001)
    }
  })

  it("says nothing of the latency of a second without an answer", () => {
    const record = new LoadRecord(3_000)
    record.request("GET /", undefined, { latency: 1, service: 1, at: 100 })
    record.request("GET /", undefined, { latency: 2_000, service: 2_000, at: 2_100 })
    record.end()
    assert.deepStrictEqual(
      record.points.map(({ at, p50, perSecond }) => [at, perSecond, p50]),
      [
        [1, 1, 1],
        [2, 0, null],
        [3, 1, 2_000],
      ],
    )
  })

  it("tells fifty kinds of errors and endpoints apart, and counts the others together", () => {
    const record = new LoadRecord(1_000)
    for (let n = 0; n < 200; n++) record.request(`GET /${n}`, `error ${n}`, { latency: 1, service: 1, at: 0 })
    assert.strictEqual(record.errors.length, 51)
    assert.deepStrictEqual(record.errors[0], { type: "other", count: 150 })
    assert.strictEqual(record.endpoints.length, 51)
    assert.strictEqual(record.errorCount, 200)
  })
})
