import { assert, layer } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { RenderJson } from "../../src/api/v1/renders/RenderJson.ts"
import { exchange } from "../http/RawHttp.ts"
import { type Answer, Client } from "../support/Client.ts"
import { SharedServer } from "../support/SharedServer.ts"
import { OTHER_SECRET, SECRET, send, signature } from "../support/Signed.ts"

type Render = typeof RenderJson.Encoded

const nobody = ({ url }: Client) => new Client(url, undefined)
const reasonOf = (answer: Answer) => [answer.status, answer.problem, answer.json()["reason"]]

const createProject = (client: Client) =>
  Effect.map(client.post("/v1/projects", { name: "x" }), (answer) => answer.json<{ id: string }>().id)

/** A render that goes on for longer than a test, and has begun. */
const longRender = Effect.fnUntraced(function* (client: Client) {
  const project = yield* createProject(client)
  const made = yield* client.post(`/v1/projects/${project}/renders`, {
    composition_id: "TitleCard",
    input_props: { title: "Long", duration_sec: 60 },
  })
  const { id } = made.json<Render>()
  yield* client.follow(`/v1/renders/${id}/events`, { until: ({ event }) => event === "JobStarted" })
  return id
})

layer(SharedServer.layer({ INTERNAL_SECRET: `${OTHER_SECRET}, ${SECRET}`, ANONYMOUS_TIER: "enterprise" }), {
  excludeTestServices: true,
  timeout: 30_000,
})("a signed request", (it) => {
  it.effect("is that of an internal caller, by any of the secrets", () =>
    Effect.gen(function* () {
      const client = nobody((yield* SharedServer).client)
      for (const secret of [SECRET, OTHER_SECRET]) {
        const answer = yield* send(client, "GET", "/internal/cache", undefined, { secret })
        assert.strictEqual(answer.status, 200, answer.text)
      }
      const dropped = yield* send(client, "DELETE", "/internal/cache/tags/projects")
      assert.strictEqual(dropped.status, 200)
    }),
  )

  it.effect("is refused when it is not from one of the senders, not from now, or not whole", () =>
    Effect.gen(function* () {
      const client = nobody((yield* SharedServer).client)
      const now = Math.floor(Date.now() / 1_000)
      const get = (headers: Readonly<Record<string, string>>) =>
        Effect.map(client.get("/internal/cache", headers), reasonOf)
      const refused = (reason: string) => [401, "invalid-signature", reason]
      const stranger = `whsec_${Buffer.alloc(32, 9).toString("base64")}`
      assert.deepStrictEqual(yield* get(signature("", { secret: stranger })), refused("no_match"))
      assert.deepStrictEqual(yield* get(signature("", { signed: "{}" })), refused("no_match"))
      assert.deepStrictEqual(yield* get(signature("", { timestamp: now - 310 })), refused("too_old"))
      assert.deepStrictEqual(yield* get(signature("", { timestamp: now + 310 })), refused("too_new"))
      const { "webhook-id": _, ...rest } = signature("")
      assert.deepStrictEqual(yield* get(rest), refused("missing_header"))
      assert.deepStrictEqual(
        yield* get({ ...signature(""), "webhook-signature": "nonsense" }),
        refused("malformed_signature"),
      )
      // Whoever signs badly is not let in by what else the request brings.
      const admin = (yield* SharedServer).client
      const both = yield* admin.get("/internal/cache", signature("", { secret: stranger }))
      assert.strictEqual(both.problem, "invalid-signature")
      assert.strictEqual(both.headers.get("www-authenticate"), 'Bearer realm="renderowl"')
    }),
  )

  it.effect("within five minutes is taken once; what failed may be sent again", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const client = nobody(admin)
      const early = { timestamp: Math.floor(Date.now() / 1_000) - 290 }
      const headers = signature("", early)
      const get = client.get("/internal/cache", headers)
      assert.strictEqual((yield* get).status, 200)
      assert.deepStrictEqual(reasonOf(yield* get), [401, "invalid-signature", "replayed"])
      // The same id is the same message, wherever it is sent and whenever it was signed.
      const elsewhere = yield* send(client, "DELETE", "/internal/cache/tags/x", undefined, {
        id: headers["webhook-id"]!,
      })
      assert.deepStrictEqual(reasonOf(elsewhere), [401, "invalid-signature", "replayed"])

      const path = "/v1/renders/rnd_00000000000000000000000000/progress"
      for (let i = 0; i < 2; i++) {
        const failed = yield* send(client, "POST", path, { attempt: 1, percent: 1 }, { id: "msg_again" })
        assert.strictEqual(failed.problem, "render-not-found", failed.text)
      }
      const invalid = yield* send(client, "POST", path, { attempt: 0 }, { id: "msg_again" })
      assert.strictEqual(invalid.problem, "validation-failed")
    }),
  )

  it.effect("is verified over the bytes of its body, whatever they mean", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const id = yield* longRender(admin)
      const client = nobody(admin)
      const path = `/v1/renders/${id}/progress`
      const text = '{ "percent":5.00,\n "attempt": 1, "message": "zwölf 🦉" }'
      assert.strictEqual((yield* send(client, "POST", path, text)).status, 200)
      const reordered = '{"attempt":1,"percent":5,"message":"zwölf 🦉"}'
      const tampered = yield* send(client, "POST", path, text, { signed: reordered })
      assert.deepStrictEqual(reasonOf(tampered), [401, "invalid-signature", "no_match"])
      const large = yield* client.request("POST", path, {
        headers: signature("x"),
        body: "x".repeat(10_000_001),
      })
      assert.strictEqual(large.problem, "payload-too-large")
      yield* admin.post(`/v1/renders/${id}/cancel`)
    }),
  )

  it.effect("tells how far a render has come, to whoever looks and to whoever follows it", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const client = nobody(admin)
      const id = yield* longRender(admin)
      const path = `/v1/renders/${id}/progress`
      const told = { percent: 99.9, current_frame: 1799, total_frames: 1800 }
      const isTold = (progress: Render["progress"] | Record<string, unknown>) => progress["percent"] === 99.9
      const following = yield* Effect.forkChild(
        admin.follow(`/v1/renders/${id}/events`, {
          until: ({ data, event }) => event === "progress" && isTold(data),
        }),
      )
      // The renderer of this process tells its own progress as well: until ours was seen.
      let shown: Render["progress"] | undefined
      while (following.pollUnsafe() === undefined || shown === undefined) {
        const answer = yield* send(client, "POST", path, { attempt: 1, message: "far", ...told })
        assert.strictEqual(answer.status, 200, answer.text)
        const { progress } = (yield* admin.get(`/v1/renders/${id}`)).json<Render>()
        if (isTold(progress)) shown = progress
      }
      assert.deepStrictEqual(shown, { ...told, estimated_remaining_sec: null })
      const { ended, events } = yield* Fiber.join(following)
      assert.isFalse(ended)
      assert.deepStrictEqual(events.at(-1)!.data, { ...told, estimated_remaining_sec: null })
      yield* admin.post(`/v1/renders/${id}/cancel`)
    }),
  )

  it.effect("with the number of an attempt that does not run is stale, and changes nothing", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const client = nobody(admin)
      const id = yield* longRender(admin)
      const path = `/v1/renders/${id}/progress`
      const other = yield* send(client, "POST", path, { attempt: 2, percent: 50 })
      assert.deepStrictEqual([other.status, other.problem], [409, "stale-lease"])
      yield* admin.post(`/v1/renders/${id}/cancel`)
      const late = yield* send(client, "POST", path, { attempt: 1, percent: 99 })
      assert.deepStrictEqual([late.status, late.problem], [409, "stale-lease"])
      const render = (yield* admin.get(`/v1/renders/${id}`)).json<Render>()
      assert.strictEqual(render.status, "cancelled")
      assert.notStrictEqual(render.progress.percent, 99)
    }),
  )

  it.effect("is needed for the progress of a render: no key will do", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const path = "/v1/renders/rnd_00000000000000000000000000/progress"
      const answer = yield* admin.post(path, { attempt: 1, percent: 5 })
      assert.deepStrictEqual([answer.status, answer.problem], [401, "unauthorized"])
    }),
  )

  it.effect("is in the audit trail as that of an internal caller", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const client = nobody(admin)
      const id = yield* longRender(admin)
      const path = `/v1/renders/${id}/progress`
      const stream = id.replace("rnd_", "job_")
      // Journaled once a second, and not while the renderer of this process has just told its own.
      let entries: ReadonlyArray<Record<string, unknown>> = []
      while (entries.length === 0) {
        yield* send(client, "POST", path, { attempt: 1, percent: 1 })
        const trail = yield* admin.get(`/v1/audit?stream=${stream}&principal=internal:signature`)
        entries = trail.json<{ data: ReadonlyArray<Record<string, unknown>> }>().data
      }
      assert.strictEqual(entries[0]!["type"], "JobProgressed")
      assert.match(String(entries[0]!["request_id"]), /^req_/)
      yield* admin.post(`/v1/renders/${id}/cancel`)
    }),
  )

  it.effect("shows in OpenAPI as a way to be recognised", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const document = (yield* client.get("/openapi.json")).json<{
        readonly components: { readonly securitySchemes: Record<string, Record<string, string>> }
        readonly paths: Record<string, Record<string, { readonly security: ReadonlyArray<object> }>>
      }>()
      assert.deepInclude(document.components.securitySchemes["signature"], {
        type: "apiKey",
        in: "header",
        name: "webhook-signature",
      })
      assert.deepStrictEqual(document.paths["/internal/cache"]!["get"]!.security.flatMap(Object.keys), [
        "signature",
        "bearer",
        "apiKey",
      ])
      assert.deepStrictEqual(document.paths["/v1/renders/{id}/progress"]!["post"]!.security, [
        { signature: ["renders:write"] },
      ])
    }),
  )
})

// With a tier whose share comes back slowly: nobody gets a new one while the test looks.
const slowShare = { INTERNAL_SECRET: SECRET, ANONYMOUS_TIER: "free" }
layer(SharedServer.layer(slowShare), { excludeTestServices: true })("signatures that are refused", (it) => {
  it.effect("are counted by where they come from; those that are good go on", () =>
    Effect.gen(function* () {
      const client = nobody((yield* SharedServer).client)
      const guess = send(client, "GET", "/internal/cache", undefined, { secret: OTHER_SECRET })
      let answer = yield* guess
      while (answer.status === 401) answer = yield* guess
      assert.deepStrictEqual([answer.status, answer.problem], [429, "rate-limit-exceeded"])
      const unsigned = yield* client.post("/v1/renders/rnd_00000000000000000000000000/progress", {})
      assert.strictEqual(unsigned.status, 429)
      for (let i = 0; i < 20; i++)
        assert.strictEqual((yield* send(client, "GET", "/internal/cache")).status, 200)
    }),
  )
})

layer(SharedServer.layer(), { excludeTestServices: true })("without INTERNAL_SECRET", (it) => {
  it.effect("nobody can sign, and calls from this machine need credentials", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* SharedServer
      const client = nobody(admin)
      assert.deepStrictEqual(reasonOf(yield* send(client, "GET", "/internal/cache")), [
        401,
        "invalid-signature",
        "no_match",
      ])
      assert.strictEqual((yield* client.get("/internal/cache")).problem, "unauthorized")
      assert.strictEqual((yield* admin.get("/internal/cache")).status, 200)
    }),
  )
})

layer(SharedServer.layer({ INTERNAL_LOOPBACK: "open", ANONYMOUS_TIER: "enterprise" }), {
  excludeTestServices: true,
})("with INTERNAL_LOOPBACK=open", (it) => {
  it.effect("calls from this machine need no credentials, and those that have some need good ones", () =>
    Effect.gen(function* () {
      const client = nobody((yield* SharedServer).client)
      assert.strictEqual((yield* client.get("/internal/cache")).status, 200)
      assert.strictEqual((yield* client.request("DELETE", "/internal/cache/tags/x")).status, 200)
      const wrong = yield* new Client(client.url, "ro_live_wrong").get("/internal/cache")
      assert.strictEqual(wrong.problem, "invalid-api-key")
      // Only what is internal.
      assert.strictEqual((yield* client.get("/v1/projects")).problem, "unauthorized")
    }),
  )

  it.effect("what comes by way of a proxy, or from a page in a browser, is not from this machine", () =>
    Effect.gen(function* () {
      const client = nobody((yield* SharedServer).client)
      for (const headers of [
        { "x-forwarded-for": "203.0.113.7" },
        { "x-forwarded-for": "127.0.0.1" },
        { forwarded: "for=203.0.113.7" },
        { "x-real-ip": "203.0.113.7" },
        { via: "1.1 proxy" },
        { "x-forwarded-proto": "https" },
        { origin: "http://localhost:8000" },
      ]) {
        const answer = yield* client.get("/internal/cache", headers as Record<string, string>)
        assert.deepStrictEqual(
          [answer.status, answer.problem],
          [401, "unauthorized"],
          JSON.stringify(headers),
        )
      }
      // A page whose own name stands for this machine.
      const request = "GET /internal/cache HTTP/1.1\r\nHost: rebound.example\r\nConnection: close\r\n\r\n"
      const rebound = yield* exchange(Number(new URL(client.url).port), request)
      assert.strictEqual(rebound.status, 401)
    }),
  )

  it.effect("nor does a batch make one of what was forwarded", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const reader = yield* client.post("/v1/api-keys", { name: "some", scopes: ["jobs:read"] })
      const caller = new Client(client.url, reader.json<{ key: string }>().key)
      const requests = [{ method: "GET", path: "/internal/cache" }]
      for (const headers of [{}, { "x-forwarded-for": "203.0.113.7" }]) {
        const answer = yield* caller.post("/v1/batch", { requests }, headers as Record<string, string>)
        const { responses } = answer.json<{ responses: ReadonlyArray<{ status: number }> }>()
        assert.strictEqual(responses[0]!.status, 403)
      }
    }),
  )
})
