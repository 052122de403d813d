import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { join } from "node:path"
import { requireScopes } from "../../../src/http/Authorization.ts"
import { LimitsStore } from "../../../src/http/rate-limits/LimitsStore.ts"
import { PROBES } from "../../../src/http/rate-limits/Policy.ts"
import { limitedAs, limitedRoutes } from "../../../src/http/rate-limits/RateLimited.ts"
import * as RateLimits from "../../../src/http/rate-limits/RateLimits.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { type Answer, call, layer as cachedApi, Library } from "../CachedApi.ts"
import { start } from "../GuardedRoute.ts"
import { serve } from "../PlainServer.ts"

const limits = Layer.unwrap(
  Effect.map(temporaryFolder, (folder) =>
    RateLimits.layer({ anonymousTier: "free" }).pipe(
      Layer.provide(LimitsStore.layer({ filename: join(folder, "limits.db") })),
    ),
  ),
)

/** The `r` of the last answer. */
const left = (answer: Answer) => Number(/r=(\d+)/.exec(answer.headers.get("ratelimit") ?? "")?.[1])

const assertRefused = (answer: Answer, policy: string, limit: number) => {
  assert.strictEqual(answer.status, 429)
  assert.strictEqual(answer.headers.get("content-type"), "application/problem+json")
  assert.strictEqual(answer.headers.get("cache-control"), "no-store")
  const problem = JSON.parse(answer.text) as Record<string, unknown>
  const retryAfter = answer.headers.get("retry-after")
  assert.deepInclude(problem, {
    type: "https://api.renderowl.com/errors/rate-limit-exceeded",
    status: 429,
    retry_after: Number(retryAfter),
    limit,
    remaining: 0,
  })
  assert.match(String(problem["reset_at"]), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
  assert.strictEqual(answer.headers.get("ratelimit-policy"), `"${policy}";q=${limit};w=60`)
  assert.strictEqual(answer.headers.get("ratelimit"), `"${policy}";r=0;t=${retryAfter}`)
}

// Time stands still in these tests: nothing refills.
for (const way of ["short", "whole"] as const) {
  describe(`an API under the contract, answers from the cache the ${way} way`, () => {
    const test = (
      name: string,
      body: Effect.Effect<void, never, Layer.Success<ReturnType<typeof cachedApi>>>,
    ) => it.effect(name, () => body.pipe(Effect.provide(cachedApi(way).pipe(Layer.provide(limits)))))

    test(
      "counts every answer, kept or not, and refuses what is too much with what to do about it",
      Effect.gen(function* () {
        const library = yield* Library
        const first = yield* call("/documents/a")
        assert.strictEqual(first.headers.get("ratelimit-policy"), '"free-key";q=100;w=60')
        // One of 110 is used, and a minute's worth is promised.
        assert.strictEqual(first.headers.get("ratelimit"), '"free-key";r=100;t=1')
        let hits = 0
        for (let n = 1; n < 110; n++) {
          const answer = yield* call("/documents/a")
          assert.strictEqual(answer.status, 200)
          if (answer.headers.get("cache-status") !== null) hits++
          assert.strictEqual(left(answer), Math.min(100, 109 - n))
        }
        assert.strictEqual(hits, 109)
        const reads = library.reads
        assertRefused(yield* call("/documents/a"), "free-key", 100)
        assertRefused(yield* call("/plain/a"), "free-key", 100)
        assertRefused(
          yield* call("/documents/a", {
            method: "PATCH",
            body: { text: "no" },
            headers: { "if-match": "*" },
          }),
          "free-key",
          100,
        )
        assert.strictEqual(library.reads, reads)
        assert.strictEqual(library.documents.get("a")?.text, "first")
        assert.strictEqual((yield* call("/documents/a", { key: "two" })).status, 200)
      }),
    )

    test(
      "counts each request once, however it ends, and says so on every answer",
      Effect.gen(function* () {
        const etag = (yield* call("/documents/a")).headers.get("etag")!
        let used = 1
        for (const [path, status, options] of [
          ["/documents/a", 304, { headers: { "if-none-match": etag } }],
          ["/documents/nobody", 404, {}],
          ["/documents/NOT-AN-ID", 400, {}],
          ["/documents/a", 200, { method: "HEAD" }],
          ["/documents/a", 428, { method: "PATCH", body: { text: "no" } }],
          ["/plain/a", 200, {}],
          ["/v2/versioned", 200, {}],
        ] as const) {
          const answer = yield* call(path, options)
          assert.strictEqual(answer.status, status, path)
          used++
          assert.strictEqual(left(answer), Math.min(100, 110 - used), path)
        }
        for (; used < 20; used++) yield* call("/documents/a")
        assert.strictEqual(left(yield* call("/documents/a")), 110 - 21)
        // A right that is missing does not make the request free.
        const refused = yield* call("/plain/a", { key: "none" })
        assert.strictEqual(refused.status, 403)
        assert.strictEqual(refused.headers.get("ratelimit-policy"), '"free-key";q=100;w=60')
      }),
    )

    test(
      "counts callers without credentials by their address, on guarded routes and open ones alike",
      Effect.gen(function* () {
        const anonymous = { key: undefined }
        for (let n = 9; n >= 0; n--) {
          const path = n % 2 === 0 ? "/about" : "/documents/a"
          const answer = yield* call(path, anonymous)
          assert.strictEqual(answer.status, n % 2 === 0 ? 200 : 401)
          assert.strictEqual(answer.headers.get("ratelimit-policy"), '"anonymous";q=10;w=60')
          assert.strictEqual(left(answer), n)
        }
        assertRefused(yield* call("/about", anonymous), "anonymous", 10)
        assertRefused(yield* call("/documents/a", anonymous), "anonymous", 10)
        assert.strictEqual((yield* call("/documents/a")).status, 200)
      }),
    )

    test(
      "does not let keys be guessed, and lets those in who were there before",
      Effect.gen(function* () {
        assert.strictEqual((yield* call("/documents/a")).status, 200)
        for (let n = 0; n < 10; n++) {
          const answer = yield* call("/documents/a", { key: `guess-${n}` })
          assert.strictEqual(answer.status, 401)
        }
        const late = yield* call("/documents/a", { key: "guess-10" })
        assertRefused(late, "failed-authentication", 10)
        // By the other header as well.
        const other = { key: undefined, headers: { "x-api-key": "guess-11" } }
        assertRefused(yield* call("/documents/a", other), "failed-authentication", 10)
        assert.strictEqual((yield* call("/documents/a")).status, 200)
      }),
    )
  })
}

describe("a guarded endpoint that declares the share of an open one", () => {
  it.effect("does not start", () =>
    Effect.gen(function* () {
      const exit = yield* start({ route: requireScopes(), group: limitedAs(PROBES) })
      assert.isTrue(Exit.isFailure(exit))
      assert.include(String(exit), "probing.get is limitedAs(probes)")
    }),
  )
})

describe("routes that are no endpoints", () => {
  const routes = HttpRouter.add("GET", "/page", HttpServerResponse.text("page"))

  it.effect("have the share that they are given", () =>
    Effect.gen(function* () {
      const answer = yield* call("/page", { key: undefined })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.headers.get("ratelimit-policy"), PROBES.header)
      const { violations } = yield* RateLimits.RateLimits
      assert.isEmpty(violations())
    }).pipe(
      Effect.provide(
        serve(routes.pipe(Layer.provide(limitedRoutes(PROBES)))).pipe(Layer.provideMerge(limits)),
      ),
    ),
  )

  it.effect("and without limits, nothing says that there are any", () =>
    Effect.gen(function* () {
      const answer = yield* call("/page", { key: undefined })
      assert.strictEqual(answer.status, 200)
      assert.isNull(answer.headers.get("ratelimit"))
    }).pipe(Effect.provide(serve(routes.pipe(Layer.provide(limitedRoutes(PROBES)))))),
  )
})
