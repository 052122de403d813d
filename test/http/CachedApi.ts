/**
 * An API of documents that are kept and change on demand, under the whole contract: with answers for everybody, for one
 * caller each, and for nobody's cache. Real server, real sockets, a real cache file.
 */
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { HttpServer, HttpServerResponse } from "effect/http"
import { HttpApi, HttpApiBuilder, HttpApiEndpoint, HttpApiGroup, HttpApiSchema } from "effect/http-api"
import { join } from "node:path"
import { TaggedCache } from "../../src/cache/TaggedCache.ts"
import { ApiVersions, CurrentApiVersion } from "../../src/http/ApiVersion.ts"
import { Authorization, requireScopes } from "../../src/http/Authorization.ts"
import * as CacheShortcut from "../../src/http/CacheShortcut.ts"
import { etagOf, ExpectedVersions, IfMatch, weakEtagOf } from "../../src/http/Conditional.ts"
import { Contract, contract } from "../../src/http/Contract.ts"
import { Drain } from "../../src/http/Drain.ts"
import { PreconditionFailedProblem } from "../../src/http/RequestProblems.ts"
import { JobNotFoundProblem } from "../../src/http/ResourceProblems.ts"
import { cached, ResponseCache } from "../../src/http/ResponseCache.ts"
import * as Server from "../../src/http/Server.ts"
import { Authenticator, InvalidApiKey } from "../../src/security/Authenticator.ts"
import { CurrentPrincipal, Principal } from "../../src/security/Principal.ts"
import type { Scope } from "../../src/security/Scope.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { keyedRecords } from "../support/KeyedRecords.ts"

const Document = Schema.Struct({ id: Schema.String, text: Schema.String })
const params = { id: Schema.String.pipe(Schema.check(Schema.isPattern(/^[a-z]{1,9}$/))) }

const documents = HttpApiGroup.make("documents")
  .add(
    HttpApiEndpoint.get("get", "/documents/:id", {
      params,
      query: { limit: Schema.optionalKey(Schema.Int) },
      success: Document,
      error: JobNotFoundProblem,
    })
      .annotateMerge(requireScopes("jobs:read"))
      .annotateMerge(cached({ ttl: "1 minute", tags: ({ id }) => [id!] })),
    HttpApiEndpoint.get("mine", "/mine/:id", { params, success: Document })
      .annotateMerge(requireScopes("jobs:read"))
      .annotateMerge(cached({ ttl: "1 minute", tags: ({ id }) => [id!], perPrincipal: true })),
    HttpApiEndpoint.get("moving", "/moving/:id", { params, success: Document })
      .annotateMerge(requireScopes("jobs:read"))
      .annotateMerge(cached({ ttl: "1 minute", tags: ({ id }) => [id!] })),
    HttpApiEndpoint.get("versioned", "/v1/versioned", { success: Document })
      .annotateMerge(requireScopes())
      .annotateMerge(cached({ ttl: "1 minute", tags: () => [] })),
    HttpApiEndpoint.get("plain", "/plain/:id", { params, success: Document }).annotateMerge(
      requireScopes("jobs:read"),
    ),
    HttpApiEndpoint.get("either", "/either", {
      success: [Document, Schema.String.pipe(HttpApiSchema.asText())],
    }).annotateMerge(requireScopes()),
    HttpApiEndpoint.get("secret", "/secret", { success: Schema.String }).annotateMerge(requireScopes()),
    HttpApiEndpoint.patch("change", "/documents/:id", {
      params,
      payload: Schema.Struct({ text: Schema.String }),
      success: Document,
    })
      .annotateMerge(requireScopes("jobs:write"))
      .middleware(IfMatch),
  )
  .middleware(ResponseCache)
  .middleware(Authorization)

const open = HttpApiGroup.make("open").add(HttpApiEndpoint.get("about", "/about", { success: Document }))

const api = contract(HttpApi.make("cached").add(documents, open))

const versions = ApiVersions.make({
  current: "v1",
  versions: [{ name: "v1" }, { name: "v2", inherits: "v1" }],
})

/** What there is to read, and how often somebody had to read it. */
export class Library extends Context.Service<
  Library,
  {
    readonly documents: Map<string, { text: string; version: number }>
    reads: number
    /** While it is there, reading waits for it. */
    gate: Promise<void> | undefined
  }
>()("test/Library") {
  static readonly layer = Layer.sync(Library, () => ({
    documents: new Map([["a", { text: "first", version: 1 }]]),
    reads: 0,
    gate: undefined,
  }))
}

const handlers = HttpApiBuilder.group(
  api,
  "documents",
  Effect.fnUntraced(function* (handlers) {
    const library = yield* Library
    const cache = yield* TaggedCache
    const read = Effect.fnUntraced(function* (id: string) {
      library.reads++
      const found = library.documents.get(id)
      if (library.gate !== undefined) yield* Effect.promise(() => library.gate!)
      return found === undefined ? yield* new JobNotFoundProblem({}) : { id, ...found }
    })
    return handlers.handleAll({
      get: ({ params: { id } }) => Effect.map(read(id), ({ text }) => ({ id, text })),
      mine: ({ params: { id } }) =>
        Effect.gen(function* () {
          library.reads++
          return { id, text: (yield* CurrentPrincipal).id }
        }),
      moving: ({ params: { id } }) =>
        Effect.sync(() =>
          HttpServerResponse.jsonUnsafe(
            { id, text: String(library.reads++) },
            { headers: { etag: weakEtagOf(1, "moving") } },
          ),
        ),
      versioned: () =>
        Effect.map(CurrentApiVersion, (version) => ({ id: "versioned", text: version?.name ?? "none" })),
      plain: ({ params: { id } }) => Effect.succeed({ id, text: "plain" }),
      either: () => Effect.succeed("text"),
      secret: () =>
        Effect.succeed(HttpServerResponse.jsonUnsafe("x", { headers: { "cache-control": "no-store" } })),
      change: ({ params: { id }, payload: { text } }) =>
        Effect.gen(function* () {
          const versions = yield* ExpectedVersions
          const { version } = library.documents.get(id)!
          if (versions !== undefined && !versions.includes(version))
            return yield* new PreconditionFailedProblem({ current_etag: etagOf(version) })
          library.documents.set(id, { text, version: version + 1 })
          cache.invalidate([id])
          return { id, text }
        }),
    })
  }),
)

const openHandlers = HttpApiBuilder.group(api, "open", (handlers) =>
  handlers.handleAll({ about: () => Effect.succeed({ id: "about", text: "us" }) }),
)

const keys: Readonly<Record<string, ReadonlyArray<Scope>>> = {
  one: ["jobs:read", "jobs:write"],
  two: ["jobs:read"],
  none: [],
}

const authenticator = Layer.succeed(Authenticator, {
  authenticate: (credential) => {
    const key = Redacted.value(credential)
    const scopes = keys[key]
    return scopes === undefined
      ? Effect.fail(new InvalidApiKey({}))
      : Effect.succeed(
          new Principal({ id: `key_${key}`, kind: "api_key", owner: "user_1", scopes, tier: "free" }),
        )
  },
})

const cacheLayer = Layer.unwrap(
  Effect.map(temporaryFolder, (folder) =>
    TaggedCache.layer({ filename: join(folder, "cache.db"), generation: "1" }),
  ),
)

/** Every way there is, or only the whole one: the short one must make no difference but in time. */
export const layer = (way: "short" | "whole") => {
  const routes = HttpApiBuilder.layer(api).pipe(
    Layer.provide([handlers, openHandlers]),
    Layer.provide([Authorization.layer, Contract.layer, ResponseCache.layer, IfMatch.layer]),
  )
  const shortened = way === "short" ? Layer.provide(routes, CacheShortcut.layer(api)) : routes
  return Server.layer(Layer.provide(shortened, [authenticator, keyedRecords]), {
    host: "127.0.0.1",
    port: 0,
    versions,
  }).pipe(Layer.provideMerge(Drain.layer), Layer.provideMerge([Library.layer, cacheLayer]))
}

export interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly text: string
}

/** Calls the running server. */
export const call = Effect.fnUntraced(function* (
  path: string,
  options: {
    readonly method?: string
    readonly key?: string | undefined
    readonly headers?: Readonly<Record<string, string>>
    readonly body?: unknown
  } = {},
) {
  const { address } = yield* HttpServer.HttpServer
  const url = `http://127.0.0.1:${(address as { readonly port: number }).port}${path}`
  const key = "key" in options ? options.key : "one"
  return yield* Effect.promise(async (): Promise<Answer> => {
    const response = await fetch(url, {
      method: options.method ?? "GET",
      headers: {
        ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
        ...(options.body === undefined ? {} : { "content-type": "application/json" }),
        ...options.headers,
      },
      ...(options.body === undefined ? {} : { body: JSON.stringify(options.body) }),
    })
    return { status: response.status, headers: response.headers, text: await response.text() }
  })
})
