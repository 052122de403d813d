import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { call, layer as TestServer, Logs, post, slugOf } from "./TestApi.ts"

layer(TestServer(), { excludeTestServices: true })("every error is a problem", (it) => {
  it.effect("a path that no route has is not-found", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/nothing?x=1")
      assert.strictEqual(answer.status, 404)
      assert.strictEqual(slugOf(answer), "not-found")
      assert.strictEqual(answer.json["instance"], "/v1/nothing")
      assert.strictEqual(answer.json["trace_id"], answer.headers.get("x-trace-id"))
    }),
  )

  it.effect("a wrong method is method-not-allowed and says which are allowed", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/echo", { method: "DELETE" })
      assert.strictEqual(answer.status, 405)
      assert.strictEqual(slugOf(answer), "method-not-allowed")
      assert.strictEqual(answer.headers.get("allow"), "POST, PUT, OPTIONS")
      assert.deepStrictEqual(answer.json["allowed_methods"], ["POST", "PUT", "OPTIONS"])
    }),
  )

  it.effect("paths with parameters and prefixed routers know their methods too", () =>
    Effect.gen(function* () {
      const job = yield* call("/v1/jobs/job_0001", {
        method: "PUT",
        body: "{}",
        headers: { "content-type": "application/json" },
      })
      assert.strictEqual(job.headers.get("allow"), "GET, HEAD, OPTIONS")
      const thing = yield* call("/prefixed/thing/7")
      assert.strictEqual(thing.headers.get("allow"), "DELETE, OPTIONS")
      const deleted = yield* call("/prefixed/thing/7", { method: "DELETE" })
      assert.strictEqual(deleted.status, 204)
    }),
  )

  it.effect("OPTIONS on a path lists its methods", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/echo", { method: "OPTIONS" })
      assert.strictEqual(answer.status, 204)
      assert.strictEqual(answer.headers.get("allow"), "POST, PUT, OPTIONS")
      assert.strictEqual(slugOf(yield* call("/v1/nothing", { method: "OPTIONS" })), "not-found")
    }),
  )

  it.effect("HEAD is answered like GET, without a body", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/identity", { method: "HEAD" })
      assert.strictEqual(answer.status, 200)
      assert.strictEqual(answer.text, "")
      assert.strictEqual((yield* call("/v1/nothing", { method: "HEAD" })).status, 404)
    }),
  )

  it.effect("all fields that are wrong are listed at once, each by its path", () =>
    Effect.gen(function* () {
      const answer = yield* post(
        "/v1/jobs",
        {
          name: "x",
          priority: "whenever",
          extra: 1,
          output_settings: { fps: 500 },
          words: [{ start: 1 }, { start: "x", end: 2 }, {}],
          due: "soon",
          source: { kind: "ftp" },
        },
        { key: "writer" },
      )
      assert.strictEqual(answer.status, 400)
      assert.strictEqual(slugOf(answer), "validation-failed")
      assert.sameDeepMembers(answer.json["errors"] as Array<unknown>, [
        { field: "extra", code: "unknown_field", message: "is not a known field" },
        { field: "name", code: "invalid_length", message: "must be a value with a length of at least 3" },
        { field: "priority", code: "invalid_value", message: 'must be "urgent" or "normal"' },
        { field: "output_settings.fps", code: "out_of_range", message: "must be a value between 1 and 120" },
        { field: "words.1.end", code: "unknown_field", message: "is not a known field" },
        { field: "words.1.start", code: "invalid_type", message: "must be a number" },
        { field: "words.2.start", code: "missing", message: "is required" },
        { field: "due", code: "invalid_format", message: "must be a valid UTC DateTime string" },
        { field: "source.kind", code: "invalid_value", message: 'must be "url" or "asset"' },
      ])
    }),
  )

  it.effect("the query is held to the contract like the body", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/items?limit=many&sort=up", { key: "reader" })
      assert.strictEqual(slugOf(answer), "validation-failed")
      assert.sameDeepMembers(answer.json["errors"] as Array<unknown>, [
        { field: "sort", code: "unknown_field", message: "is not a known field" },
        { field: "limit", code: "invalid_type", message: "must be a number" },
      ])
      const range = yield* call("/v1/items?limit=101", { key: "reader" })
      assert.deepStrictEqual(range.json["errors"], [
        { field: "limit", code: "out_of_range", message: "must be a value between 1 and 100" },
      ])
    }),
  )

  it.effect("an id that cannot be one is invalid-id; one that could be is looked up", () =>
    Effect.gen(function* () {
      const malformed = yield* call("/v1/jobs/%3Cscript%3E", { key: "reader" })
      assert.strictEqual(malformed.status, 400)
      assert.strictEqual(slugOf(malformed), "invalid-id")
      assert.notInclude(malformed.json["errors"], "script")
      const unknown = yield* call("/v1/jobs/job_none", { key: "reader" })
      assert.strictEqual(unknown.status, 404)
      assert.strictEqual(slugOf(unknown), "job-not-found")
      assert.strictEqual(unknown.json["detail"], "No job has the id job_none.")
    }),
  )

  it.effect("text that is not JSON is malformed-json, and an empty body is a missing one", () =>
    Effect.gen(function* () {
      const malformed = yield* post("/v1/echo", '{"text": "a",}')
      assert.strictEqual(malformed.status, 400)
      assert.strictEqual(slugOf(malformed), "malformed-json")
      const empty = yield* post("/v1/echo", "")
      assert.strictEqual(slugOf(empty), "validation-failed")
      assert.deepStrictEqual(empty.json["errors"], [
        { field: "", code: "missing", message: "a body is required" },
      ])
    }),
  )

  it.effect("a body of another type, of no type, or compressed is unsupported-media-type", () =>
    Effect.gen(function* () {
      const body = new TextEncoder().encode('{"text":"a"}')
      const send = (headers: Record<string, string>) => call("/v1/echo", { method: "POST", body, headers })
      for (const headers of [
        { "content-type": "text/plain" },
        {},
        { "content-type": "application/json", "content-encoding": "gzip" },
      ]) {
        const answer = yield* send(headers as Record<string, string>)
        assert.strictEqual(answer.status, 415)
        assert.strictEqual(slugOf(answer), "unsupported-media-type")
      }
      assert.strictEqual((yield* send({ "content-type": "application/json; charset=utf-8" })).status, 200)
    }),
  )

  it.effect(
    "an Accept header that excludes what the route produces is not-acceptable, before anything happens",
    () =>
      Effect.gen(function* () {
        const answer = yield* call("/v1/identity", { headers: { accept: "text/html, application/json;q=0" } })
        assert.strictEqual(answer.status, 406)
        assert.strictEqual(slugOf(answer), "not-acceptable")
        assert.deepStrictEqual(answer.json["available_types"], ["application/json"])
        for (const accept of ["application/json", "text/html, */*;q=0.1", "application/*", ""]) {
          assert.strictEqual((yield* call("/v1/identity", { headers: { accept } })).status, 200, accept)
        }
      }),
  )

  it.effect("a URL beyond 2,048 characters is uri-too-long", () =>
    Effect.gen(function* () {
      const answer = yield* call(`/v1/identity?${"x".repeat(2036)}`)
      assert.strictEqual(answer.status, 414)
      assert.strictEqual(slugOf(answer), "uri-too-long")
      assert.strictEqual((yield* call(`/v1/identity?${"x".repeat(2035)}`)).status, 200)
    }),
  )

  it.effect("a defect is internal-error: the caller learns the trace id, the log the cause", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/defect")
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(slugOf(answer), "internal-error")
      assert.sameMembers(Object.keys(answer.json), ["type", "title", "status", "instance", "trace_id"])
      const line = (yield* Logs).find((each) => each.includes(String(answer.json["trace_id"])))
      assert.include(line, "the secret of the database")
    }),
  )

  it.effect("an answer that breaks the contract is internal-error too, and not the caller's fault", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/unencodable")
      assert.strictEqual(answer.status, 500)
      assert.strictEqual(slugOf(answer), "internal-error")
    }),
  )

  it.effect("whatever JSON is sent, and to whatever path, is never our fault", () =>
    Effect.gen(function* () {
      const bodies = fc.sample(fc.oneof(fc.json(), fc.string()), 60)
      for (const body of bodies) {
        const answer = yield* post("/v1/jobs", body, { key: "writer" })
        assert.strictEqual(answer.status, 400, body)
        assert.match(slugOf(answer), /^(?:validation-failed|malformed-json)$/)
      }
      const paths = [
        "/%",
        "/%zz",
        "/..;/x",
        "/v1/jobs/%00",
        "/v1/jobs/%ff",
        `/v1/jobs/${"x".repeat(500)}`,
        "//",
        "/v1/jobs/a%2Fb",
      ]
      for (const path of [...paths, ...fc.sample(fc.webPath(), 60)]) {
        const answer = yield* call(path.startsWith("/") ? path : `/${path}`, { key: "reader" })
        assert.isBelow(answer.status, 500, path)
        if (answer.status >= 400) assert.notStrictEqual(slugOf(answer), "not a problem", path)
      }
    }),
  )

  it.effect("domain errors become the problems that the mapper says, with their headers", () =>
    Effect.gen(function* () {
      const answer = yield* call("/v1/jobs/job_full", { key: "reader" })
      assert.strictEqual(answer.status, 503)
      assert.strictEqual(slugOf(answer), "mailbox-full")
      assert.strictEqual(answer.json["retry_after"], 7)
      assert.strictEqual(answer.headers.get("retry-after"), "7")
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
    }),
  )

  it.effect("a bare or text error becomes the general problem of its status; other media types pass", () =>
    Effect.gen(function* () {
      const plain = yield* call("/plain-error")
      assert.strictEqual(plain.status, 409)
      assert.strictEqual(slugOf(plain), "conflict")
      const health = yield* call("/health-error")
      assert.strictEqual(health.status, 503)
      assert.strictEqual(health.headers.get("content-type"), "application/health+json")
    }),
  )
})
