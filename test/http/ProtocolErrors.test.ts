import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { answerProtocolErrors } from "../../src/http/ProtocolErrors.ts"
import { exchange, open, parse } from "./RawHttp.ts"
import { layer as TestServer, port } from "./TestApi.ts"

const BASE = "https://api.renderowl.com/errors/"
const json = "Content-Type: application/json\r\n"
const MEGABYTE = Buffer.alloc(1_000_000, "a")

layer(TestServer({ headersTimeout: 150 }), { excludeTestServices: true })(
  "what never becomes a request is a problem too",
  (it) => {
    it.effect("headers beyond 8 KB are headers-too-large", () =>
      Effect.gen(function* () {
        const request = `GET /v1/identity HTTP/1.1\r\nHost: x\r\nX-Long: ${"a".repeat(9000)}\r\n\r\n`
        const answer = yield* exchange(yield* port, request)
        assert.strictEqual(answer.status, 431)
        assert.strictEqual(answer.json["type"], `${BASE}headers-too-large`)
        assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
        assert.strictEqual(answer.headers.get("connection"), "close")
        assert.strictEqual(answer.headers.get("x-trace-id"), answer.json["trace_id"])
        assert.strictEqual(answer.headers.get("x-content-type-options"), "nosniff")
      }),
    )

    it.effect("a URL so long that it does not fit the headers is still uri-too-long", () =>
      Effect.gen(function* () {
        const answer = yield* exchange(yield* port, `GET /${"a".repeat(20_000)} HTTP/1.1\r\nHost: x\r\n\r\n`)
        assert.strictEqual(answer.status, 414)
        assert.strictEqual(answer.json["type"], `${BASE}uri-too-long`)
      }),
    )

    it.effect("bytes that are not HTTP are invalid-request, and the connection ends", () =>
      Effect.gen(function* () {
        for (const bytes of [
          "hello\r\n\r\n",
          "GET /v1/identity HTTP/1.1\r\nHost: x\r\nbad header\r\n\r\n",
          "POST /v1/echo HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          `POST /v1/echo HTTP/1.1\r\nHost: x\r\n${json}Content-Length: -1\r\n\r\n`,
        ]) {
          const answer = yield* exchange(yield* port, bytes)
          assert.strictEqual(answer.status, 400, bytes)
          assert.strictEqual(answer.json["type"], `${BASE}invalid-request`)
          yield* Effect.promise(() => answer.connection.closed)
        }
      }),
    )

    it.effect("a request without Host is refused in HTTP/1.1 and served in HTTP/1.0", () =>
      Effect.gen(function* () {
        const refused = yield* exchange(yield* port, "GET /v1/identity HTTP/1.1\r\n\r\n")
        assert.strictEqual(refused.status, 400)
        assert.strictEqual(refused.json["type"], `${BASE}invalid-request`)
        const served = yield* exchange(yield* port, "GET /v1/identity HTTP/1.0\r\n\r\n")
        assert.strictEqual(served.status, 200)
      }),
    )

    it.effect("targets that are no paths are answered like all others", () =>
      Effect.gen(function* () {
        for (const [line, status] of [
          ["GET http://x/v1/identity", 200],
          ["GET http://x/identity?api_version=v1", 200],
          ["OPTIONS *", 404],
          ["GET /v1/%zz", 404],
          ["GET /%zz?api_version=v1", 404],
          ["GET ?", 400],
          ["TRACE /v1/identity", 405],
          ["PROPFIND /identity", 405],
        ] as const) {
          const answer = yield* exchange(yield* port, `${line} HTTP/1.1\r\nHost: x\r\n\r\n`)
          assert.strictEqual(answer.status, status, line)
        }
      }),
    )

    it.effect("an expectation other than 100-continue is expectation-failed", () =>
      Effect.gen(function* () {
        const answer = yield* exchange(
          yield* port,
          "GET /v1/identity HTTP/1.1\r\nHost: x\r\nExpect: cake\r\n\r\n",
        )
        assert.strictEqual(answer.status, 417)
        assert.strictEqual(answer.json["type"], `${BASE}expectation-failed`)
      }),
    )

    it.effect("an offer to upgrade is ignored, as HTTP allows", () =>
      Effect.gen(function* () {
        const answer = yield* exchange(
          yield* port,
          `POST /v1/echo HTTP/1.1\r\nHost: x\r\n${json}Content-Length: 12\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n{"text":"ab"}`.replace(
            "12",
            "13",
          ),
        )
        assert.strictEqual(answer.status, 200)
        assert.deepStrictEqual(answer.json, { length: 2 })
      }),
    )

    it.effect("a sender that takes too long over its headers gets request-timeout", () =>
      Effect.gen(function* () {
        const answer = yield* exchange(yield* port, "GET /v1/identity HTTP/1.1\r\nHost: x\r\n")
        assert.strictEqual(answer.status, 408)
        assert.strictEqual(answer.json["type"], `${BASE}request-timeout`)
      }),
    )

    it.effect("a body that is announced as too long is refused before it is sent", () =>
      Effect.gen(function* () {
        const request = `POST /v1/echo HTTP/1.1\r\nHost: x\r\n${json}Content-Length: 10000001\r\nExpect: 100-continue\r\n\r\n`
        const answer = yield* exchange(yield* port, request)
        assert.strictEqual(answer.status, 413)
        assert.strictEqual(answer.json["type"], `${BASE}payload-too-large`)
        assert.strictEqual(answer.json["limit_bytes"], 10_000_000)
        assert.strictEqual(answer.headers.get("connection"), "close")
      }),
    )

    it.effect("a chunked body that turns out too long is refused, and the sender can read why", () =>
      Effect.gen(function* () {
        const connection = yield* open(yield* port)
        connection.send(`POST /v1/echo HTTP/1.1\r\nHost: x\r\n${json}Transfer-Encoding: chunked\r\n\r\n`)
        const chunk = Buffer.concat([Buffer.from("f4240\r\n"), MEGABYTE, Buffer.from("\r\n")])
        for (let i = 0; i < 11; i++) connection.send(chunk)
        const answer = parse(yield* Effect.promise(() => connection.receive((text) => text.endsWith("}"))))
        assert.strictEqual(answer.status, 413)
        assert.strictEqual(answer.json["type"], `${BASE}payload-too-large`)
        // The rest of the body must not be taken for the next request.
        for (let i = 0; i < 3; i++) connection.send(chunk)
        yield* Effect.promise(() => connection.closed)
        assert.strictEqual(connection.received.match(/HTTP\/1\.1/g)?.length, 1)
      }),
    )

    it.effect("a streamed body has the limit of its route", () =>
      Effect.gen(function* () {
        const answer = yield* exchange(
          yield* port,
          Buffer.concat([
            Buffer.from(
              "POST /v1/uploads HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n",
            ),
            Buffer.alloc(2000, "a"),
            Buffer.from("\r\n0\r\n\r\n"),
          ]),
        )
        assert.strictEqual(answer.status, 413)
        assert.strictEqual(answer.json["type"], `${BASE}payload-too-large`)
      }),
    )

    it.effect("a connection survives a refused request when its body was read", () =>
      Effect.gen(function* () {
        const connection = yield* open(yield* port)
        const request = `POST /v1/echo HTTP/1.1\r\nHost: x\r\n${json}Content-Length: 3\r\n\r\n{x}`
        connection.send(request + request)
        const received = yield* Effect.promise(() =>
          connection.receive((text) => text.match(/malformed-json/g)?.length === 2),
        )
        assert.strictEqual(received.match(/HTTP\/1\.1 400/g)?.length, 2)
      }),
    )
  },
)

describe("bytes that are no HTTP, right behind an answer", () => {
  it.live("are answered after it, also when Node is not done with it yet", () =>
    Effect.gen(function* () {
      const server = createServer((request, response) => {
        response.end("whole")
        // It has left, but the socket is its own until it has been told so: then the parser finds what came behind the request.
        server.emit(
          "clientError",
          Object.assign(new Error("Parse Error"), { code: "HPE_INVALID_METHOD" }),
          request.socket,
        )
      })
      answerProtocolErrors(server, { base: BASE, apiVersion: "v1", strictTransport: "auto" })
      yield* Effect.acquireRelease(
        Effect.promise(() => new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))),
        () => Effect.sync(() => server.close()),
      )
      const { connection } = yield* exchange(
        (server.address() as AddressInfo).port,
        "GET / HTTP/1.1\r\nHost: x\r\n\r\n",
      )
      yield* Effect.promise(() => connection.closed)
      const end = connection.received.indexOf("whole") + "whole".length
      assert.strictEqual(parse(connection.received).status, 200)
      assert.strictEqual(parse(connection.received.slice(end)).json["type"], `${BASE}invalid-request`)
    }).pipe(Effect.scoped),
  )
})
