import { assert, layer } from "@effect/vitest"
import { Context, Effect, Fiber, FileSystem, Layer, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { partKey } from "../../src/security/KeyedRequest.ts"
import { BATCH_TIME_MAX_MS, type BatchItem, run } from "../../src/http/Batch.ts"
import { Dispatcher } from "../../src/http/Dispatcher.ts"
import { TestClock } from "effect/testing"
import { serve } from "./PlainServer.ts"
import { open } from "./RawHttp.ts"
import { call, port, post } from "./TestApi.ts"

/** What the routes have seen. */
class Seen extends Context.Service<
  Seen,
  {
    running: number
    most: number
    interrupted: number
    opened: number
    readonly headers: Array<Readonly<Record<string, string>>>
  }
>()("test/Seen") {
  static readonly layer = Layer.sync(Seen, () => ({
    running: 0,
    most: 0,
    interrupted: 0,
    opened: 0,
    headers: [],
  }))
}

/** Something of the outer request that the requests in it must not see. */
class OuterOnly extends Context.Service<OuterOnly, string>()("test/OuterOnly") {}

const item = (path: string, more: Partial<BatchItem> = {}): BatchItem => ({
  id: path,
  method: "GET",
  path,
  headers: {},
  body: undefined,
  ...more,
})

const routes = Layer.mergeAll(
  HttpRouter.use((router) =>
    Effect.gen(function* () {
      const seen = yield* Seen
      const dispatcher = yield* Dispatcher
      const files = yield* FileSystem.FileSystem
      const file = yield* files.makeTempFileScoped()
      yield* files.writeFileString(file, "in a file")
      yield* router.add(
        "POST",
        "/batch",
        Effect.gen(function* () {
          const request = yield* HttpServerRequest.HttpServerRequest
          const items = (yield* request.json) as unknown as ReadonlyArray<BatchItem>
          const text = yield* run(items).pipe(
            Effect.provideService(Dispatcher, dispatcher),
            Effect.provideService(OuterOnly, "secret"),
          )
          return HttpServerResponse.text(text, { contentType: "application/json" })
        }),
      )
      yield* router.add(
        "GET",
        "/context",
        Effect.map(Effect.context<never>(), (context) =>
          HttpServerResponse.jsonUnsafe({ outer: Context.getOrUndefined(context, OuterOnly) ?? null }),
        ),
      )
      yield* router.add(
        "GET",
        "/slow",
        Effect.gen(function* () {
          seen.running++
          seen.most = Math.max(seen.most, seen.running)
          yield* Effect.promise(() => new Promise((resolve) => setTimeout(resolve, 5)))
          seen.running--
          return HttpServerResponse.empty()
        }),
      )
      yield* router.add(
        "GET",
        "/never",
        Effect.suspend(() => {
          seen.running++
          return Effect.never
        }).pipe(
          Effect.onInterrupt(() =>
            Effect.sync(() => {
              seen.running--
              seen.interrupted++
            }),
          ),
        ),
      )
      yield* router.add("GET", "/file", HttpServerResponse.file(file))
      yield* router.add(
        "GET",
        "/stream",
        HttpServerResponse.stream(
          Stream.suspend(() => {
            seen.opened++
            return Stream.never
          }),
        ),
      )
      yield* router.add("GET", "/bytes", HttpServerResponse.uint8Array(new Uint8Array([1, 2, 255])))
      yield* router.add(
        "GET",
        "/exact",
        HttpServerResponse.text('{"n":12345678901234567890.0}', { contentType: "application/json" }),
      )
      yield* router.add("GET", "/text", HttpServerResponse.text('plain "text"'))
      yield* router.add("GET", "/defect", Effect.die(new Error("the secret of the route")))
      yield* router.add(
        "*",
        "/headers",
        Effect.map(HttpServerRequest.HttpServerRequest, ({ headers }) => {
          seen.headers.push({ ...headers })
          return HttpServerResponse.empty()
        }),
      )
    }),
  ),
).pipe(Layer.provide(Dispatcher.layer))

const server = (requestsMax = 100) => serve(routes, { requestsMax }).pipe(Layer.provideMerge(Seen.layer))

interface Item {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>> | null
}

const batch = Effect.fnUntraced(function* (
  items: ReadonlyArray<BatchItem>,
  headers: Readonly<Record<string, string>> = {},
) {
  const { json } = yield* post("/batch", items, { headers })
  return json["responses"] as ReadonlyArray<Item>
})

layer(server(), { excludeTestServices: true })("requests in a batch", (it) => {
  it.effect("see nothing of the request that brought them", () =>
    Effect.gen(function* () {
      const [seen] = yield* batch([item("/context")])
      assert.deepStrictEqual(seen!.body, { outer: null })
    }),
  )

  it.effect("are five at a time", () =>
    Effect.gen(function* () {
      const seen = yield* Seen
      yield* batch(Array.from({ length: 20 }, () => item("/slow")))
      assert.strictEqual(seen.most, 5)
      assert.strictEqual(seen.running, 0)
    }),
  )

  it.effect("whose answer is a stream, a file or bytes have a problem instead, and nothing was opened", () =>
    Effect.gen(function* () {
      const answers = yield* batch([item("/stream"), item("/file"), item("/bytes"), item("/exact")])
      for (const { body, headers, status } of answers.slice(0, 3)) {
        assert.strictEqual(status, 406)
        assert.strictEqual(headers["content-type"], "application/problem+json")
        assert.match(String(body!["type"]), /\/not-acceptable$/)
      }
      assert.strictEqual((yield* Seen).opened, 0)
      assert.strictEqual(answers[3]!.status, 200)
    }),
  )

  it.effect("keep every digit of their answers", () =>
    Effect.gen(function* () {
      const { text } = yield* post("/batch", [item("/exact")])
      assert.include(text, '"body":{"n":12345678901234567890.0}')
      const [plain] = yield* batch([item("/text")])
      assert.strictEqual(String(plain!.body), 'plain "text"')
    }),
  )

  it.effect("that fail unexpectedly say so, and no more", () =>
    Effect.gen(function* () {
      const [failed, fine] = yield* batch([item("/defect"), item("/exact")])
      assert.strictEqual(failed!.status, 500)
      assert.sameMembers(Object.keys(failed!.body!), ["type", "title", "status", "instance", "trace_id"])
      assert.strictEqual(fine!.status, 200)
    }),
  )

  it.effect("come from where the batch came from, and bring what is theirs", () =>
    Effect.gen(function* () {
      const { headers: seen } = yield* Seen
      seen.length = 0
      yield* batch(
        [
          item("/headers", { method: "POST", body: { a: 1 } }),
          item("/headers"),
          item("/headers", { method: "DELETE", headers: { "idempotency-key": "own", "x-api-key": "k" } }),
        ],
        {
          authorization: "Bearer outer",
          "idempotency-key": "key",
          "x-forwarded-for": "203.0.113.7",
          "webhook-id": "msg_1",
          cookie: "a=b",
          prefer: "wait=1",
        },
      )
      const [first, second, third] = seen
      for (const headers of seen) {
        assert.strictEqual(headers["x-forwarded-for"], "203.0.113.7")
        for (const name of ["webhook-id", "cookie", "prefer"]) assert.notProperty(headers, name)
      }
      assert.deepInclude(first, {
        authorization: "Bearer outer",
        "idempotency-key": partKey("key", 0),
        "content-type": "application/json",
        "content-length": "7",
      })
      assert.strictEqual(second!["authorization"], "Bearer outer")
      for (const name of ["idempotency-key", "content-type", "content-length"])
        assert.notProperty(second, name)
      assert.deepInclude(third, { "idempotency-key": "own", "x-api-key": "k" })
      assert.notProperty(third, "authorization")
    }),
  )

  it.effect("have a key of a length that is allowed, however long that of the batch is", () =>
    Effect.gen(function* () {
      const { headers: seen } = yield* Seen
      seen.length = 0
      const items = Array.from({ length: 11 }, () => item("/headers", { method: "POST" }))
      yield* batch(items, { "idempotency-key": "k".repeat(255) })
      const keys = seen.map((headers) => headers["idempotency-key"]!)
      assert.strictEqual(new Set(keys).size, 11)
      for (const key of keys) assert.isAtMost(key.length, 255)
    }),
  )

  it.effect("end when the caller goes away", () =>
    Effect.gen(function* () {
      const seen = yield* Seen
      const body = JSON.stringify([item("/never")])
      const connection = yield* open(yield* port)
      connection.send(
        `POST /batch HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
      )
      while (seen.running === 0) yield* Effect.sleep("5 millis")
      connection.socket.destroy()
      while (seen.interrupted === 0) yield* Effect.sleep("5 millis")
      assert.strictEqual((yield* call("/exact")).status, 200)
    }),
  )
})

layer(server(3), { excludeTestServices: true })("on a server with three places", (it) => {
  it.effect("a batch takes three and leaves them as they were", () =>
    Effect.gen(function* () {
      const seen = yield* Seen
      const answers = yield* batch(Array.from({ length: 12 }, () => item("/slow")))
      assert.strictEqual(seen.most, 3)
      assert.isTrue(answers.every(({ status }) => status === 204))
      const again = yield* Effect.all([call("/slow"), call("/slow"), call("/slow")], { concurrency: 3 })
      assert.isTrue(again.every(({ status }) => status === 204))
    }),
  )
})

layer(server())("when the time of a batch is up", (it) => {
  it.effect("what goes on is ended and what waits is not begun, and all that was done is told", () =>
    Effect.gen(function* () {
      const seen = yield* Seen
      const items = [item("/exact"), ...Array.from({ length: 5 }, () => item("/never")), item("/exact")]
      const answering = yield* Effect.forkChild(batch(items))
      while (seen.running < 5) yield* Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))
      yield* TestClock.adjust(BATCH_TIME_MAX_MS)
      const answers = yield* Fiber.join(answering)
      assert.strictEqual(seen.interrupted, 5)
      assert.deepStrictEqual(
        answers.map(({ status }) => status),
        [200, 504, 504, 504, 504, 504, 503],
      )
      assert.match(String(answers[1]!.body!["type"]), /\/gateway-timeout$/)
    }),
  )
})
