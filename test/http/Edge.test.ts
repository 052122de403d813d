import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import { call, layer as TestServer } from "./TestApi.ts"

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
const SPAN = "00f067aa0ba902b7"

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

  it.effect("success and error alike carry the version and the security headers", () =>
    Effect.gen(function* () {
      for (const path of ["/v1/identity", "/v1/nothing", "/v1/defect"]) {
        const { headers } = yield* call(path)
        assert.strictEqual(headers.get("api-version"), "v1")
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff")
        assert.strictEqual(headers.get("x-frame-options"), "DENY")
        assert.strictEqual(headers.get("referrer-policy"), "no-referrer")
        assert.strictEqual(
          headers.get("content-security-policy"),
          "default-src 'none'; frame-ancestors 'none'",
        )
        assert.strictEqual(headers.get("strict-transport-security"), "max-age=31536000; includeSubDomains")
        assert.strictEqual(headers.get("cross-origin-resource-policy"), "same-origin")
        assert.strictEqual(headers.get("cross-origin-opener-policy"), "same-origin")
      }
    }),
  )
})
