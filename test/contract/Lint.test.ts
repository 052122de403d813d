import { assert, layer } from "@effect/vitest"
import { createConfig, lintFromString } from "@redocly/openapi-core"
import { Effect } from "effect"
import { problemPages } from "../../src/http/ProblemRegistry.ts"
import { SharedServer } from "../support/SharedServer.ts"
import { documentOf } from "./Document.ts"

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 30_000 })("the document", (it) => {
  it.effect("has nothing that the linter's strict rules complain about", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { text } = yield* client.get("/openapi.json")
      const problems = yield* Effect.promise(async () =>
        lintFromString({
          source: text,
          absoluteRef: "openapi.json",
          config: await createConfig({ extends: ["recommended-strict"] }),
        }),
      )
      assert.deepStrictEqual(
        problems.map(
          ({ location, message, ruleId }) => `${ruleId}: ${message} ${location[0]?.pointer ?? ""}`,
        ),
        [],
      )
    }),
  )

  it.effect("says of each operation what it reads and answers beyond its handler", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const document = yield* documentOf(client)
      for (const { answers, body, method, name, parameters, security } of document.operations) {
        const reads = (header: string) =>
          parameters.some((each) => each.in === "header" && each.name === header)
        const declared = (status: number) => answers.has(status)
        assert.strictEqual(reads("If-None-Match"), method === "GET", name)
        assert.strictEqual(declared(304), method === "GET", name)
        assert.strictEqual(reads("If-Match"), declared(412) && declared(428), name)
        assert.strictEqual(declared(401), security.length > 0, name)
        assert.strictEqual(declared(413), body !== undefined, name)
        for (const status of [400, 408, 414, 415, 417, 431, 500, 503]) assert.isTrue(declared(status), name)
        const isLive = [...answers.values()].some(({ content }) => content.has("text/event-stream"))
        assert.strictEqual(reads("Last-Event-ID"), isLive, name)
        for (const [status, { headers }] of answers) {
          const required = [...headers].flatMap(([header, each]) => (each.required ? [header] : []))
          assert.includeMembers(
            required,
            ["x-request-id", "api-version", "x-trace-id", "cache-control"],
            name,
          )
          if (status === 201) assert.include(required, "location", name)
          if (status === 304) assert.include(required, "etag", name)
          if (status === 401) assert.include(required, "www-authenticate", name)
          if (status === 503) assert.include(required, "retry-after", name)
        }
      }
    }),
  )

  it.effect("knows no problem that is not registered", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { source } = yield* documentOf(client)
      const known = new Set(problemPages.map(({ slug }) => slug))
      const slugs = [...source.matchAll(/"https:\/\/api\.renderowl\.com\/errors\/([^"]*)"/g)].map(
        ([, slug]) => slug!,
      )
      assert.isNotEmpty(slugs)
      assert.deepStrictEqual(
        slugs.filter((slug) => !known.has(slug)),
        [],
      )
    }),
  )
})
