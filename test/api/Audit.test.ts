import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { AuditEntryJson } from "../../src/api/v1/audit/Api.ts"
import { Client } from "../support/Client.ts"
import { SharedServer } from "../support/SharedServer.ts"

type Entry = typeof AuditEntryJson.Encoded
interface Page {
  readonly data: ReadonlyArray<Entry>
  readonly pagination: { readonly next_cursor: string | null; readonly has_more: boolean }
}

const audit = (client: Client, query: Readonly<Record<string, string>> = {}) =>
  Effect.map(client.get(`/v1/audit?${new URLSearchParams({ limit: "100", ...query })}`), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.json<Page>().data
  })

/** Somebody of its own, so that tests do not see each other. */
const actor = (client: Client) =>
  Effect.map(
    client.post("/v1/api-keys", { name: "actor", scopes: ["jobs:write", "jobs:read", "projects:write"] }),
    (answer) => {
      const { id, key } = answer.json<{ id: string; key: string }>()
      return { id, client: new Client(client.url, key) }
    },
  )

const idOf = (answer: { json: <A>() => A }) => answer.json<{ readonly id: string }>().id
const typesOf = (entries: ReadonlyArray<Entry>) => entries.map(({ type }) => type)

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("the audit trail", (it) => {
  it.effect("says who did what to what, when, and with which request", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const someone = yield* actor(client)
      const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
      const before = Date.now()
      const made = yield* someone.client.post(
        "/v1/projects",
        { name: "audited" },
        { "x-request-id": "request-1", traceparent },
      )
      const [entry] = yield* audit(client, { stream: idOf(made) })
      const { at, position, ...rest } = entry!
      assert.deepStrictEqual(rest, {
        principal: someone.id,
        type: "ProjectCreated",
        stream: idOf(made),
        version: 1,
        request_id: "request-1",
        trace_id: "0af7651916cd43dd8448eb211c80319c",
      })
      assert.isAtLeast(Date.parse(at), before)
      const events = yield* client.get(`/v1/events?after=${position - 1}&limit=1`)
      assert.strictEqual(
        events.json<{ data: ReadonlyArray<{ stream: string }> }>().data[0]!.stream,
        idOf(made),
      )
    }),
  )

  it.effect("has what callers asked for, and nothing of what workers did", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const someone = yield* actor(client)
      const job = idOf(
        yield* someone.client.post("/v1/jobs", { type: "system:echo", payload: 1 }, { prefer: "wait=10" }),
      )
      assert.deepStrictEqual(typesOf(yield* audit(client, { stream: job })), ["JobEnqueued"])
      const later = idOf(
        yield* someone.client.post("/v1/jobs", { type: "system:echo", payload: 1, delay_ms: 3_600_000 }),
      )
      yield* client.post(`/v1/jobs/${later}/cancel`)
      assert.deepStrictEqual(
        (yield* audit(client, { stream: later })).map(({ principal, type }) => [
          type,
          principal === someone.id,
        ]),
        [
          ["JobCancelled", false],
          ["JobEnqueued", true],
        ],
      )
      assert.deepStrictEqual(typesOf(yield* audit(client, { stream: later, principal: someone.id })), [
        "JobEnqueued",
      ])
      assert.deepStrictEqual(
        (yield* audit(client, { principal: someone.id })).map(({ stream }) => stream),
        [later, job],
      )
    }),
  )

  it.effect("keys leave their whole life in it", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { id } = yield* actor(client)
      yield* client.post(`/v1/api-keys/${id}/rotate`, {})
      yield* client.request("DELETE", `/v1/api-keys/${id}`)
      assert.deepStrictEqual(typesOf(yield* audit(client, { stream: id })), [
        "ApiKeyRevoked",
        "ApiKeyRotated",
        "ApiKeyCreated",
      ])
    }),
  )

  it.effect("is read in pages, each entry once, also those of one moment; and between two moments", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const someone = yield* actor(client)
      // A batch is one decision: all of its events have the same moment.
      const jobs = Array.from({ length: 5 }, () => ({ type: "system:echo", payload: 1, delay_ms: 3_600_000 }))
      yield* someone.client.post("/v1/jobs/batch", { jobs })
      yield* someone.client.post("/v1/projects", { name: "last" })
      for (const filter of [{ principal: someone.id }, {}] as ReadonlyArray<Record<string, string>>) {
        const whole = (yield* audit(client, filter)).slice(0, 6)
        assert.strictEqual(new Set(whole.map(({ position }) => position)).size, 6)
        assert.deepStrictEqual(
          whole.map(({ position }) => position),
          whole.map(({ position }) => position).toSorted((a, b) => b - a),
        )
        const paged: Array<Entry> = []
        let cursor: string | null = null
        for (let n = 0; n < 3; n++) {
          const query = new URLSearchParams({ ...filter, limit: "2", ...(cursor === null ? {} : { cursor }) })
          const page: Page = (yield* client.get(`/v1/audit?${query}`)).json<Page>()
          paged.push(...page.data)
          cursor = page.pagination.next_cursor
        }
        assert.deepStrictEqual(paged, whole)
      }

      const all = yield* audit(client, { principal: someone.id })
      const at = all[0]!.at
      const since = yield* audit(client, { principal: someone.id, after: at })
      const until = yield* audit(client, { principal: someone.id, before: at })
      assert.isTrue(since.length > 0 && since.every((entry) => entry.at >= at))
      assert.isTrue(until.every((entry) => entry.at < at))
      assert.deepStrictEqual([...since, ...until], all)
      assert.deepStrictEqual(yield* audit(client, { after: "2999-01-01T00:00:00Z" }), [])
    }),
  )

  it.effect("is for administrators, and takes no filter that it does not know", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const someone = yield* actor(client)
      assert.strictEqual((yield* someone.client.get("/v1/audit")).problem, "insufficient-scope")
      for (const query of ["after=yesterday", "principal=", "who=me", "limit=0", "cursor=x"])
        assert.strictEqual((yield* client.get(`/v1/audit?${query}`)).status, 400, query)
    }),
  )
})
