import { assert, describe, it, layer } from "@effect/vitest"
import { Cause, Effect, Exit, Layer, Schema } from "effect"
import { HttpRouter, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { type ApiVersion, ApiVersions, hasFeature } from "../../src/http/ApiVersion.ts"
import { unconditional } from "../../src/http/Conditional.ts"
import { Contract, contract } from "../../src/http/Contract.ts"
import * as Documentation from "../../src/http/Documentation.ts"
import { serve } from "./PlainServer.ts"
import { call, post, slugOf } from "./TestApi.ts"
import { keyedRecords } from "../support/KeyedRecords.ts"

const v1: ApiVersion = {
  name: "v1",
  deprecation: {
    since: new Date("2026-11-01T00:00:00Z"),
    sunset: new Date("2027-05-01T00:00:00Z"),
    documentation: "https://owl.example/migrate",
  },
}
const v2: ApiVersion = { name: "v2", inherits: "v1", features: ["loud-names"] }
const versions = ApiVersions.make({ current: "v2", versions: [v1, v2] })

const Item = Schema.Struct({ name: Schema.String }).annotate({ identifier: "Item" })
/** It has the same name in the document, and is another. */
const ListedItem = Schema.Struct({ name: Schema.String, rank: Schema.Int }).annotate({ identifier: "Item" })

const ApiV1 = contract(
  HttpApi.make("first").add(
    HttpApiGroup.make("items").add(
      HttpApiEndpoint.get("list", "/v1/items", {
        query: { limit: Schema.optionalKey(Schema.String) },
        success: Schema.Struct({ items: Schema.Array(Schema.String) }),
      }),
      HttpApiEndpoint.get("get", "/v1/items/:id", { params: { id: Schema.String }, success: Item }),
      HttpApiEndpoint.post("add", "/v1/items", {
        payload: Item,
        success: HttpApiSchema.WithHeaders(Item.pipe(HttpApiSchema.status(201)), {
          location: Schema.String,
          link: Schema.String,
        }),
      }),
    ),
    HttpApiGroup.make("system").add(HttpApiEndpoint.get("ready", "/ready", {})),
  ),
)

/** Only what differs: the list has another shape, and items can be deleted. */
const ApiV2 = contract(
  HttpApi.make("second").add(
    HttpApiGroup.make("items").add(
      HttpApiEndpoint.get("list", "/v2/items", {
        success: Schema.Struct({ data: Schema.Array(ListedItem) }),
      }),
      HttpApiEndpoint.delete("remove", "/v2/items/:id", { params: { id: Schema.String } }).annotateMerge(
        unconditional("nothing is lost"),
      ),
    ),
  ),
)

const routes = Layer.mergeAll(
  HttpApiBuilder.layer(ApiV1).pipe(
    Layer.provide(
      HttpApiBuilder.group(ApiV1, "system", (handlers) => handlers.handleAll({ ready: () => Effect.void })),
    ),
    Layer.provide(
      HttpApiBuilder.group(ApiV1, "items", (handlers) =>
        handlers.handleAll({
          list: () => Effect.succeed({ items: ["owl"] }),
          get: () => Effect.map(hasFeature("loud-names"), (isLoud) => ({ name: isLoud ? "OWL" : "owl" })),
          add: ({ payload }) =>
            Effect.succeed(
              HttpApiSchema.withHeaders({
                body: payload,
                headers: { location: "/v1/items/1", link: '</v1/items?x=1>; rel="next"' },
              }),
            ),
        }),
      ),
    ),
  ),
  HttpApiBuilder.layer(ApiV2).pipe(
    Layer.provide(
      HttpApiBuilder.group(ApiV2, "items", (handlers) =>
        handlers.handleAll({
          list: () => Effect.succeed({ data: [{ name: "owl", rank: 1 }] }),
          remove: () => Effect.void,
        }),
      ),
    ),
  ),
  Documentation.layer(ApiV1, v1),
  Documentation.layer(ApiV2, v2, [Documentation.inherited(ApiV1, v1)]),
  HttpRouter.add("GET", "/live", HttpServerResponse.text("live")),
).pipe(Layer.provide(Contract.layer), Layer.provide(keyedRecords))

interface Document {
  readonly paths: Record<
    string,
    Record<string, { readonly operationId: string; readonly deprecated?: boolean }>
  >
  readonly components: { readonly schemas: Record<string, { readonly required?: ReadonlyArray<string> }> }
}

const operationsOf = ({ paths }: Document): ReadonlyArray<string> =>
  Object.entries(paths)
    .flatMap(([path, methods]) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`))
    .sort()

const FIRST = { items: ["owl"] }
const SECOND = { data: [{ name: "owl", rank: 1 }] }

layer(serve(routes, { versions }), { excludeTestServices: true })("two versions of an API", (it) => {
  for (const [how, path, headers, expected, version] of [
    ["the path", "/v1/items", {}, FIRST, "v1"],
    ["the path", "/v2/items", {}, SECOND, "v2"],
    ["Accept", "/items", { accept: "application/json;version=v1" }, FIRST, "v1"],
    ["Accept", "/items", { accept: "application/json;version=v2" }, SECOND, "v2"],
    ["API-Version", "/items", { "api-version": "v1" }, FIRST, "v1"],
    ["API-Version", "/items", { "api-version": "v2" }, SECOND, "v2"],
    ["the query", "/items?api_version=v1", {}, FIRST, "v1"],
    ["the query", "/items?api_version=v1&limit=5", {}, FIRST, "v1"],
    ["the query", "/items?api_version=v2", {}, SECOND, "v2"],
    ["nothing at all", "/items", {}, SECOND, "v2"],
    ["the path before all others", "/v1/items?api_version=v2", { "api-version": "v2" }, FIRST, "v1"],
    ["the path of an inherited route", "/v2/items/1", {}, { name: "OWL" }, "v2"],
    ["a header on an inherited route", "/items/1", { "api-version": "v2" }, { name: "OWL" }, "v2"],
    ["a header on the older route", "/items/1", { "api-version": "v1" }, { name: "owl" }, "v1"],
  ] as const) {
    it.effect(`are told apart by ${how}: ${path} ${JSON.stringify(headers)} is ${version}`, () =>
      Effect.gen(function* () {
        const answer = yield* call(path, { headers })
        assert.deepStrictEqual(answer.json, expected)
        assert.strictEqual(answer.headers.get("api-version"), version)
        const isNegotiated = !/^\/v\d/.test(path)
        assert.strictEqual(
          answer.headers.get("vary")?.includes("Accept, API-Version") ?? false,
          isNegotiated,
          "caches know what the answer depends on",
        )
      }),
    )
  }

  for (const [path, headers] of [
    ["/v3/items", {}],
    ["/v3/items", { "api-version": "v1" }],
    ["/items", { accept: "application/json;version=v3" }],
    ["/items", { "api-version": "v3" }],
    ["/items?api_version=v3", {}],
  ] as const) {
    it.effect(`an unknown one is refused with those there are: ${path} ${JSON.stringify(headers)}`, () =>
      Effect.gen(function* () {
        const answer = yield* call(path, { headers })
        assert.strictEqual(answer.status, 400)
        assert.strictEqual(slugOf(answer), "unsupported-version")
        assert.deepStrictEqual(answer.json["supported_versions"], ["v1", "v2"])
        assert.strictEqual(answer.headers.get("api-version"), "v2")
      }),
    )
  }

  it.effect("every answer of a deprecated one says so, errors as well, and no other does", () =>
    Effect.gen(function* () {
      for (const path of ["/v1/items", "/v1/nothing", "/items?api_version=v1"]) {
        const { headers } = yield* call(path)
        assert.strictEqual(headers.get("deprecation"), "@1793491200", path)
        assert.strictEqual(headers.get("sunset"), "Sat, 01 May 2027 00:00:00 GMT", path)
        assert.strictEqual(
          headers.get("link"),
          '<https://owl.example/migrate>; rel="deprecation"; type="text/html"',
          path,
        )
      }
      const added = yield* post("/v1/items", { name: "x" })
      assert.strictEqual(
        added.headers.get("link"),
        '</v1/items?x=1>; rel="next", <https://owl.example/migrate>; rel="deprecation"; type="text/html"',
      )
      for (const path of ["/v2/items", "/items", "/live", "/v3/items"]) {
        const { headers } = yield* call(path)
        assert.isFalse(headers.has("deprecation") || headers.has("sunset"), path)
      }
    }),
  )

  it.effect("what an inherited route points to is in the version that was asked for", () =>
    Effect.gen(function* () {
      for (const [path, headers] of [
        ["/v2/items", {}],
        ["/items", { "api-version": "v2" }],
        ["/items", {}],
      ] as const) {
        const added = yield* post(path, { name: "x" }, { headers })
        assert.strictEqual(added.status, 201)
        assert.strictEqual(added.headers.get("location"), "/v2/items/1")
        assert.strictEqual(added.headers.get("link"), '</v2/items?x=1>; rel="next"')
      }
    }),
  )

  it.effect("a wrong method is told all that the version has or inherits", () =>
    Effect.gen(function* () {
      for (const [path, allowed] of [
        ["/v1/items/1", "GET, HEAD, OPTIONS"],
        ["/v2/items/1", "DELETE, OPTIONS, GET, HEAD"],
        ["/items/1", "DELETE, OPTIONS, GET, HEAD"],
      ] as const) {
        const wrong = yield* call(path, { method: "PUT" })
        assert.strictEqual(slugOf(wrong), "method-not-allowed", path)
        assert.strictEqual(wrong.headers.get("allow"), allowed, path)
        const options = yield* call(path, { method: "OPTIONS" })
        assert.strictEqual(options.status, 204)
        assert.strictEqual(options.headers.get("allow"), allowed, path)
      }
      assert.strictEqual((yield* call("/v2/items/1", { method: "DELETE" })).status, 204)
      assert.strictEqual(slugOf(yield* call("/v1/items/1", { method: "DELETE" })), "method-not-allowed")
    }),
  )

  it.effect("a problem names the path that was asked for", () =>
    Effect.gen(function* () {
      const answer = yield* post("/items?api_version=v1", { name: 5 })
      assert.strictEqual(slugOf(answer), "validation-failed")
      assert.strictEqual(answer.json["instance"], "/items")
      const nothing = yield* call("/nothing")
      assert.strictEqual(slugOf(nothing), "not-found")
      assert.strictEqual(nothing.json["instance"], "/nothing")
    }),
  )

  it.effect("paths outside of the API have no version, and take any that exists", () =>
    Effect.gen(function* () {
      for (const headers of [{}, { "api-version": "v1" }]) {
        const answer = yield* call("/live", { headers: headers as Record<string, string> })
        assert.strictEqual(answer.text, "live")
      }
    }),
  )

  it.effect("each has its own OpenAPI document and page, and the current one's is the default", () =>
    Effect.gen(function* () {
      const first = (yield* call("/openapi.json?api_version=v1")).json as unknown as Document
      assert.deepStrictEqual(operationsOf(first), [
        "GET /ready",
        "GET /v1/items",
        "GET /v1/items/{id}",
        "POST /v1/items",
      ])
      assert.isTrue(
        Object.values(first.paths).every((path) => Object.values(path).every((each) => each.deprecated)),
      )

      // What is inherited is there too, under the version's own paths, and is not deprecated.
      const second = (yield* call("/openapi.json")).json as unknown as Document
      assert.deepStrictEqual(operationsOf(second), [
        "DELETE /v2/items/{id}",
        "GET /ready",
        "GET /v2/items",
        "GET /v2/items/{id}",
        "POST /v2/items",
      ])
      const all = Object.values(second.paths).flatMap((path) => Object.values(path))
      assert.isTrue(all.every((each) => each.deprecated === undefined))
      assert.lengthOf(new Set(all.map((each) => each.operationId)), 5)

      // Two schemas of one name stay two.
      const schemaOf = (reference: string) => second.components.schemas[reference.split("/").at(-1)!]
      const inherited = JSON.stringify(second.paths["/v2/items/{id}"]?.["get"])
      const [own = ""] =
        /#\/components\/schemas\/Item\w*/.exec(JSON.stringify(second.paths["/v2/items"]?.["get"])) ?? []
      const [other = ""] = /#\/components\/schemas\/Item\w*/.exec(inherited) ?? []
      assert.deepStrictEqual(schemaOf(own)?.required, ["name", "rank"])
      assert.deepStrictEqual(schemaOf(other)?.required, ["name"])
      for (const url of ["/docs", "/v1/docs"]) {
        assert.include((yield* call(url)).headers.get("content-type"), "text/html")
      }
    }),
  )
})

describe("a route of a version that nobody registered", () => {
  it.live("stops the start", () =>
    Effect.gen(function* () {
      const stray = HttpRouter.add("GET", "/v3/items", HttpServerResponse.empty())
      const exit = yield* Effect.exit(Layer.build(serve(stray, { versions })))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit))
        assert.include(Cause.pretty(exit.cause), "GET /v3/items belongs to no registered")
    }).pipe(Effect.scoped),
  )
})
