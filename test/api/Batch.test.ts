import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Client } from "../support/Client.ts"
import { startFresh } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

interface Item {
  readonly id: string
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: Readonly<Record<string, unknown>>
}

type Request = Readonly<Record<string, unknown>>

const batch = Effect.fnUntraced(function* (
  client: Client,
  requests: ReadonlyArray<Request>,
  headers: Readonly<Record<string, string>> = {},
) {
  const answer = yield* client.post("/v1/batch", { requests }, headers)
  assert.strictEqual(answer.status, 207, answer.text)
  return answer.json<{ responses: ReadonlyArray<Item> }>().responses
})

const slugOf = ({ body, headers }: Item): string | undefined =>
  headers["content-type"] === "application/problem+json" ? String(body["type"]).split("/").at(-1) : undefined

const get = (path: string, more: Request = {}): Request => ({ method: "GET", path, ...more })
const post = (path: string, body: unknown, more: Request = {}): Request => ({
  method: "POST",
  path,
  body,
  ...more,
})
const echo = (payload: unknown) => post("/v1/jobs", { type: "system:echo", payload })

const createKey = Effect.fnUntraced(function* (client: Client, scopes: ReadonlyArray<string>) {
  const made = yield* client.post("/v1/api-keys", { name: "some", scopes })
  return made.json<{ key: string }>().key
})

layer(SharedServer.layer())("a batch", (it) => {
  it.effect(
    "answers each request in the order in which they were given, whatever becomes of the others",
    () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        const items = yield* batch(client, [
          post("/v1/projects", { name: "one" }, { id: "make" }),
          get("/v1/projects/proj_nothing"),
          get("/v1/nowhere"),
          { method: "DELETE", path: "/v1/compositions" },
          post("/v1/projects", { name: "" }),
          get("/v1/compositions", { id: "last" }),
        ])
        assert.deepStrictEqual(
          items.map(({ id, status }) => [id, status]),
          [
            ["make", 201],
            ["1", 400],
            ["2", 404],
            ["3", 405],
            ["4", 400],
            ["last", 200],
          ],
        )
        assert.deepStrictEqual(items.map(slugOf), [
          undefined,
          "invalid-id",
          "not-found",
          "method-not-allowed",
          "validation-failed",
          undefined,
        ])
        const made = items[0]!
        assert.strictEqual(made.headers["location"], `/v1/projects/${String(made.body["id"])}`)
        assert.strictEqual(made.headers["etag"], '"1"')
        assert.strictEqual(items[1]!.body["instance"], "/v1/projects/proj_nothing")
        assert.strictEqual(items[3]!.headers["allow"], "GET, HEAD, OPTIONS")
        const single = yield* client.get(`/v1/projects/${String(made.body["id"])}`)
        assert.strictEqual(single.json()["name"], "one")
      }),
  )

  it.effect("gives each request an id of its own, in the trace of the whole", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
      const answer = yield* client.post(
        "/v1/batch",
        { requests: [get("/v1/projects"), get("/v1/projects", { headers: { "X-Request-Id": "mine" } })] },
        { traceparent: `00-${trace}-00f067aa0ba902b7-01`, "x-request-id": "outer" },
      )
      const [first, second] = answer.json<{ responses: ReadonlyArray<Item> }>().responses
      assert.strictEqual(answer.headers.get("x-request-id"), "outer")
      assert.match(first!.headers["x-request-id"]!, /^req_/)
      assert.strictEqual(second!.headers["x-request-id"], "mine")
      for (const { headers } of [first!, second!]) {
        assert.strictEqual(headers["x-trace-id"], trace)
        assert.strictEqual(headers["x-parent-span-id"], answer.headers.get("x-span-id"))
        assert.notProperty(headers, "content-security-policy")
      }
    }),
  )

  it.effect("goes through conditions and the cache as a request alone does", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { id } = (yield* client.post("/v1/projects", { name: "seen" })).json<{ id: string }>()
      const path = `/v1/projects/${id}`
      const change = (headers?: Readonly<Record<string, string>>) => ({
        method: "PATCH",
        path,
        body: { name: "changed" },
        ...(headers === undefined ? {} : { headers }),
      })
      yield* batch(client, [get(path)])
      const [hit, same, blind, stale] = yield* batch(client, [
        get(path),
        get(path, { headers: { "if-none-match": '"1"' } }),
        change(),
        change({ "If-Match": '"9"' }),
      ])
      assert.strictEqual(hit!.headers["cache-status"], "RenderOwl; hit")
      assert.strictEqual(hit!.headers["etag"], '"1"')
      assert.deepStrictEqual([same!.status, same!.body], [304, null])
      assert.deepStrictEqual([blind!.status, slugOf(blind!)], [428, "precondition-required"])
      assert.deepStrictEqual([stale!.status, slugOf(stale!)], [412, "precondition-failed"])
      const [changed] = yield* batch(client, [change({ "If-Match": '"1"' })])
      assert.strictEqual(changed!.status, 200)
      assert.strictEqual((yield* client.get(path)).json()["name"], "changed")
    }),
  )

  it.effect("authorizes each request by itself, by the credentials of the whole or by its own", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const reader = yield* createKey(client, ["projects:read"])
      const writer = yield* createKey(client, ["projects:write"])
      const make = (headers?: Readonly<Record<string, string>>) =>
        post("/v1/projects", { name: "x" }, headers === undefined ? {} : { headers })
      const items = yield* batch(new Client(client.url, reader), [
        get("/v1/projects"),
        make(),
        make({ authorization: `Bearer ${writer}` }),
        make({ "X-API-Key": writer }),
        get("/v1/projects", { headers: { "x-api-key": "ro_live_wrong" } }),
        get("/internal/cache"),
      ])
      assert.deepStrictEqual(
        items.map(({ status }) => status),
        [200, 403, 201, 201, 401, 403],
      )
      assert.deepStrictEqual(items[1]!.body["required_scopes"], ["projects:write"])
      const anonymous = yield* new Client(client.url, undefined).post("/v1/batch", {
        requests: [get("/live")],
      })
      assert.strictEqual(anonymous.status, 401)
    }),
  )

  it.effect("is in the audit trail request by request", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const [made] = yield* batch(client, [post("/v1/projects", { name: "audited" })])
      const stream = String(made!.body["id"])
      const trail = yield* client.get(`/v1/audit?stream=${stream}`)
      const [entry] = trail.json<{ data: ReadonlyArray<Record<string, unknown>> }>().data
      assert.strictEqual(entry!["request_id"], made!.headers["x-request-id"])
      assert.strictEqual(entry!["trace_id"], made!.headers["x-trace-id"])
    }),
  )

  it.effect("holds no batch, and has what is live as it is now", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const job = (yield* client.post("/v1/jobs", { type: "system:echo" }, { prefer: "wait=10" })).json<{
        id: string
      }>()
      const inner = post("/v1/batch", { requests: [get("/live")] })
      const plain = post("/batch", { requests: [get("/live")] })
      const [nested, negotiated, events] = yield* batch(client, [
        inner,
        plain,
        get(`/v1/jobs/${job.id}/events`),
      ])
      assert.deepStrictEqual([nested!.status, slugOf(nested!)], [400, "invalid-request"])
      assert.deepStrictEqual([negotiated!.status, slugOf(negotiated!)], [400, "invalid-request"])
      assert.isArray(events!.body["data"])
    }),
  )

  it.effect("refuses what is wrong with itself before anything is done, and says all of it", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const refused = yield* client.post("/v1/batch", {
        requests: [
          post("/v1/projects", { name: "never" }),
          { method: "TRACE", path: "/v1/jobs" },
          get("http://elsewhere.example/"),
          get("//elsewhere.example/"),
          get("/v1/jobs", { headers: { cookie: "a=b", "X-Request-Id": "a\r\nb: c", "x-request-id": "d" } }),
          get("/v1/jobs", { body: {} }),
          get("/v1/jobs", { id: "0" }),
          get("/v1/jobs", { timeout: 1 }),
        ],
      })
      assert.strictEqual(refused.status, 400)
      assert.sameMembers(
        [...refused.fieldErrors],
        [
          "requests.1.method invalid_value",
          "requests.2.path invalid_format",
          "requests.3.path invalid_format",
          "requests.4.headers.cookie invalid_value",
          "requests.4.headers.X-Request-Id invalid_value",
          "requests.4.headers.x-request-id invalid_value",
          "requests.5.body invalid_value",
          "requests.7.timeout unknown_field",
        ],
      )
      const twice = yield* client.post("/v1/batch", { requests: [get("/live"), get("/live", { id: "0" })] })
      assert.deepStrictEqual(twice.fieldErrors, ["requests.1.id invalid_value"])
      for (const requests of [[], Array.from({ length: 21 }, () => get("/live"))]) {
        assert.deepStrictEqual((yield* client.post("/v1/batch", { requests })).fieldErrors, [
          "requests invalid_length",
        ])
      }
      const names = (yield* client.get("/v1/projects")).json<{ data: ReadonlyArray<{ name: string }> }>()
      assert.notInclude(
        names.data.map(({ name }) => name),
        "never",
      )
    }),
  )

  it.effect("leaves out an answer that is too large, and no other", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const submit = (length: number) =>
        Effect.map(
          client.post(
            "/v1/jobs",
            { type: "system:echo", payload: "x".repeat(length) },
            { prefer: "wait=10" },
          ),
          (answer) => answer.json<{ id: string }>().id,
        )
      const large = yield* submit(1_100_000)
      const small = yield* submit(1)
      const [refused, shown] = yield* batch(client, [get(`/v1/jobs/${large}`), get(`/v1/jobs/${small}`)])
      assert.deepStrictEqual([refused!.status, slugOf(refused!)], [500, "response-too-large"])
      assert.strictEqual(refused!.body["limit_bytes"], 1_000_000)
      assert.strictEqual(refused!.body["trace_id"], refused!.headers["x-trace-id"])
      assert.strictEqual(shown!.status, 200)
    }),
  )

  it.effect("waits for what its requests wait for, five of them at a time", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const wait = post(
        "/v1/jobs",
        { type: "system:sleep", payload: { ms: 300 } },
        {
          headers: { Prefer: "wait=10" },
        },
      )
      const items = yield* batch(
        client,
        Array.from({ length: 5 }, () => wait),
      )
      for (const { body, headers, status } of items) {
        assert.strictEqual(status, 200)
        assert.strictEqual(headers["preference-applied"], "wait=10")
        assert.strictEqual(body["status"], "completed")
      }
    }),
  )
})

describe("a batch on a server with few places", () => {
  it.live("does one after the other, and neither waits for ever nor takes more than there are", () =>
    Effect.gen(function* () {
      const { client } = yield* startFresh({ MAX_REQUESTS: "1" })
      const items = yield* batch(
        client,
        Array.from({ length: 20 }, (_, i) => echo(i)),
      )
      assert.deepStrictEqual(
        items.map(({ status }) => status),
        items.map(() => 202),
      )
      // All places were given back.
      assert.strictEqual((yield* client.get("/v1/projects")).status, 200)
    }),
  )
})

describe("a batch of somebody whose rate is limited", () => {
  it.live("counts each request, and refuses those that are too many and no others", () =>
    Effect.gen(function* () {
      const { client: admin } = yield* startFresh()
      const made = yield* admin.post("/v1/api-keys", {
        name: "some",
        scopes: ["projects:read"],
        tier: "free",
      })
      const client = new Client(admin.url, made.json<{ key: string }>().key)
      const requests = Array.from({ length: 20 }, () => get("/v1/projects"))
      let allowed = 0
      let refused: Item | undefined
      while (refused === undefined) {
        const items = yield* batch(client, requests)
        const fine = items.filter(({ status }) => status === 200)
        allowed += fine.length
        for (const { headers } of fine) assert.match(headers["ratelimit"]!, /;r=\d+;t=\d+$/)
        refused = items.find(({ status }) => status !== 200)
      }
      // Three batches have a part in it as well.
      assert.isAtLeast(allowed, 100)
      assert.strictEqual(slugOf(refused), "rate-limit-exceeded")
      assert.strictEqual(refused.headers["retry-after"], String(refused.body["retry_after"]))
    }),
  )
})
