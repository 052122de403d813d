import { assert, describe, expect, it, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import { HttpServer } from "effect/http"
import { HttpApiEndpoint, HttpApiGroup } from "effect/http-api"
import { TaggedCache } from "../../src/cache/TaggedCache.ts"
import { Authorization, requireScopes } from "../../src/http/Authorization.ts"
import { etagOf, matchesNone, unconditional, weakEtagOf } from "../../src/http/Conditional.ts"
import { Contract } from "../../src/http/Contract.ts"
import { cached, ResponseCache } from "../../src/http/ResponseCache.ts"
import { call, layer as cachedApi, Library } from "./CachedApi.ts"
import { exchange } from "./RawHttp.ts"
import { keyedRecords } from "../support/KeyedRecords.ts"

const hit = "RenderOwl; hit"

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

describe("If-None-Match", () => {
  it("compares weakly, reads lists, and takes nothing else for a tag", () => {
    const matching = ['"3"', 'W/"3"', "*", " * ", '"1", "3"', '"1",W/"3" , "x"', '"a,b", "3"']
    const others = ['"4"', "3", '"33"', '"1", 3', "", '"3', '""', "W/3", 'w/"3"', '"1" "3"', "**"]
    for (const header of matching)
      for (const etag of [etagOf(3), 'W/"3"']) assert.isTrue(matchesNone(header, etag), header)
    for (const header of others) assert.isFalse(matchesNone(header, etagOf(3)), header)
    assert.isTrue(matchesNone('"a,b"', '"a,b"'))
    assert.isFalse(matchesNone(`${'"x", '.repeat(64)}"3"`, etagOf(3)), "more tags than anybody has")
    assert.strictEqual(weakEtagOf(3, "pending"), 'W/"3-pending"')
    assert.notStrictEqual(
      weakEtagOf(3, "processing", { percent: 1 }),
      weakEtagOf(3, "processing", { percent: 2 }),
    )
  })
})

for (const way of ["whole", "short"] as const) {
  layer(cachedApi(way))(`cached answers, the ${way} way`, (it) => {
    it.effect("are worked out once, are the same to the byte, and say what they are", () =>
      Effect.gen(function* () {
        const library = yield* Library
        const before = library.reads
        const first = yield* call("/documents/a?limit=1")
        const second = yield* call("/documents/a?limit=1")
        assert.strictEqual(first.status, 200)
        assert.strictEqual(first.headers.get("cache-status"), null)
        assert.strictEqual(second.headers.get("cache-status"), hit)
        assert.strictEqual(library.reads, before + 1)
        assert.strictEqual(second.text, first.text)
        for (const name of ["content-type", "content-length", "etag", "cache-control", "x-frame-options"])
          assert.strictEqual(second.headers.get(name), first.headers.get(name), name)
        assert.strictEqual(second.headers.get("cache-control"), "private, no-cache")
        assert.strictEqual(first.headers.get("vary"), "authorization, x-api-key")
        assert.strictEqual(second.headers.get("vary"), "authorization, x-api-key, Accept-Encoding")
        assert.match(second.headers.get("etag")!, /^"[\w-]{22}"$/)
        assert.notStrictEqual(second.headers.get("x-request-id"), first.headers.get("x-request-id"))
        yield* call("/documents/a")
        assert.strictEqual(library.reads, before + 2, "another query is another question")
      }),
    )

    it.effect("304 has the tag and no body, whether the answer was kept or not", () =>
      Effect.gen(function* () {
        for (const path of ["/documents/a", "/documents/a", "/plain/b", "/about"]) {
          const etag = (yield* call(path)).headers.get("etag")!
          for (const header of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
            const { headers, status, text } = yield* call(path, { headers: { "if-none-match": header } })
            assert.strictEqual(status, 304, header)
            assert.strictEqual(text, "")
            assert.strictEqual(headers.get("etag"), etag)
            assert.isNotNull(headers.get("cache-control"))
            assert.isNull(headers.get("content-type"))
          }
          const changed = yield* call(path, { headers: { "if-none-match": '"other"' } })
          assert.strictEqual(changed.status, 200)
        }
        const { address } = yield* HttpServer.HttpServer
        const raw = yield* exchange(
          (address as { readonly port: number }).port,
          "GET /documents/a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer one\r\nIf-None-Match: *\r\nConnection: close\r\n\r\n",
        )
        assert.strictEqual(raw.status, 304)
        yield* Effect.promise(() => raw.connection.closed)
        assert.isTrue(raw.connection.received.endsWith("\r\n\r\n"), "nothing follows the headers")
      }),
    )

    it.effect("HEAD is answered like GET, without the body", () =>
      Effect.gen(function* () {
        const get = yield* call("/documents/a")
        const head = yield* call("/documents/a", { method: "HEAD" })
        assert.strictEqual(head.status, 200)
        assert.strictEqual(head.text, "")
        assert.strictEqual(head.headers.get("cache-status"), hit)
        for (const name of ["etag", "content-length", "content-type"])
          assert.strictEqual(head.headers.get(name), get.headers.get(name), name)
        const known = yield* call("/documents/a", {
          method: "HEAD",
          headers: { "if-none-match": get.headers.get("etag")! },
        })
        assert.strictEqual(known.status, 304)
      }),
    )

    it.effect("are for those alone who may ask", () =>
      Effect.gen(function* () {
        yield* call("/documents/a")
        const status = (key: string | undefined, headers = {}) =>
          Effect.map(call("/documents/a", { key, headers }), (answer) => answer.status)
        assert.strictEqual(yield* status(undefined), 401)
        assert.strictEqual(yield* status("unknown"), 401)
        assert.strictEqual(yield* status("none"), 403)
        assert.strictEqual(yield* status("none", { "if-none-match": "*" }), 403)
        assert.strictEqual(yield* status("two"), 200)
        assert.strictEqual(yield* status(undefined, { "x-api-key": "two" }), 200)
        assert.strictEqual(yield* status("two", { accept: "image/png" }), 406)
        assert.strictEqual(yield* status("two", { accept: "application/json" }), 200)
      }),
    )

    it.effect("that depend on the caller are never another's", () =>
      Effect.gen(function* () {
        for (let i = 0; i < 3; i++)
          for (const key of ["one", "two"]) {
            const answer = yield* call("/mine/a", { key })
            assert.include(answer.text, `key_${key}`)
            if (i > 0) assert.strictEqual(answer.headers.get("cache-status"), hit)
          }
        const { headers } = yield* call("/mine/a", { key: "one" })
        const other = yield* call("/mine/a", {
          key: "two",
          headers: { "if-none-match": headers.get("etag")! },
        })
        assert.strictEqual(other.status, 200)
      }),
    )

    it.effect("of one version are not another's", () =>
      Effect.gen(function* () {
        for (let i = 0; i < 3; i++)
          for (const [path, headers, version] of [
            ["/v1/versioned", {}, "v1"],
            ["/v2/versioned", {}, "v2"],
            ["/versioned", { "api-version": "v2" }, "v2"],
            ["/versioned", {}, "v1"],
          ] as const) {
            const answer = yield* call(path, { headers })
            assert.deepStrictEqual(JSON.parse(answer.text), { id: "versioned", text: version })
            if (i > 0) assert.strictEqual(answer.headers.get("cache-status"), hit, path)
          }
      }),
    )

    it.effect("go with what they depend on", () =>
      Effect.gen(function* () {
        const cache = yield* TaggedCache
        const library = yield* Library
        const { version } = library.documents.get("a")!
        const old = yield* call("/documents/a")
        const change = (ifMatch: string | undefined, text: string) =>
          call("/documents/a", {
            method: "PATCH",
            body: { text },
            headers: ifMatch === undefined ? {} : { "if-match": ifMatch },
          })
        const refused = yield* change(undefined, "never")
        assert.strictEqual(refused.status, 428)
        assert.include(refused.text, "precondition-required")
        for (const header of ['"0"', `W/"${version}"`, String(version), '"x"', "nothing", '""']) {
          const failed = yield* change(header, "never")
          assert.strictEqual(failed.status, 412, header)
          assert.strictEqual(JSON.parse(failed.text).current_etag, etagOf(version))
        }
        assert.strictEqual((yield* call("/documents/a")).headers.get("cache-status"), hit)

        const changed = yield* change(`"0", ${etagOf(version)}`, `by tag, ${way}`)
        assert.strictEqual(changed.status, 200)
        assert.strictEqual(changed.headers.get("cache-control"), "no-store")
        const fresh = yield* call("/documents/a", { headers: { "if-none-match": old.headers.get("etag")! } })
        assert.strictEqual(fresh.status, 200)
        assert.include(fresh.text, `by tag, ${way}`)
        assert.strictEqual((yield* change("*", "by star")).status, 200)
        assert.include((yield* call("/documents/a")).text, "by star")
        assert.isAtLeast(cache.stats().invalidations, 2)
      }),
    )

    it.effect("that failed, that must not be kept, or whose tag is weak are not kept", () =>
      Effect.gen(function* () {
        const library = yield* Library
        const before = library.reads
        for (const path of [
          "/documents/nobody",
          "/documents/nobody",
          "/documents/UPPER",
          "/documents/a?limit=x",
        ])
          assert.isAtLeast((yield* call(path)).status, 400)
        assert.strictEqual(library.reads, before + 2)
        const moving = yield* call("/moving/a")
        assert.strictEqual(moving.headers.get("etag"), 'W/"1-moving"')
        assert.notStrictEqual((yield* call("/moving/a")).text, moving.text)
        const still = yield* call("/moving/a", { headers: { "if-none-match": 'W/"1-moving"' } })
        assert.strictEqual(still.status, 304)
        const secret = yield* call("/secret", { headers: { "if-none-match": "*" } })
        assert.strictEqual(secret.status, 200)
        assert.isNull(secret.headers.get("etag"))
        assert.strictEqual((yield* call("/either")).headers.get("vary"), "authorization, x-api-key, accept")
        assert.strictEqual((yield* call("/about")).headers.get("cache-control"), "no-cache")
        assert.isNull((yield* call("/about")).headers.get("vary"))
      }),
    )

    it.effect("100 identical requests at once are one computation", () =>
      Effect.gen(function* () {
        const library = yield* Library
        const cache = yield* TaggedCache
        library.documents.set("shared", { text: "together", version: 1 })
        const gate = Promise.withResolvers<void>()
        library.gate = gate.promise
        const { reads } = library
        const { shared } = cache.stats()
        const all = yield* Effect.forkChild(
          Effect.forEach(Array.from({ length: 100 }), () => call("/documents/shared"), {
            concurrency: "unbounded",
          }),
        )
        while (cache.stats().shared < shared + 99) yield* turn
        library.gate = undefined
        gate.resolve()
        const answers = yield* Fiber.join(all)
        assert.strictEqual(library.reads, reads + 1)
        assert.deepStrictEqual(new Set(answers.map(({ text }) => text)).size, 1)
        assert.strictEqual(new Set(answers.map(({ headers }) => headers.get("x-request-id"))).size, 100)
      }),
    )
  })
}

describe("a declaration that would be a mistake does not start", () => {
  const start = (group: { readonly endpoints: object }) => {
    const endpoint: unknown = Object.values(group.endpoints)[0]
    return Effect.map(Contract, (service) =>
      (service as (handler: unknown, options: unknown) => unknown)(Effect.void, { endpoint, group }),
    ).pipe(Effect.provide(Layer.provide(Contract.layer, keyedRecords)), Effect.sandbox)
  }
  const params = { id: Schema.String }
  const get = HttpApiEndpoint.get("get", "/x/:id", { params, success: Schema.String })
  const policy = cached({ ttl: "1 minute", tags: () => [] })
  const remove = HttpApiEndpoint.delete("remove", "/x/:id", { params })
  const scopes = requireScopes("jobs:read")
  const mistakes: ReadonlyArray<readonly [{ readonly endpoints: object }, RegExp]> = [
    [HttpApiGroup.make("g").add(get.annotateMerge(policy)), /behind ResponseCache/],
    [
      HttpApiGroup.make("g")
        .add(get.annotateMerge(policy).annotateMerge(scopes))
        .middleware(Authorization)
        .middleware(ResponseCache),
      /give its answers to anybody/,
    ],
    [HttpApiGroup.make("g").add(HttpApiEndpoint.post("p", "/x").annotateMerge(policy)), /no GET/],
    [HttpApiGroup.make("g").add(remove), /IfMatch/],
  ]
  it.effect.each(mistakes)("%#", ([group, message]) =>
    Effect.gen(function* () {
      const cause = yield* Effect.flip(start(group))
      expect(String(cause)).toMatch(message)
    }),
  )
  it.effect("and one that says so does", () =>
    start(HttpApiGroup.make("g").add(remove.annotateMerge(unconditional("idempotent")))),
  )
})
