import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { createHash } from "node:crypto"
import { ProblemBase } from "../../src/http/Problem.ts"
import { problemOfStatus, problemPages } from "../../src/http/ProblemRegistry.ts"
import { exchange } from "./RawHttp.ts"
import { call, layer as TestServer, port, slugOf } from "./TestApi.ts"

/** Every type that API.md promises. */
const promised = `
  validation-failed invalid-request invalid-id malformed-json missing-field invalid-field unsupported-version
  unauthorized invalid-token expired-token invalid-api-key invalid-signature
  forbidden insufficient-scope ip-restricted origin-restricted url-not-allowed
  not-found user-not-found project-not-found render-not-found asset-not-found automation-not-found job-not-found
  method-not-allowed not-acceptable
  conflict duplicate-resource idempotency-in-progress render-not-cancellable render-not-complete job-not-cancellable
  asset-in-use stale-lease
  gone precondition-failed payload-too-large uri-too-long unsupported-media-type
  unprocessable-entity idempotency-key-reused insufficient-credits
  precondition-required rate-limit-exceeded headers-too-large
  internal-error database-error queue-error service-unavailable maintenance-mode mailbox-full gateway-timeout`
  .trim()
  .split(/\s+/)

describe("the registry", () => {
  it("holds every promised type once, each with a reason and a remedy", () => {
    const slugs = problemPages.map(({ slug }) => slug)
    assert.includeMembers(slugs, promised)
    assert.strictEqual(new Set(slugs).size, slugs.length)
    for (const page of problemPages) {
      assert.isAtLeast(page.status, 400)
      assert.isAbove(page.title.length * page.cause.length * page.cure.length, 0)
    }
  })

  it("has an answer for every status", () => {
    assert.strictEqual(problemOfStatus(404).slug, "not-found")
    assert.strictEqual(problemOfStatus(418).slug, "invalid-request")
    assert.strictEqual(problemOfStatus(507).slug, "internal-error")
  })
})

layer(TestServer(), { excludeTestServices: true })("the contract for readers", (it) => {
  it.effect("every problem type has a page, for programs and for people", () =>
    Effect.gen(function* () {
      for (const { slug, status } of problemPages) {
        const page = yield* call(`/errors/${slug}`)
        assert.strictEqual(page.json["type"], `https://api.renderowl.com/errors/${slug}`)
        assert.strictEqual(page.json["status"], status)
      }
      const html = yield* call("/errors/job-not-found", { headers: { accept: "text/html,*/*;q=0.8" } })
      assert.include(html.headers.get("content-type"), "text/html")
      assert.include(html.text, "No such job")
      const style = /<style>([\s\S]*)<\/style>/.exec(html.text)?.[1] ?? ""
      const hash = createHash("sha256").update(style).digest("base64")
      assert.include(html.headers.get("content-security-policy"), `style-src 'sha256-${hash}'`)
    }),
  )

  it.effect("the list of them names all, and one that is not there is not-found", () =>
    Effect.gen(function* () {
      const list = yield* call("/errors")
      assert.lengthOf(list.json["data"] as Array<unknown>, problemPages.length)
      const html = yield* call("/errors", { headers: { accept: "text/html" } })
      assert.include(html.text, '<a href="/errors/mailbox-full">')
      assert.strictEqual(slugOf(yield* call("/errors/no-such-thing")), "not-found")
    }),
  )

  it.effect("openapi.json shows problems as problem+json and the scopes of each operation", () =>
    Effect.gen(function* () {
      const { headers, json } = yield* call("/openapi.json")
      assert.strictEqual(headers.get("content-type"), "application/json")
      assert.strictEqual(json["openapi"], "3.1.0")
      const operation = (json["paths"] as Paths)["/v1/jobs/{id}"]?.["get"]
      assert.deepStrictEqual(operation?.security, [{ bearer: ["jobs:read"] }, { apiKey: ["jobs:read"] }])
      assert.include(operation?.description, "Requires `jobs:read`.")
      assert.includeMembers(Object.keys(operation?.responses ?? {}), [
        "200",
        "400",
        "401",
        "403",
        "404",
        "500",
        "503",
      ])
      assert.deepStrictEqual(operation?.responses["404"], { $ref: "#/components/responses/JobNotFound" })
      const { responses } = json["components"] as { readonly responses: Record<string, { content: object }> }
      assert.deepStrictEqual(Object.keys(responses["JobNotFound"]?.content ?? {}), [
        "application/problem+json",
      ])
      assert.include(JSON.stringify(json), "https://api.renderowl.com/errors/job-not-found")
    }),
  )

  it.effect("openapi.json says what takes an Idempotency-Key, and what comes of it", () =>
    Effect.gen(function* () {
      const { json } = yield* call("/openapi.json")
      const { parameters } = json["components"] as { readonly parameters: Record<string, object> }
      assert.deepInclude(parameters["IdempotencyKey"], {
        name: "Idempotency-Key",
        in: "header",
        required: false,
        schema: { type: "string", minLength: 1, maxLength: 255 },
      })
      for (const [path, operations] of Object.entries(json["paths"] as Paths)) {
        for (const [method, { parameters, responses }] of Object.entries(operations)) {
          const changes = method !== "get"
          const where = `${method} ${path}`
          assert.strictEqual(JSON.stringify(parameters).includes("parameters/IdempotencyKey"), changes, where)
          assert.strictEqual(
            JSON.stringify(responses["409"])?.includes("IdempotencyInProgress") ?? false,
            changes,
          )
          assert.strictEqual(
            JSON.stringify(responses["422"])?.includes("IdempotencyKeyReused") ?? false,
            changes,
          )
          for (const [status, answer] of Object.entries(responses))
            assert.strictEqual(
              JSON.stringify(answer).includes("headers/Idempotency-Replayed"),
              changes && status < "400",
              `${where} ${status}`,
            )
        }
      }
    }),
  )

  it.effect("openapi.json describes parameters by what they mean, not by how they travel", () =>
    Effect.gen(function* () {
      const { json } = yield* call("/openapi.json")
      const limit = (json["paths"] as Paths)["/v1/items"]?.["get"]?.parameters.find(
        ({ name }) => name === "limit",
      )
      assert.deepStrictEqual(limit?.schema, {
        type: "integer",
        minimum: 1,
        maximum: 100,
        description: "Rows on the page, 20 by default",
      })
    }),
  )

  it.effect("docs run their own scripts only, and load nothing from elsewhere", () =>
    Effect.gen(function* () {
      const { headers, text } = yield* call("/docs", { headers: { accept: "text/html" } })
      const policy = headers.get("content-security-policy") ?? ""
      const scripts = [...text.matchAll(/<script>([\s\S]*?)<\/script>/g)]
      assert.lengthOf(scripts, 2)
      for (const [, script = ""] of scripts) {
        assert.include(policy, `'sha256-${createHash("sha256").update(script).digest("base64")}'`)
      }
      assert.match(policy, /^default-src 'none'; script-src 'sha256-/)
      assert.notMatch(policy, /https?:/)
      assert.notMatch(text.replaceAll(/<script>[\s\S]*?<\/script>/g, ""), /(?:src|href)=/)
    }),
  )
})

interface Paths {
  readonly [path: string]: {
    readonly [method: string]: {
      readonly security: unknown
      readonly description: string
      readonly parameters: ReadonlyArray<{ readonly name: string; readonly schema: unknown }>
      readonly responses: { readonly [status: string]: unknown }
    }
  }
}

const ownBase = TestServer().pipe(Layer.provide(Layer.succeed(ProblemBase, "https://owl.example/e/")))

layer(ownBase, { excludeTestServices: true })("a base of one's own", (it) => {
  it.effect("is on every problem, on its page, and in OpenAPI", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* call("/v1/nothing")).json["type"], "https://owl.example/e/not-found")
      assert.strictEqual((yield* call("/v1/items")).json["type"], "https://owl.example/e/unauthorized")
      assert.strictEqual((yield* call("/errors/gone")).json["type"], "https://owl.example/e/gone")
      const malformed = yield* exchange(yield* port, "nonsense\r\n\r\n")
      assert.strictEqual(malformed.json["type"], "https://owl.example/e/invalid-request")
      const specification = (yield* call("/openapi.json")).text
      assert.include(specification, "https://owl.example/e/job-not-found")
      assert.notInclude(specification, "https://api.renderowl.com/errors/")
    }),
  )
})
