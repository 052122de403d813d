import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { Cors, type CorsOptions, REQUEST_HEADERS, RESPONSE_HEADERS } from "../../src/http/Cors.ts"
import { serve } from "./PlainServer.ts"
import { open, parse } from "./RawHttp.ts"
import { port } from "./TestApi.ts"

const APP = "https://app.example.com"
const OTHER = "https://evil.example.com"

const routes = Layer.mergeAll(
  HttpRouter.add("GET", "/v1/jobs", HttpServerResponse.text("jobs", { headers: { vary: "Accept" } })),
  HttpRouter.add("POST", "/v1/jobs", HttpServerResponse.text("made")),
  HttpRouter.add("DELETE", "/v1/jobs/:id", HttpServerResponse.empty()),
  HttpRouter.add("GET", "/v1/broken", Effect.die(new Error("broken"))),
)

const exchange = Effect.fnUntraced(function* (line: string, headers: Record<string, string> = {}) {
  const connection = yield* open(yield* port)
  const fields = Object.entries({ host: "x", connection: "close", ...headers })
  connection.send(
    `${line} HTTP/1.1\r\n${fields.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
  )
  yield* Effect.promise(() => connection.closed)
  return parse(connection.received)
})

const preflight = (path: string, origin: string, method = "POST") =>
  exchange(`OPTIONS ${path}`, {
    origin,
    "access-control-request-method": method,
    "access-control-request-headers": "authorization,content-type",
  })

/** The CORS headers of an answer, without the constant lists. */
const corsOf = ({ headers }: { readonly headers: ReadonlyMap<string, string> }) =>
  Object.fromEntries(
    [...headers].filter(
      ([name]) => name.startsWith("access-control-") && !/(?:expose|allow)-headers$|max-age$/.test(name),
    ),
  )

layer(serve(routes, { cors: { origins: [APP, "http://localhost:5173"] } }), { excludeTestServices: true })(
  "with a list of origins",
  (it) => {
    for (const [path, origin, status, methods] of [
      ["/v1/jobs", APP, 204, "GET, HEAD, POST, OPTIONS"],
      ["/v1/jobs/7", APP, 204, "DELETE, OPTIONS"],
      ["/jobs/7", APP, 204, "DELETE, OPTIONS"],
      ["/v1/jobs", "http://localhost:5173", 204, "GET, HEAD, POST, OPTIONS"],
      ["/v1/jobs", OTHER, 204, undefined],
      ["/v1/jobs", "null", 204, undefined],
      ["/v1/jobs", `${APP}.evil.example`, 204, undefined],
      ["/v1/jobs", APP.toUpperCase(), 204, undefined],
      ["/v1/jobs", "http://app.example.com", 204, undefined],
      ["/v1/nothing", APP, 404, undefined],
    ] as const) {
      it.effect(`a preflight of ${origin} for ${path} is told ${methods ?? "nothing"}`, () =>
        Effect.gen(function* () {
          const answer = yield* preflight(path, origin)
          assert.strictEqual(answer.status, status)
          assert.strictEqual(answer.headers.get("access-control-allow-methods"), methods)
          assert.include(answer.headers.get("vary"), "Origin")
          if (methods === undefined) {
            assert.isFalse(answer.headers.has("access-control-allow-headers"))
            return
          }
          assert.strictEqual(answer.headers.get("access-control-allow-origin"), origin)
          assert.strictEqual(answer.headers.get("access-control-allow-headers"), REQUEST_HEADERS.join(", "))
          assert.strictEqual(answer.headers.get("access-control-max-age"), "7200")
          assert.strictEqual(answer.body, "")
        }),
      )
    }

    it.effect("an answer is for the page that asked, and every answer varies by Origin", () =>
      Effect.gen(function* () {
        for (const [origin, expected] of [
          [APP, { "access-control-allow-origin": APP }],
          [OTHER, {}],
          ["null", {}],
          [undefined, {}],
        ] as const) {
          const answer = yield* exchange("GET /v1/jobs", origin === undefined ? {} : { origin })
          assert.strictEqual(answer.status, 200)
          assert.deepStrictEqual(corsOf(answer), expected)
          assert.strictEqual(answer.headers.get("vary"), "Accept, Origin")
        }
      }),
    )

    it.effect("errors can be read as well, and say what a page may look at", () =>
      Effect.gen(function* () {
        for (const [path, status] of [
          ["/v1/broken", 500],
          ["/v1/nothing", 404],
          ["/v9/jobs", 400],
        ] as const) {
          const answer = yield* exchange(`GET ${path}`, { origin: APP })
          assert.strictEqual(answer.status, status)
          assert.strictEqual(answer.headers.get("access-control-allow-origin"), APP)
          assert.strictEqual(answer.headers.get("access-control-expose-headers"), RESPONSE_HEADERS.join(", "))
        }
      }),
    )

    it.effect("OPTIONS that is no preflight asks for the methods", () =>
      Effect.gen(function* () {
        const answer = yield* exchange("OPTIONS /v1/jobs", { origin: APP })
        assert.strictEqual(answer.status, 204)
        assert.strictEqual(answer.headers.get("allow"), "GET, HEAD, POST, OPTIONS")
        assert.isFalse(answer.headers.has("access-control-allow-methods"))
      }),
    )
  },
)

for (const [name, cors, table] of [
  [
    "with *",
    { origins: "*" },
    [
      [APP, "*"],
      [OTHER, "*"],
      ["null", undefined],
    ],
  ],
  [
    "with a function",
    { origins: (origin: string) => origin !== OTHER },
    [
      [APP, APP],
      [OTHER, undefined],
      ["null", undefined],
    ],
  ],
  [
    "with an empty list",
    { origins: [] },
    [
      [APP, undefined],
      ["null", undefined],
    ],
  ],
] as ReadonlyArray<readonly [string, CorsOptions, ReadonlyArray<readonly [string, string | undefined]>]>) {
  layer(serve(routes, { cors }), { excludeTestServices: true })(name, (it) => {
    for (const [origin, allowed] of table) {
      it.effect(`pages of ${origin} get ${allowed ?? "nothing"}, asking first or not`, () =>
        Effect.gen(function* () {
          for (const answer of [
            yield* exchange("GET /v1/jobs", { origin }),
            yield* preflight("/v1/jobs", origin),
          ]) {
            assert.strictEqual(answer.headers.get("access-control-allow-origin"), allowed)
            assert.isFalse(answer.headers.has("access-control-allow-credentials"))
            assert.include(answer.headers.get("vary"), "Origin")
          }
        }),
      )
    }
  })
}

layer(serve(routes, { cors: { origins: [APP], credentials: true } }), { excludeTestServices: true })(
  "with credentials",
  (it) => {
    it.effect("only the named origins may send them", () =>
      Effect.gen(function* () {
        for (const [origin, expected] of [
          [APP, { "access-control-allow-origin": APP, "access-control-allow-credentials": "true" }],
          [OTHER, {}],
        ] as const) {
          assert.deepStrictEqual(corsOf(yield* exchange("GET /v1/jobs", { origin })), expected)
        }
      }),
    )
  },
)

layer(serve(routes), { excludeTestServices: true })("without any policy", (it) => {
  it.effect("no page of another origin may read anything, and caches need not care", () =>
    Effect.gen(function* () {
      for (const answer of [
        yield* exchange("GET /v1/jobs", { origin: APP }),
        yield* preflight("/v1/jobs", APP),
      ]) {
        assert.deepStrictEqual(corsOf(answer), {})
        assert.notInclude(answer.headers.get("vary") ?? "", "Origin")
      }
    }),
  )
})

describe("a policy that browsers would refuse, or that lets in too many", () => {
  for (const [why, options] of [
    ["credentials for everybody", { origins: "*", credentials: true }],
    ["null", { origins: ["null"] }],
    ["* in a list", { origins: ["*"] }],
    ["a path", { origins: ["https://app.example.com/"] }],
    ["no scheme", { origins: ["app.example.com"] }],
    ["the usual port", { origins: ["https://app.example.com:443"] }],
  ] as ReadonlyArray<readonly [string, CorsOptions]>) {
    it(`does not start: ${why}`, () => {
      assert.throws(() => new Cors(options), /^CORS: /)
    })
  }
})
