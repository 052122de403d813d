import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { HttpRouter, HttpServerRespondable } from "effect/http"
import { OpenApi } from "effect/http-api"
import { readdirSync } from "node:fs"
import { join } from "node:path"
import { ApiV1 } from "../../src/api/v1/ApiV1.ts"
import { toProblem } from "../../src/api/v1/DomainProblems.ts"
import * as Access from "../../src/http/AccessProblems.ts"
import * as ErrorPages from "../../src/http/ErrorPages.ts"
import type { AnyProblem, ProblemPage } from "../../src/http/Problem.ts"
import { problemPage, problemPages } from "../../src/http/ProblemRegistry.ts"
import * as RequestProblems from "../../src/http/RequestProblems.ts"
import * as ResourceProblems from "../../src/http/ResourceProblems.ts"
import { securityProblems } from "../../src/http/SecurityProblems.ts"
import * as ServiceProblems from "../../src/http/ServiceProblems.ts"
import { escape } from "../../src/security/HtmlText.ts"
import * as Outbound from "../../src/security/OutboundError.ts"
import { UrlRefused } from "../../src/security/OutboundUrl.ts"
import { serve } from "./PlainServer.ts"
import { call, slugOf } from "./TestApi.ts"

type Registered = (new (members: object) => AnyProblem & HttpServerRespondable.Respondable) & {
  readonly page: ProblemPage
}

/** Every class that can be a problem. */
const classes = [Access, RequestProblems, ResourceProblems, ServiceProblems].flatMap((family) =>
  Object.values(family),
) as unknown as ReadonlyArray<Registered>

/** A value for every member that any of them has. */
const MEMBERS = {
  errors: [],
  field: "name",
  supported_versions: ["v1"],
  allowed_methods: ["GET"],
  available_types: ["application/json"],
  required_scopes: ["admin"],
  your_scopes: [],
  reason: "no_match",
  retry_after: 7,
  limit: 1,
  remaining: 0,
  reset_at: "2030-01-01T00:00:00Z",
  limit_bytes: 1,
  current_status: "completed",
  references: [],
  required: 1,
  balance: 0,
}

const routes = Layer.mergeAll(
  ErrorPages.layer,
  HttpRouter.use((router) =>
    router.addAll(
      classes.map((each) =>
        HttpRouter.route(
          "GET",
          `/fail/${each.page.slug}`,
          HttpServerRespondable.toResponse(new each(MEMBERS)),
        ),
      ),
    ),
  ),
)

layer(serve(routes), { excludeTestServices: true })("every registered problem", (it) => {
  it.effect("is answered with its type, its status, who the request was, and the headers of its status", () =>
    Effect.gen(function* () {
      assert.strictEqual(classes.length, problemPages.length)
      for (const { page } of classes) {
        const answer = yield* call(`/fail/${page.slug}`)
        assert.strictEqual(answer.status, page.status)
        assert.strictEqual(slugOf(answer), page.slug)
        assert.strictEqual(answer.json["title"], page.title)
        assert.strictEqual(answer.json["instance"], `/fail/${page.slug}`)
        assert.strictEqual(answer.json["trace_id"], answer.headers.get("x-trace-id"))
        assert.strictEqual(answer.headers.get("cache-control"), "no-store")
        assert.strictEqual(answer.headers.has("www-authenticate"), page.status === 401, page.slug)
        assert.strictEqual(answer.headers.has("allow"), page.status === 405, page.slug)
        if (page.status === 429 || page.status === 503)
          assert.strictEqual(answer.headers.get("retry-after"), "7", page.slug)
      }
    }),
  )

  it.effect("explains itself to programs and to people", () =>
    Effect.gen(function* () {
      for (const { cause, cure, slug } of problemPages) {
        const page = yield* call(`/errors/${slug}`, { headers: { accept: "application/json" } })
        assert.strictEqual(page.status, 200)
        assert.include(page.text, JSON.stringify(cause))
        const html = yield* call(`/errors/${slug}`, { headers: { accept: "text/html" } })
        assert.match(html.headers.get("content-type") ?? "", /^text\/html/)
        for (const text of [cause, cure]) assert.include(html.text, escape(text), slug)
      }
    }),
  )
})

interface Response {
  readonly content?: Readonly<
    Record<
      string,
      { readonly schema: { readonly $ref?: string; readonly anyOf?: ReadonlyArray<{ $ref: string }> } }
    >
  >
}

describe("every endpoint", () => {
  it("declares registered problems alone, each under its own status", () => {
    const document = OpenApi.fromApi(ApiV1) as unknown as {
      readonly paths: Record<string, Record<string, { readonly responses: Record<string, Response> }>>
    }
    const statuses = new Map(classes.map((each) => [`${each.name}Encoded`, each.page.status]))
    let endpoints = 0
    for (const [path, operations] of Object.entries(document.paths)) {
      for (const [method, { responses }] of Object.entries(operations)) {
        endpoints++
        const failures = Object.entries(responses).filter(([status]) => Number(status) >= 400)
        for (const expected of [400, 406, 413, 415, 500, 503])
          assert.isTrue(
            failures.some(([status]) => Number(status) === expected),
            `${method} ${path} ${expected}`,
          )
        for (const [status, { content = {} }] of failures) {
          const { schema } = content["application/problem+json"] ?? {}
          // What says how well the server is, is not a problem.
          if (schema === undefined) {
            assert.deepStrictEqual(
              [path, status, Object.keys(content)],
              ["/health", "503", ["application/json"]],
            )
            continue
          }
          for (const { $ref } of schema.anyOf ?? [schema]) {
            const name = $ref!.split("/").at(-1)!
            assert.strictEqual(String(statuses.get(name)), status, `${name} of ${method} ${path}`)
          }
        }
      }
    }
    assert.isAbove(endpoints, 40)
  })
})

const SECURITY = join(import.meta.dirname, "../../src/security")

/** Every error that a module of `src/security` exports, by its tag. */
const securityErrors = Effect.promise(async () => {
  const tags: Array<string> = []
  for (const file of readdirSync(SECURITY)) {
    const module = (await import(join(SECURITY, file))) as Record<string, unknown>
    for (const value of Object.values(module)) {
      if (typeof value === "function" && value.prototype instanceof Error)
        tags.push((value as unknown as { readonly identifier: string }).identifier)
    }
  }
  return tags
})

describe("every error of src/security", () => {
  it.effect("has a problem of its own, or is the reason of one that has", () =>
    Effect.gen(function* () {
      const reasons = new Set<string>(Outbound.Reason.members.map(({ identifier }) => identifier))
      const errors = yield* securityErrors
      assert.isAbove(errors.length, 15)
      for (const tag of errors) {
        assert.isTrue(Object.hasOwn(securityProblems, tag) || reasons.has(tag), tag)
      }
      for (const tag of Object.keys(securityProblems)) assert.include(errors, tag)
    }),
  )

  it.effect("about another server says which side is at fault, and nothing of its addresses", () =>
    Effect.gen(function* () {
      const secret = "10.1.2.3"
      const expected: ReadonlyArray<readonly [Outbound.Reason, string]> = [
        [new UrlRefused({ refusal: "scheme", detail: "must be https" }), "url-not-allowed"],
        [
          new Outbound.AddressRefused({ host: "in.example", address: secret, purpose: "private" }),
          "url-not-allowed",
        ],
        [
          new Outbound.HostUnresolved({ host: "no.example", failure: "NotFound", temporary: false }),
          "bad-gateway",
        ],
        [new Outbound.NotConnected({ code: "ECONNREFUSED", tls: false }), "bad-gateway"],
        [new Outbound.TooSlow({ phase: "total", limit_ms: 5 }), "gateway-timeout"],
        [new Outbound.TooManyRedirects({ redirects_max: 3 }), "bad-gateway"],
        [new Outbound.AnswerTooLarge({ part: "body", bytes_max: 5 }), "bad-gateway"],
        [new Outbound.AnswerBroken({ code: "HPE_INVALID" }), "bad-gateway"],
        [
          new Outbound.RequestRefused({ detail: "the header Host is not to be chosen" }),
          "unprocessable-entity",
        ],
      ]
      assert.strictEqual(expected.length, Outbound.Reason.members.length)
      for (const [reason, slug] of expected) {
        const error = new Outbound.OutboundError({ reason, redirects: 1 })
        const problem = yield* Effect.flip(toProblem(Effect.fail(error)))
        const type = String(problem.type).split("/").at(-1)!
        assert.strictEqual(type, slug)
        assert.isDefined(problemPage(type))
        assert.match(problem.detail ?? "", /^After 1 redirects: .+\.$/)
        assert.notInclude(JSON.stringify(problem), secret)
      }
    }),
  )
})
