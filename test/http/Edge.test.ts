import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { exchange } from "./RawHttp.ts"
import { call, layer as TestServer, port } from "./TestApi.ts"

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const SPAN = "00f067aa0ba902b7"

/** What no answer is without. */
const COMMON = {
  "api-version": "v1",
  "cross-origin-embedder-policy": "require-corp",
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-download-options": "noopen",
  "x-frame-options": "DENY",
  "x-permitted-cross-domain-policies": "none",
  "x-xss-protection": "0",
}

layer(TestServer(), { excludeTestServices: true })("every answer says who the request was", (it) => {
  it.effect("a sane request id is kept, anything else is replaced", () =>
    Effect.gen(function* () {
      const kept = yield* call("/v1/identity", { headers: { "x-request-id": "order-17:retry.2" } })
      assert.strictEqual(kept.headers.get("x-request-id"), "order-17:retry.2")
      assert.strictEqual(kept.json["request_id"], "order-17:retry.2")
      for (const bad of ["a b", "x".repeat(129), "<script>", ""]) {
        const replaced = yield* call("/v1/identity", { headers: { "x-request-id": bad } })
        assert.match(replaced.headers.get("x-request-id") ?? "", /^req_[0-9a-f]{32}$/)
      }
    }),
  )

  it.effect("two requests never share an id", () =>
    Effect.gen(function* () {
      const answers = yield* Effect.forEach(Array.from({ length: 300 }), () => call("/v1/identity"), {
        concurrency: 16,
      })
      assert.strictEqual(new Set(answers.map(({ json }) => json["request_id"])).size, 300)
      assert.strictEqual(new Set(answers.map(({ json }) => json["trace_id"])).size, 300)
    }),
  )

  it.effect("traceparent is continued", () =>
    Effect.gen(function* () {
      const { headers, json } = yield* call("/v1/identity", {
        headers: { traceparent: `00-${TRACE}-${SPAN}-00`, "x-trace-id": "0".repeat(31) + "1" },
      })
      assert.strictEqual(json["trace_id"], TRACE)
      assert.strictEqual(headers.get("x-trace-id"), TRACE)
      assert.strictEqual(headers.get("x-parent-span-id"), SPAN)
      assert.match(headers.get("x-span-id") ?? "", /^[0-9a-f]{16}$/)
      assert.strictEqual(headers.get("x-trace-sampled"), "0")
    }),
  )

  it.effect("X-Trace-ID does when there is no traceparent, and nonsense in either is ignored", () =>
    Effect.gen(function* () {
      const given = yield* call("/v1/identity", { headers: { "x-trace-id": TRACE, "x-span-id": SPAN } })
      assert.strictEqual(given.headers.get("x-trace-id"), TRACE)
      assert.strictEqual(given.headers.get("x-parent-span-id"), SPAN)
      for (const headers of [
        { traceparent: "00-zz-1-01" },
        { "x-trace-id": "0".repeat(32) },
        { "x-trace-id": "../etc" },
      ]) {
        const made = yield* call("/v1/identity", { headers: headers as Record<string, string> })
        assert.match(made.headers.get("x-trace-id") ?? "", /^(?!0{32})[0-9a-f]{32}$/)
        assert.isNull(made.headers.get("x-parent-span-id"))
      }
    }),
  )

  it.effect("a caller without a span of its own passes on its parent's", () =>
    Effect.gen(function* () {
      const { headers } = yield* call("/v1/identity", {
        headers: { "x-trace-id": TRACE, "x-parent-span-id": SPAN, "x-trace-sampled": "0" },
      })
      assert.strictEqual(headers.get("x-parent-span-id"), SPAN)
      assert.strictEqual(headers.get("x-trace-sampled"), "0")
    }),
  )

  it.effect("success, error, page and what is no HTTP carry the version and the security headers", () =>
    Effect.gen(function* () {
      const malformed = yield* exchange(yield* port, "nonsense\r\n\r\n")
      const answers: Array<readonly [string, ReadonlyMap<string, string>]> = [["nonsense", malformed.headers]]
      for (const path of ["/v1/identity", "/v1/nothing", "/v1/defect", "/docs", "/errors", "/openapi.json"]) {
        const { headers } = yield* call(path)
        answers.push([path, new Map(headers)])
      }
      for (const [path, headers] of answers) {
        for (const [name, value] of Object.entries(COMMON)) {
          assert.strictEqual(headers.get(name), value, `${name} of ${path}`)
        }
        for (const name of ["x-request-id", "x-trace-id", "x-span-id", "x-trace-sampled"]) {
          assert.isTrue(headers.has(name), `${name} of ${path}`)
        }
        // What does not fall back on default-src is said by every policy.
        for (const directive of ["default-src", "base-uri", "form-action", "frame-ancestors"]) {
          assert.include(headers.get("content-security-policy"), `${directive} 'none'`, path)
        }
        assert.isFalse(headers.has("x-powered-by") || headers.has("server"))
      }
    }),
  )

  it.effect("HTTPS is promised only where the request came over it", () =>
    Effect.gen(function* () {
      const promised = "max-age=31536000; includeSubDomains"
      for (const [proto, expected] of [
        [undefined, null],
        ["http", null],
        ["https", promised],
        ["HTTPS, http", promised],
        ["http, https", null],
      ] as const) {
        const headers: Record<string, string> = proto === undefined ? {} : { "x-forwarded-proto": proto }
        const answer = yield* call("/v1/identity", { headers })
        assert.strictEqual(answer.headers.get("strict-transport-security"), expected, proto)
      }
    }),
  )
})

for (const [strictTransport, isPromised] of [
  ["always", true],
  ["never", false],
] as const) {
  layer(TestServer({ strictTransport }), { excludeTestServices: true })(
    `with HTTPS promised ${strictTransport}`,
    (it) => {
      it.effect("every answer does as it is told", () =>
        Effect.gen(function* () {
          const answer = yield* call("/v1/identity", { headers: { "x-forwarded-proto": "https" } })
          assert.strictEqual(answer.headers.has("strict-transport-security"), isPromised)
          const malformed = yield* exchange(yield* port, "nonsense\r\n\r\n")
          assert.strictEqual(malformed.headers.has("strict-transport-security"), isPromised)
        }),
      )
    },
  )
}
