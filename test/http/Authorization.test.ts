import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Exit } from "effect"
import { start } from "./GuardedRoute.ts"
import { call, layer as TestServer, slugOf } from "./TestApi.ts"

layer(TestServer(), { excludeTestServices: true })(
  "a guarded route answers only to those who may call it",
  (it) => {
    it.effect("without credentials it is unauthorized, and says how to authenticate", () =>
      Effect.gen(function* () {
        for (const headers of [
          {},
          { authorization: "Basic YTpi" },
          { authorization: "Bearer " },
          { "x-api-key": "" },
        ]) {
          const answer = yield* call("/v1/items", { headers: headers as Record<string, string> })
          assert.strictEqual(answer.status, 401)
          assert.strictEqual(slugOf(answer), "unauthorized")
          assert.strictEqual(answer.headers.get("www-authenticate"), 'Bearer realm="renderowl"')
        }
      }),
    )

    it.effect("credentials that are refused are named for what they are", () =>
      Effect.gen(function* () {
        const wrong = yield* call("/v1/items", { key: "wrong" })
        assert.strictEqual(wrong.status, 401)
        assert.strictEqual(slugOf(wrong), "invalid-api-key")
        assert.strictEqual(
          wrong.headers.get("www-authenticate"),
          'Bearer realm="renderowl", error="invalid_token"',
        )
        assert.notInclude(wrong.text, "wrong")
        assert.strictEqual(
          slugOf(yield* call("/v1/items", { headers: { "x-api-key": "wrong" } })),
          "invalid-api-key",
        )
        assert.strictEqual(slugOf(yield* call("/v1/items", { key: "expired" })), "expired-token")
        assert.strictEqual(slugOf(yield* call("/v1/items", { key: "another" })), "invalid-token")
        assert.strictEqual((yield* call("/v1/items", { key: "unavailable" })).status, 503)
      }),
    )

    it.effect("a key is taken from Authorization or X-API-Key, and the caller is known to the handler", () =>
      Effect.gen(function* () {
        const bearer = yield* call("/v1/jobs/job_0001", { headers: { authorization: "bearer reader" } })
        assert.deepStrictEqual(bearer.json, { id: "job_0001", caller: "key_reader" })
        const header = yield* call("/v1/jobs/job_0001", { headers: { "x-api-key": "both" } })
        assert.deepStrictEqual(header.json, { id: "job_0001", caller: "key_both" })
      }),
    )

    it.effect("a missing scope is insufficient-scope, with what was required and what is held", () =>
      Effect.gen(function* () {
        const answer = yield* call("/v1/items", { key: "writer" })
        assert.strictEqual(answer.status, 403)
        assert.strictEqual(slugOf(answer), "insufficient-scope")
        assert.deepStrictEqual(answer.json["required_scopes"], ["jobs:read"])
        assert.deepStrictEqual(answer.json["your_scopes"], ["jobs:write"])
        assert.strictEqual((yield* call("/v1/items", { key: "admin" })).status, 200)
      }),
    )

    it.effect("nothing of a request is looked at before its caller is known", () =>
      Effect.gen(function* () {
        assert.strictEqual(slugOf(yield* call("/v1/jobs/not-an-id")), "unauthorized")
        assert.strictEqual(
          slugOf(yield* call("/v1/items?nonsense=1", { key: "writer" })),
          "insufficient-scope",
        )
      }),
    )
  },
)

describe("a guarded route that forgot its scopes", () => {
  it.effect("does not start", () =>
    Effect.gen(function* () {
      const exit = yield* start({})
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "probing.get is behind Authorization")
    }),
  )
})
