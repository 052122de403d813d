import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { brotliDecompressSync, gunzipSync } from "node:zlib"
import { preferredCoding } from "../../src/http/Compression.ts"
import { serve } from "./PlainServer.ts"
import { open, parse } from "./RawHttp.ts"
import { port } from "./TestApi.ts"

describe("the preferred coding", () => {
  for (const [accept, expected] of [
    [undefined, undefined],
    ["", undefined],
    ["gzip", "gzip"],
    ["x-gzip", "gzip"],
    ["br", "br"],
    ["gzip, br", "br"],
    ["gzip, deflate, br, zstd", "br"],
    ["GZIP;Q=1.0 , br ; q=0.5", "gzip"],
    ["br;q=0.5, gzip;q=0.8", "gzip"],
    ["br;q=0", undefined],
    ["br;q=0, gzip;q=0.001", "gzip"],
    ["*", "br"],
    ["*;q=0", undefined],
    ["br;q=0, *", "gzip"],
    ["identity", undefined],
    ["identity;q=1, gzip;q=0.5", undefined],
    ["identity;q=0.5, gzip;q=0.5", "gzip"],
    ["identity;q=0", undefined],
    ["deflate", undefined],
    ["gzip;q=2", undefined],
    ["gzip;q=0.1234", undefined],
    ["gzip;level=9", undefined],
    [`${"a,".repeat(100)}br`, undefined],
  ] as const) {
    it(`of ${JSON.stringify(accept)} is ${expected ?? "none"}`, () => {
      assert.strictEqual(preferredCoding(accept), expected)
    })
  }
})

const TEXT = JSON.stringify({ words: Array.from({ length: 400 }, (_, i) => `word ${i}`) })
const TAG = '"7"'

/** What the routes were sent, since they must not know of codings. */
const seen: Array<Record<string, string | undefined>> = []

const answer = (text: string, headers: Record<string, string> = {}) =>
  Effect.map(HttpServerRequest.HttpServerRequest, (request) => {
    seen.push({ ...request.headers })
    return request.headers["if-none-match"] === TAG
      ? HttpServerResponse.empty({ status: 304, headers: { etag: TAG } })
      : HttpServerResponse.text(text, { contentType: "application/json", headers: { etag: TAG, ...headers } })
  })

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/big", answer(TEXT)),
  HttpRouter.add("PUT", "/big", answer(TEXT)),
  HttpRouter.add("GET", "/weak", answer(TEXT, { etag: 'W/"7"' })),
  HttpRouter.add("GET", "/vary", answer(TEXT, { vary: "Accept, Origin" })),
  HttpRouter.add("GET", "/limit", answer("x".repeat(1_024))),
  HttpRouter.add("GET", "/small", answer("x".repeat(1_023))),
  HttpRouter.add("GET", "/encoded", answer(TEXT, { "content-encoding": "zstd" })),
  HttpRouter.add("GET", "/kept", answer(TEXT, { "cache-control": "no-transform" })),
  HttpRouter.add("GET", "/part", HttpServerResponse.text(TEXT, { status: 206 })),
  HttpRouter.add(
    "GET",
    "/image",
    HttpServerResponse.uint8Array(new Uint8Array(5_000), { contentType: "image/png" }),
  ),
  HttpRouter.add(
    "GET",
    "/problem",
    HttpServerResponse.text(TEXT, { status: 409, contentType: "application/health+json" }),
  ),
  HttpRouter.add("GET", "/page", HttpServerResponse.html(`<p>${TEXT}`)),
  HttpRouter.add(
    "GET",
    "/events",
    HttpServerResponse.stream(Stream.make(TEXT, TEXT).pipe(Stream.encodeText), {
      contentType: "text/event-stream",
    }),
  ),
  HttpRouter.add(
    "GET",
    "/event-text",
    HttpServerResponse.text(`data: ${TEXT}`, { contentType: "text/event-stream" }),
  ),
)

/** One exchange on a connection that the server closes after it, so that every byte is there. */
const exchange = Effect.fnUntraced(function* (line: string, headers: Record<string, string> = {}) {
  const connection = yield* open(yield* port)
  const fields = Object.entries({ host: "x", connection: "close", ...headers })
  connection.send(
    `${line} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
  )
  yield* Effect.promise(() => connection.closed)
  const { headers: answered, status } = parse(connection.received.replace(/json/g, "text"))
  const body = connection.received.slice(connection.received.indexOf("\r\n\r\n") + 4)
  return { status, headers: answered, bytes: Buffer.from(body, "latin1") }
})

const decoded = (coding: string | undefined, bytes: Buffer): string =>
  (coding === "br" ? brotliDecompressSync(bytes) : coding === "gzip" ? gunzipSync(bytes) : bytes).toString()

layer(serve(routes), { excludeTestServices: true })("answers are compressed", (it) => {
  for (const [path, accept, coding, etag, vary] of [
    ["/big", undefined, undefined, TAG, "Accept-Encoding"],
    ["/big", "identity", undefined, TAG, "Accept-Encoding"],
    ["/big", "br", "br", '"7~br"', "Accept-Encoding"],
    ["/big", "gzip;q=1, br;q=0.1", "gzip", '"7~gzip"', "Accept-Encoding"],
    ["/weak", "gzip", "gzip", 'W/"7"', "Accept-Encoding"],
    ["/vary", "gzip", "gzip", '"7~gzip"', "Accept, Origin, Accept-Encoding"],
    ["/limit", "gzip", "gzip", '"7~gzip"', "Accept-Encoding"],
    ["/problem", "gzip", "gzip", undefined, "Accept-Encoding"],
    ["/page", "gzip", "gzip", undefined, "Accept-Encoding"],
    ["/small", "gzip", undefined, TAG, undefined],
    ["/encoded", "gzip", "zstd", TAG, undefined],
    ["/kept", "gzip", undefined, TAG, undefined],
    ["/part", "gzip", undefined, undefined, undefined],
    ["/image", "gzip", undefined, undefined, undefined],
    ["/events", "gzip", undefined, undefined, undefined],
    ["/event-text", "gzip", undefined, undefined, undefined],
  ] as const) {
    it.effect(`or not: ${path} with ${accept ?? "no Accept-Encoding"} is sent as ${coding ?? "it is"}`, () =>
      Effect.gen(function* () {
        const headers: Record<string, string> = accept === undefined ? {} : { "accept-encoding": accept }
        // The third is answered with what was kept of the second.
        for (let i = 0; i < 3; i++) {
          const result = yield* exchange(`GET ${path}`, headers)
          assert.strictEqual(result.headers.get("content-encoding"), coding)
          assert.strictEqual(result.headers.get("etag"), etag)
          assert.strictEqual(result.headers.get("vary"), vary)
          if (path === "/events") continue
          assert.strictEqual(Number(result.headers.get("content-length")), result.bytes.length)
          if (coding === "br" || coding === "gzip") {
            assert.isAtLeast(decoded(coding, result.bytes).length, 1_024)
            if (path === "/big") assert.strictEqual(decoded(coding, result.bytes), TEXT)
          }
        }
      }),
    )
  }

  it.effect("HEAD says of itself what GET does, but for the length", () =>
    Effect.gen(function* () {
      const get = yield* exchange("GET /big", { "accept-encoding": "br" })
      const head = yield* exchange("HEAD /big", { "accept-encoding": "br" })
      assert.strictEqual(head.bytes.length, 0)
      assert.isFalse(head.headers.has("content-length"))
      for (const name of ["content-encoding", "etag", "vary", "content-type"]) {
        assert.strictEqual(head.headers.get(name), get.headers.get(name), name)
      }
      const plain = yield* exchange("HEAD /big")
      assert.strictEqual(plain.headers.get("content-length"), String(TEXT.length))
    }),
  )

  for (const [ifNoneMatch, accept, status, etag] of [
    ['"7~br"', "br, gzip", 304, '"7~br"'],
    ['W/"7~br"', "br", 200, '"7~br"'],
    ['"7"', "br", 304, '"7"'],
    ['"7~gzip"', "gzip", 304, '"7~gzip"'],
    // What would be sent now is another coding: its bytes are not those that the caller has.
    ['"7~gzip"', "br, gzip", 200, '"7~br"'],
    ['"7~br"', "identity", 200, '"7"'],
    ['"8~br"', "br", 200, '"7~br"'],
  ] as const) {
    it.effect(`If-None-Match: ${ifNoneMatch} with ${accept} is ${status} and names ${etag}`, () =>
      Effect.gen(function* () {
        const result = yield* exchange("GET /big", {
          "if-none-match": ifNoneMatch,
          "accept-encoding": accept,
        })
        assert.strictEqual(result.status, status)
        assert.strictEqual(result.headers.get("etag"), etag)
        assert.strictEqual(result.headers.get("vary"), "Accept-Encoding")
      }),
    )
  }

  it.effect("a change names the version it has seen in whatever coding it saw it", () =>
    Effect.gen(function* () {
      for (const [sent, known] of [
        ['"7~br"', '"7"'],
        ['"7~gzip", "8~br"', '"7", "8"'],
        ['"7"', '"7"'],
        ['"7~zstd"', '"7~zstd"'],
      ]) {
        yield* exchange("PUT /big", { "if-match": sent!, "content-length": "0", "accept-encoding": "gzip" })
        assert.strictEqual(seen.at(-1)?.["if-match"], known)
      }
    }),
  )
})
