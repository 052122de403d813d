import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { exceedsValues } from "../../src/http/JsonBudget.ts"
import { serve } from "./PlainServer.ts"
import { type Connection, exchange, open, parse } from "./RawHttp.ts"
import { call, layer as TestServer, port, post, Progress, slugOf } from "./TestApi.ts"

const request = (path: string) => `GET ${path} HTTP/1.1\r\nHost: x\r\n\r\n`
const DRIP_MS = 20
const CLIENTS = 20

/** Asks until the answer is right: places are given back when a connection has ended, which gives no sign. */
const until = <A, E, R>(
  ask: Effect.Effect<A, E, R>,
  isRight: (answer: A) => boolean,
): Effect.Effect<A, E, R> =>
  Effect.flatMap(ask, (answer) =>
    isRight(answer) ? Effect.succeed(answer) : Effect.andThen(Effect.sleep("10 millis"), until(ask, isRight)),
  )

/** A connection with a live stream that has begun, as soon as there is a place for it. */
const openStream = until(
  Effect.gen(function* () {
    const connection = yield* open(yield* port)
    connection.send(request("/v1/silent-events"))
    yield* Effect.promise(() => connection.receive((text) => /still here|HTTP\/1.1 503/.test(text)))
    return connection
  }),
  ({ received }) => received.includes("still here"),
)

/** Sends a byte at a time for as long as the server lets it, and says what came back. */
const drip = (connection: Connection, bytes: string) =>
  Effect.promise(async () => {
    let next = 0
    const timer = setInterval(() => connection.send(bytes[next++ % bytes.length]!), DRIP_MS)
    await connection.closed
    clearInterval(timer)
    return { ...parse(connection.received), sent: next }
  })

layer(TestServer({ headersTimeout: 300, requestTimeout: 600, requestsMax: 3 }), {
  excludeTestServices: true,
})("a sender that never ends", (it) => {
  it.effect("its headers is told so and cut off, and others are served meanwhile", () =>
    Effect.gen(function* () {
      const clients = Effect.forEach(
        Array.from({ length: CLIENTS }),
        Effect.fnUntraced(function* () {
          const connection = yield* open(yield* port)
          connection.send("GET /v1/identity HTTP/1.1\r\nHost: x\r\n")
          return yield* drip(connection, "X-Slow: loris\r\n")
        }, Effect.scoped),
        { concurrency: "unbounded" },
      )
      const [answers] = yield* Effect.all(
        [
          clients,
          Effect.forEach(Array.from({ length: 10 }), () =>
            Effect.map(call("/v1/identity"), ({ status }) => assert.strictEqual(status, 200)),
          ),
        ],
        { concurrency: 2 },
      )
      for (const answer of answers) {
        assert.strictEqual(answer.status, 408)
        assert.match(String(answer.json["type"]), /\/request-timeout$/)
        assert.isAbove(answer.sent, 5, "it was still sending")
      }
    }),
  )

  it.effect("its body is told so and cut off, and its place is free again", () =>
    Effect.gen(function* () {
      // More of them than there are places.
      for (let round = 0; round < 2; round++) {
        const answers = yield* Effect.forEach(
          Array.from({ length: 3 }),
          Effect.fnUntraced(function* () {
            const connection = yield* open(yield* port)
            connection.send(
              "POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 5000\r\n\r\n",
            )
            return yield* drip(connection, '{"text":"slow"}')
          }, Effect.scoped),
          { concurrency: "unbounded" },
        )
        for (const answer of answers) {
          assert.strictEqual(answer.status, 408)
          assert.match(String(answer.json["type"]), /\/request-timeout$/)
        }
      }
      yield* until(call("/v1/identity"), ({ status }) => status === 200)
    }),
  )
})

layer(TestServer({ silenceTimeout: 300, streamsMax: 1 }), { excludeTestServices: true })(
  "a reader that does not read",
  (it) => {
    it.effect("is cut off, and its place among the streams is free again", () =>
      Effect.gen(function* () {
        const stuck = yield* open(yield* port)
        stuck.socket.pause()
        stuck.send(request("/v1/endless-events"))
        const progress = yield* Progress
        yield* until(
          Effect.sync(() => progress.pulled),
          (pulled) => pulled > 10,
        )
        const refused = yield* exchange(yield* port, request("/v1/silent-events"))
        assert.strictEqual(refused.status, 503)
        yield* openStream
      }),
    )

    it.effect("a live stream that is silent but for its heartbeat goes on", () =>
      Effect.gen(function* () {
        const connection = yield* openStream
        // 40 of them take 800 ms, more than twice the silence that is let pass.
        yield* Effect.promise(() => connection.receive((text) => text.split(": still here").length > 40))
        assert.isFalse(connection.socket.closed)
      }),
    )
  },
)

const limited = { requestsMax: 2, streamsMax: 2, alwaysAdmitted: ["/v1/identity"] }

layer(TestServer(limited), { excludeTestServices: true })("a server with two places", (it) => {
  it.effect("refuses a third request at once and says when to return, but never a probe", () =>
    Effect.gen(function* () {
      const progress = yield* Progress
      const connections = [yield* open(yield* port), yield* open(yield* port)]
      for (const each of connections) each.send(request("/v1/slow"))
      yield* until(
        Effect.sync(() => progress.entered),
        (entered) => entered === 2,
      )
      for (const path of ["/v1/slow", "/v1/nothing", "/errors"]) {
        const refused = yield* call(path)
        assert.strictEqual(refused.status, 503)
        assert.strictEqual(slugOf(refused), "service-unavailable")
        assert.strictEqual(refused.headers.get("retry-after"), "2")
        assert.strictEqual(refused.json["retry_after"], 2)
      }
      assert.strictEqual((yield* call("/v1/identity?x=1")).status, 200)
      assert.strictEqual((yield* call("/v1/identity")).status, 200)
      assert.strictEqual(progress.entered, 2)
      progress.finish.resolve()
      for (const each of connections) {
        yield* Effect.promise(() => each.receive((text) => text.includes('"done"')))
      }
      assert.strictEqual((yield* call("/errors")).status, 200)
    }),
  )

  it.effect("has a place again when a request fails, and when its caller leaves", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 5; i++) assert.strictEqual((yield* call("/v1/defect")).status, 500)
      const progress = yield* Progress
      const before = progress.entered
      const leaving = [yield* open(yield* port), yield* open(yield* port)]
      for (const each of leaving) each.send(request("/v1/never"))
      yield* until(
        Effect.sync(() => progress.entered - before),
        (entered) => entered === 2,
      )
      assert.strictEqual((yield* call("/errors")).status, 503)
      for (const each of leaving) each.socket.destroy()
      yield* until(call("/errors"), ({ status }) => status === 200)
    }),
  )

  it.effect("counts live streams apart from requests, and refuses a third", () =>
    Effect.gen(function* () {
      const leaving = yield* openStream
      yield* openStream
      const refused = yield* call("/v1/silent-events")
      assert.strictEqual(refused.status, 503)
      assert.strictEqual(slugOf(refused), "service-unavailable")
      assert.strictEqual(refused.headers.get("retry-after"), "2")
      assert.strictEqual((yield* call("/errors")).status, 200, "requests have places of their own")
      assert.strictEqual((yield* call("/v1/silent-events", { method: "HEAD" })).status, 200)
      leaving.socket.destroy()
      yield* openStream
    }),
  )

  it.effect("loses no place to a caller that asks for several at a time and leaves", () =>
    Effect.gen(function* () {
      const progress = yield* Progress
      for (let i = 0; i < 3; i++) {
        const before = progress.entered
        const connection = yield* open(yield* port)
        connection.send(request("/v1/never") + request("/v1/silent-events"))
        yield* until(
          Effect.sync(() => progress.entered - before),
          (entered) => entered === 1,
        )
        connection.socket.destroy()
      }
      yield* until(call("/errors"), ({ status }) => status === 200)
      yield* openStream
      yield* openStream
    }),
  )
})

layer(TestServer({ connectionsMax: 2 }), { excludeTestServices: true })(
  "a server with two connections",
  (it) => {
    it.effect("closes a third at once, and has one again when another ends", () =>
      Effect.gen(function* () {
        const connections = [yield* open(yield* port), yield* open(yield* port)]
        for (const each of connections) {
          each.send(request("/v1/identity"))
          yield* Effect.promise(() => each.receive((text) => text.includes("request_id")))
        }
        const third = yield* open(yield* port)
        yield* Effect.promise(() => third.closed)
        assert.strictEqual(third.received, "")
        connections[0]?.socket.destroy()
        yield* until(
          Effect.gen(function* () {
            const next = yield* open(yield* port)
            next.send(request("/v1/identity"))
            return yield* Effect.promise(() => next.receive((text) => text.includes("request_id")))
          }),
          (received) => received.includes("200 OK"),
        )
      }),
    )
  },
)

const answers = Layer.mergeAll(
  HttpRouter.add("GET", "/fits", HttpServerResponse.text("x".repeat(1_000))),
  HttpRouter.add("GET", "/large", HttpServerResponse.text("x".repeat(1_001))),
  HttpRouter.add(
    "GET",
    "/stream",
    HttpServerResponse.stream(Stream.make("x".repeat(5_000)).pipe(Stream.encodeText)),
  ),
)

layer(serve(answers, { responseBytesMax: 1_000 }), { excludeTestServices: true })("an answer", (it) => {
  it.effect("that is larger than its limit is not sent, and a stream has none", () =>
    Effect.gen(function* () {
      assert.lengthOf((yield* call("/fits")).text, 1_000)
      const large = yield* call("/large")
      assert.strictEqual(large.status, 500)
      assert.strictEqual(slugOf(large), "response-too-large")
      assert.strictEqual(large.json["limit_bytes"], 1_000)
      assert.lengthOf((yield* call("/stream")).text, 5_000)
    }),
  )
})

describe("the values of a JSON text", () => {
  for (const [text, values] of [
    ["[]", 1],
    ["[1,2,3]", 3],
    ['{"a":{"b":[]}}', 3],
    ['"a,b,[{"', 0],
    ['["\\",[{","]', 2],
    ['["\\\\",["x"]]', 3],
    ['["never closed, [', 1],
    ["[".repeat(1_000), 1_000],
  ] as const) {
    it(`of ${text.slice(0, 20)} are ${values}`, () => {
      assert.isFalse(exceedsValues(text, values))
      if (values > 0) assert.isTrue(exceedsValues(text, values - 1))
    })
  }
})

layer(TestServer(), { excludeTestServices: true })("a large body", (it) => {
  it.effect("with few values is taken, with many it is refused before it is parsed", () =>
    Effect.gen(function* () {
      const text = "a,[{".repeat(500_000)
      const taken = yield* post("/v1/echo", { text })
      assert.deepStrictEqual(taken.json, { length: text.length })
      for (const body of [
        `{"text":[${"0,".repeat(200_000)}0]}`,
        `{"text":${"[".repeat(4_000_000)}`,
        `{${Array.from({ length: 200_001 }, (_, i) => `"${i}":0`).join(",")}}`,
      ]) {
        const refused = yield* post("/v1/echo", body)
        assert.strictEqual(slugOf(refused), "validation-failed")
        assert.deepStrictEqual(refused.json["errors"], [
          {
            field: "",
            code: "invalid_length",
            message: "a body has at most 200000 values in its arrays and objects",
          },
        ])
      }
    }),
  )

  it.effect("is counted as well when its length is not announced", () =>
    Effect.gen(function* () {
      const body = `{"text":[${"0,".repeat(200_000)}0]}`
      const answer = yield* exchange(
        yield* port,
        "POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" +
          `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`,
      )
      assert.strictEqual(answer.status, 400)
      assert.match(String(answer.json["type"]), /\/validation-failed$/)
    }),
  )
})
