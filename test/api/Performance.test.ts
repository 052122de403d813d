import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { QueryAnalysisJson, RouteTimesJson, SystemJson } from "../../src/api/internal/performance/Api.ts"
import { SharedServer } from "../support/SharedServer.ts"

interface Routes {
  readonly window_sec: number
  readonly data: ReadonlyArray<typeof RouteTimesJson.Encoded>
}

layer(SharedServer.layer(), { excludeTestServices: true })("the performance of a server", (it) => {
  it.effect("is told for each route by its template, with percentiles that are in order", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const job = yield* client.post("/v1/jobs", { type: "system:echo", payload: 1 })
      const { id } = job.json<{ readonly id: string }>()
      for (let n = 0; n < 20; n++) yield* client.get(`/v1/jobs/${id}`)
      yield* client.get("/nowhere")
      const answer = yield* client.get("/internal/performance/routes?window=15m")
      const { data, window_sec } = answer.json<Routes>()
      assert.isBelow(window_sec, 900)
      const get = data.find(({ method, route }) => method === "GET" && route === "/v1/jobs/:id")!
      assert.deepInclude(get, { requests: 20, error_rate: 0 })
      assert.isAbove(get.p50_ms, 0)
      assert.isAtMost(get.p50_ms, get.p95_ms)
      assert.isAtMost(get.p95_ms, get.p99_ms)
      assert.isAtMost(get.p99_ms, get.max_ms)
      assert.isDefined(data.find(({ route }) => route === "unmatched"))
      assert.notInclude(answer.text, id)
    }),
  )

  it.effect(
    "names neither slow nor failing routes where there are none, nor those that waited on demand",
    () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        const slow = { type: "system:sleep", payload: { ms: 1_200 } }
        const waited = yield* client.post("/v1/jobs", slow, { prefer: "wait=5" })
        assert.strictEqual(waited.status, 200)
        for (const path of ["slow-routes", "error-routes"]) {
          const answer = yield* client.get(`/internal/performance/${path}`)
          assert.deepStrictEqual(answer.json<Routes>().data, [])
        }
      }),
  )

  it.effect("is told for the process as a whole", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const system = (yield* client.get("/internal/performance/system?window=1m")).json<
        typeof SystemJson.Encoded
      >()
      assert.isAtMost(system.window_sec, 90)
      assert.isAbove(system.requests, 0)
      assert.isAbove(system.memory.resident_bytes, system.memory.heap_used_bytes)
      assert.deepStrictEqual(
        system.projections.map(({ failures, name }) => [name, failures]),
        [["analytics", 0]],
      )
    }),
  )

  it.effect("says what the database does and by which plan, and no parameter", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      yield* client.post("/v1/jobs", { type: "system:echo", payload: 1, tags: ["a-secret-tag"] })
      yield* client.get("/v1/jobs?tag=a-secret-tag")
      yield* client.get("/v1/analytics/summary")
      const answer = yield* client.get("/internal/query-analysis")
      const { operations, statements } = answer.json<typeof QueryAnalysisJson.Encoded>()
      const commits = operations.find(({ operation }) => operation === "COMMIT")!
      assert.isAbove(commits.count, 0)
      assert.strictEqual(commits.failures, 0)
      assert.isNotEmpty(statements)
      assert.isAbove(
        statements.reduce((sum, { rows }) => sum + rows, 0),
        0,
      )
      for (const { findings, plan, sql } of statements) {
        assert.isNotEmpty(plan, sql)
        assert.notInclude(findings, "full_scan", sql)
      }
      assert.notInclude(answer.text, "a-secret-tag")
    }),
  )

  it.effect("refuses a window that is not kept", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      assert.strictEqual(
        (yield* client.get("/internal/performance/routes?window=1h")).problem,
        "validation-failed",
      )
    }),
  )
})
