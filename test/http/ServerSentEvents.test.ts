import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { open } from "./RawHttp.ts"
import { call, layer as TestServer, Logs, port, Progress, slugOf } from "./TestApi.ts"

const subscribe = (path: string, headers?: Record<string, string>) =>
  call(path, { key: "reader", headers: { accept: "text/event-stream", ...headers } })

layer(TestServer(), { excludeTestServices: true })("live answers", (it) => {
  it.effect("events carry id, name and JSON, and the stream says how to come back", () =>
    Effect.gen(function* () {
      const { headers, text } = yield* subscribe("/v1/jobs/job_0001/events")
      assert.strictEqual(headers.get("content-type"), "text/event-stream")
      assert.strictEqual(headers.get("cache-control"), "no-store, no-transform")
      assert.strictEqual(headers.get("x-accel-buffering"), "no")
      assert.strictEqual(
        text,
        "retry: 2000\n\n" +
          [1, 2, 3].map((n) => `id: ${n}\nevent: tick\ndata: {"version":${n}}\n\n`).join(""),
      )
    }),
  )

  it.effect("Last-Event-ID resumes after that event; one that was never given is refused", () =>
    Effect.gen(function* () {
      const resumed = yield* subscribe("/v1/jobs/job_0001/events", { "last-event-id": "2" })
      assert.match(resumed.text, /^retry: 2000\n\nid: 3\n/)
      for (const id of ["two", "-1", "1.5", "9".repeat(30)]) {
        const refused = yield* subscribe("/v1/jobs/job_0001/events", { "last-event-id": id })
        assert.strictEqual(refused.status, 400)
        assert.strictEqual(slugOf(refused), "invalid-request")
      }
    }),
  )

  it.effect("the same route answers JSON to those who ask for it", () =>
    Effect.gen(function* () {
      const { text } = yield* call("/v1/jobs/job_0001/events", {
        key: "reader",
        headers: { accept: "application/json" },
      })
      assert.strictEqual(text, "[1,2,3]")
    }),
  )

  it.effect("a failure arrives as a problem and keeps its cause to the log", () =>
    Effect.gen(function* () {
      const { headers, text } = yield* subscribe("/v1/failing-events")
      const traceId = headers.get("x-trace-id") ?? ""
      assert.include(text, 'id: 1\ndata: "before"\n\n')
      assert.include(text, "event: problem\ndata: {")
      assert.include(text, "/errors/internal-error")
      assert.include(text, traceId)
      assert.notInclude(text, "secret")
      const line = (yield* Logs).find((each) => each.includes(traceId))
      assert.include(line, "the secret of the stream")
    }),
  )

  it.effect("silence is broken by comments", () =>
    Effect.gen(function* () {
      const connection = yield* open(yield* port)
      connection.send("GET /v1/silent-events HTTP/1.1\r\nHost: x\r\n\r\n")
      const received = yield* Effect.promise(() =>
        connection.receive((text) => (text.match(/: still here/g)?.length ?? 0) >= 2),
      )
      assert.include(received, "retry: 2000")
    }),
  )

  it.effect("a reader that does not read stops the stream, and costs no memory", () =>
    Effect.gen(function* () {
      const progress = yield* Progress
      const connection = yield* open(yield* port)
      connection.socket.pause()
      connection.send("GET /v1/endless-events HTTP/1.1\r\nHost: x\r\n\r\n")
      // Kernel buffers fill up first; from then on nothing may be pulled.
      let before = -1
      while (progress.pulled === 0 || progress.pulled !== before) {
        before = progress.pulled
        yield* Effect.sleep("100 millis")
      }
      assert.isBelow(progress.pulled * 10_000, 32_000_000)
      connection.socket.resume()
      yield* Effect.promise(() => connection.receive((text) => text.length > (before + 50) * 10_000))
      assert.isAbove(progress.pulled, before)
    }),
  )

  it.effect("a reader that is too slow is sent away, told when to come back, and goes on where it was", () =>
    Effect.gen(function* () {
      const progress = yield* Progress
      const connection = yield* open(yield* port)
      connection.socket.pause()
      connection.send("GET /v1/hurried-events HTTP/1.1\r\nHost: x\r\n\r\n")
      // Until nothing more goes into the buffers of the kernel, and for longer than is waited for a reader.
      let before = -1
      while (progress.pulled === 0 || progress.pulled !== before) {
        before = progress.pulled
        yield* Effect.sleep("100 millis")
      }
      connection.socket.resume()
      const received = yield* Effect.promise(() => connection.receive((text) => text.endsWith("0\r\n\r\n")))
      assert.match(received, /: the reader is too slow\nretry: 10000\n\n\r\n0\r\n\r\n$/)
      const last = Number([...received.matchAll(/\nid: (\d+)\n/g)].at(-1)![1])
      assert.isAbove(last, 1)

      const again = yield* open(yield* port)
      again.send(`GET /v1/hurried-events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: ${last}\r\n\r\n`)
      const resumed = yield* Effect.promise(() => again.receive((text) => text.includes("\nid: ")))
      assert.match(resumed, new RegExp(`retry: 2000\n\n[^]*?id: ${last + 1}\n`))
    }),
  )

  it.effect("a reader that keeps up stays, however long nothing happens", () =>
    Effect.gen(function* () {
      const connection = yield* open(yield* port)
      connection.send("GET /v1/rare-events HTTP/1.1\r\nHost: x\r\n\r\n")
      const received = yield* Effect.promise(() =>
        connection.receive((text) => text.includes('data: "late"')),
      )
      assert.notInclude(received, "too slow")
    }),
  )
})
