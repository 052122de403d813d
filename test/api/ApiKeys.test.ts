import { assert, it as test, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { ApiKeyJson, IssuedApiKeyJson } from "../../src/api/v1/api-keys/Api.ts"
import { Client } from "../support/Client.ts"
import { adminKey, dataFolder, journalHead, look, run, start } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

type ApiKey = typeof ApiKeyJson.Encoded
type Issued = typeof IssuedApiKeyJson.Encoded
interface Page {
  readonly data: ReadonlyArray<ApiKey>
  readonly pagination: { readonly next_cursor: string | null; readonly has_more: boolean }
}

const HOUR_MS = 3_600_000
const later = (ms: number) => new Date(Date.now() + ms).toISOString()
const OWNER = "user_01k8w3e5r7fm2vx9q4ztd6yhbn"
const OTHER_OWNER = "user_01k8w3e5r7fm2vx9q4ztd6yhbp"
const UNKNOWN = "key_01k8w3e5r7fm2vx9q4ztd6yhbn"

const create = (client: Client, wanted: object) =>
  Effect.map(client.post("/v1/api-keys", { name: "test", ...wanted }), (answer) => {
    assert.strictEqual(answer.status, 201, answer.text)
    return answer.json<Issued>()
  })

/** A client of a new key. */
const holder = (client: Client, wanted: object) =>
  Effect.map(create(client, wanted), ({ id, key }) => ({ id, key, client: new Client(client.url, key) }))

const projects = (client: Client, headers: Readonly<Record<string, string>> = {}) =>
  client.get("/v1/projects", headers)

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 30_000 })("API keys", (it) => {
  it.effect("a new key is shown once, opens what its scopes say, and is nowhere in the database", () =>
    Effect.gen(function* () {
      const { client, dataDir, url } = yield* SharedServer
      const expires_at = later(HOUR_MS)
      const answer = yield* client.post("/v1/api-keys", {
        name: "reader",
        scopes: ["projects:read"],
        tier: "starter",
        owner: OWNER,
        expires_at,
      })
      assert.strictEqual(answer.status, 201, answer.text)
      assert.strictEqual(answer.headers.get("cache-control"), "no-store")
      const { key, ...shown } = answer.json<Issued>()
      assert.strictEqual(answer.headers.get("location"), `/v1/api-keys/${shown.id}`)
      assert.match(key, /^ro_live_[0-9A-Za-z]{36}$/)
      assert.deepInclude(shown, {
        name: "reader",
        prefix: key.slice(0, 14),
        status: "active",
        owner: OWNER,
        scopes: ["projects:read"],
        tier: "starter",
        expires_at,
        allowed_ips: [],
        allowed_origins: [],
        rotated_at: null,
        previous_valid_until: null,
        last_used_at: null,
      })
      assert.deepStrictEqual((yield* client.get(`/v1/api-keys/${shown.id}`)).json<ApiKey>(), shown)

      const reader = new Client(url, key)
      assert.strictEqual((yield* projects(reader)).status, 200)
      const refused = yield* reader.post("/v1/projects", { name: "no" })
      assert.strictEqual(refused.status, 403)
      assert.strictEqual(refused.problem, "insufficient-scope")
      assert.deepInclude(refused.json<object>(), {
        required_scopes: ["projects:write"],
        your_scopes: ["projects:read"],
      })

      const stored = look(dataDir, (database) =>
        ["events", "api_keys", "issued_keys", "api_key_uses", "snapshots"]
          .flatMap((table) => database.prepare(`SELECT * FROM ${table}`).all())
          .map((row) => JSON.stringify(row))
          .join("\n"),
      )
      assert.include(stored, shown.id)
      assert.notInclude(stored, key)
      assert.notInclude(stored, key.slice(14, -6))
    }),
  )

  it.effect("its last use is shown to the minute, and costs no event", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const used = yield* holder(client, { scopes: ["projects:read"] })
      const head = journalHead(dataDir)
      for (let n = 0; n < 3; n++) yield* projects(used.client)
      const { last_used_at } = (yield* client.get(`/v1/api-keys/${used.id}`)).json<ApiKey>()
      assert.match(last_used_at!, /:00\.000Z$/)
      assert.closeTo(Date.parse(last_used_at!), Date.now(), 120_000)
      assert.strictEqual(journalHead(dataDir), head)
    }),
  )

  it.effect("what is left out is as the caller's own", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const limits = {
        tier: "creator" as const,
        owner: OWNER,
        expires_at: later(HOUR_MS),
        allowed_ips: ["127.0.0.0/8"],
      }
      const parent = yield* holder(client, { scopes: ["keys:write", "jobs:read"], ...limits })
      assert.deepInclude(yield* create(parent.client, { scopes: ["jobs:read"] }), limits)
    }),
  )

  it.effect("nobody gives what it does not hold", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const own = {
        scopes: ["keys:write", "jobs:read", "projects:read"],
        tier: "creator",
        owner: OWNER,
        expires_at: later(HOUR_MS),
        allowed_ips: ["127.0.0.0/8", "10.1.0.0/16"],
      }
      const parent = yield* holder(client, own)
      const head = journalHead(dataDir)
      const scopes = ["jobs:read"] as const
      const beyond: ReadonlyArray<readonly [object, string]> = [
        [{ scopes: ["admin"] }, "insufficient-scope"],
        [{ scopes: ["jobs:read", "jobs:write"] }, "insufficient-scope"],
        [{ scopes, tier: "pro" }, "forbidden"],
        [{ scopes, owner: OTHER_OWNER }, "forbidden"],
        [{ scopes, expires_at: null }, "forbidden"],
        [{ scopes, expires_at: later(2 * HOUR_MS) }, "forbidden"],
        [{ scopes, allowed_ips: [] }, "forbidden"],
        [{ scopes, allowed_ips: ["10.0.0.0/8"] }, "forbidden"],
        [{ scopes, allowed_ips: ["10.1.2.3", "::1"] }, "forbidden"],
      ]
      for (const [wanted, problem] of beyond) {
        const answer = yield* parent.client.post("/v1/api-keys", { name: "more", ...wanted })
        assert.strictEqual(answer.status, 403, JSON.stringify(wanted))
        assert.strictEqual(answer.problem, problem, JSON.stringify(wanted))
      }
      assert.strictEqual(journalHead(dataDir), head)
      const less = {
        scopes,
        tier: "free" as const,
        expires_at: later(HOUR_MS / 2),
        allowed_ips: ["10.1.2.3"],
      }
      assert.deepInclude(yield* create(parent.client, less), { ...less, allowed_ips: ["10.1.2.3/32"] })
      const admin = yield* holder(client, { scopes: ["admin"], expires_at: later(HOUR_MS) })
      yield* create(admin.client, { scopes: ["admin"], owner: OTHER_OWNER, expires_at: null })
    }),
  )

  it.effect("a key from a web origin stays within its origins", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const allowed_origins = ["https://a.example", "https://b.example"]
      const parent = yield* holder(client, { scopes: ["keys:write"], allowed_origins })
      const attempt = (origins: ReadonlyArray<string>) =>
        parent.client.post(
          "/v1/api-keys",
          { name: "child", scopes: ["keys:write"], allowed_origins: origins },
          { origin: "https://a.example" },
        )
      assert.strictEqual((yield* attempt(["https://b.example"])).status, 201)
      assert.strictEqual((yield* attempt([])).problem, "forbidden")
      assert.strictEqual((yield* attempt(["https://a.example", "https://c.example"])).problem, "forbidden")
    }),
  )

  it.effect(
    "others than administrators see and touch only keys of their owner that do no more than theirs",
    () =>
      Effect.gen(function* () {
        const { client, dataDir } = yield* SharedServer
        const owner = "user_01k8w3e5r7fm2vx9q4ztd6yhbq"
        const manager = yield* holder(client, { scopes: ["keys:write", "jobs:read"], owner })
        const mine = yield* create(client, { scopes: ["jobs:read"], owner })
        const stronger = yield* create(client, { scopes: ["admin"], owner })
        const foreign = yield* create(client, { scopes: ["jobs:read"], owner: OTHER_OWNER })
        const head = journalHead(dataDir)

        const seen = (yield* manager.client.get("/v1/api-keys?limit=100")).json<Page>().data
        assert.deepStrictEqual(
          seen.map(({ id }) => id),
          [stronger.id, mine.id, manager.id],
        )
        for (const [method, path] of [
          ["GET", ""],
          ["DELETE", ""],
          ["POST", "/rotate"],
        ] as const) {
          const body = method === "POST" ? { body: {} } : {}
          for (const id of [foreign.id, UNKNOWN]) {
            const answer = yield* manager.client.request(method, `/v1/api-keys/${id}${path}`, body)
            assert.strictEqual(answer.problem, "api-key-not-found")
          }
          if (method === "GET") continue
          const answer = yield* manager.client.request(method, `/v1/api-keys/${stronger.id}${path}`, body)
          assert.strictEqual(answer.problem, "insufficient-scope")
          assert.deepInclude(answer.json<object>(), { required_scopes: ["admin"] })
        }
        assert.strictEqual(journalHead(dataDir), head)
        assert.strictEqual((yield* manager.client.request("DELETE", `/v1/api-keys/${mine.id}`)).status, 204)
      }),
  )

  it.effect("the list leads through all keys, newest first, without revoked ones", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const owner = "user_01k8w3e5r7fm2vx9q4ztd6yhbr"
      const manager = yield* holder(client, { scopes: ["keys:write"], owner })
      const ids = [manager.id]
      for (let n = 0; n < 4; n++) ids.unshift((yield* create(manager.client, { scopes: ["keys:write"] })).id)
      const [revoked] = ids.splice(1, 1)
      yield* manager.client.request("DELETE", `/v1/api-keys/${revoked}`)
      const found: Array<string> = []
      for (let cursor: string | null = ""; cursor !== null;) {
        const query: string = cursor === "" ? "" : `&cursor=${cursor}`
        const page: Page = (yield* manager.client.get(`/v1/api-keys?limit=3${query}`)).json<Page>()
        found.push(...page.data.map(({ id }) => id))
        cursor = page.pagination.next_cursor
      }
      assert.deepStrictEqual(found, ids)
    }),
  )

  it.effect("a revoked key opens nothing from then on; revoking it again is no error", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const gone = yield* holder(client, { scopes: ["projects:read"] })
      assert.strictEqual((yield* projects(gone.client)).status, 200)
      for (let again = 0; again < 2; again++) {
        assert.strictEqual((yield* client.request("DELETE", `/v1/api-keys/${gone.id}`)).status, 204)
        const answer = yield* projects(gone.client)
        assert.strictEqual(answer.status, 401)
        assert.strictEqual(answer.problem, "invalid-api-key")
      }
      const shown = (yield* client.get(`/v1/api-keys/${gone.id}`)).json<ApiKey>()
      assert.strictEqual(shown.status, "revoked")
      const rotated = yield* client.post(`/v1/api-keys/${gone.id}/rotate`, {})
      assert.strictEqual(rotated.problem, "conflict")
    }),
  )

  it.effect("a key ends at its expiry", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const brief = yield* holder(client, { scopes: ["projects:read"], expires_at: later(1_500) })
      assert.strictEqual((yield* projects(brief.client)).status, 200)
      const ended: Effect.Effect<void> = Effect.gen(function* () {
        const answer = yield* projects(brief.client)
        if (answer.status === 200) return yield* Effect.andThen(Effect.sleep("50 millis"), ended)
        assert.strictEqual(answer.problem, "invalid-api-key")
      })
      yield* ended
      assert.strictEqual((yield* client.get(`/v1/api-keys/${brief.id}`)).json<ApiKey>().status, "expired")
      assert.strictEqual((yield* client.post(`/v1/api-keys/${brief.id}/rotate`, {})).problem, "conflict")
    }),
  )

  it.effect("after a rotation both secrets open for the overlap; a third ends the first", () =>
    Effect.gen(function* () {
      const { client, url } = yield* SharedServer
      const first = yield* holder(client, { scopes: ["projects:read"] })
      const rotate = (body: object) =>
        Effect.map(client.post(`/v1/api-keys/${first.id}/rotate`, body), (answer) => {
          assert.strictEqual(answer.status, 200, answer.text)
          assert.strictEqual(answer.headers.get("cache-control"), "no-store")
          const issued = answer.json<Issued>()
          assert.strictEqual(issued.id, first.id)
          return { issued, client: new Client(url, issued.key) }
        })
      const statuses = (...clients: ReadonlyArray<Client>) =>
        Effect.forEach(clients, (client) => Effect.map(projects(client), ({ status }) => status))

      const second = yield* rotate({})
      assert.strictEqual(second.issued.prefix, second.issued.key.slice(0, 14))
      assert.closeTo(Date.parse(second.issued.previous_valid_until!), Date.now() + 24 * HOUR_MS, 60_000)
      assert.deepStrictEqual(yield* statuses(first.client, second.client), [200, 200])
      const third = yield* rotate({ overlap_seconds: 3_600 })
      assert.deepStrictEqual(yield* statuses(first.client, second.client, third.client), [401, 200, 200])
      const fourth = yield* rotate({ overlap_seconds: 0 })
      assert.isNull(fourth.issued.previous_valid_until)
      assert.deepStrictEqual(yield* statuses(second.client, third.client, fourth.client), [401, 401, 200])
      yield* client.request("DELETE", `/v1/api-keys/${first.id}`)
      assert.deepStrictEqual(yield* statuses(third.client, fourth.client), [401, 401])
    }),
  )

  it.effect("a key for other networks is refused, also by those who know it", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const scopes = ["projects:read"]
      const here = yield* holder(client, { scopes, allowed_ips: ["192.0.2.0/24", "127.0.0.1"] })
      assert.strictEqual((yield* projects(here.client)).status, 200)
      const elsewhere = yield* holder(client, { scopes, allowed_ips: ["192.0.2.0/24", "2001:db8::/32"] })
      const spoofed = { "x-forwarded-for": "192.0.2.1", forwarded: "for=192.0.2.1", "x-real-ip": "192.0.2.1" }
      for (const headers of [{}, spoofed]) {
        const answer = yield* projects(elsewhere.client, headers)
        assert.strictEqual(answer.status, 403)
        assert.strictEqual(answer.problem, "ip-restricted")
      }
    }),
  )

  it.effect("a key for web origins is refused to others, and where no origin is said", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const web = yield* holder(client, {
        scopes: ["projects:read"],
        allowed_origins: ["https://app.example.com", "http://localhost:3000"],
      })
      for (const [origin, status] of [
        ["https://app.example.com", 200],
        ["http://localhost:3000", 200],
        ["http://app.example.com", 403],
        ["https://app.example.com:8443", 403],
        ["https://app.example.com.evil.example", 403],
        ["https://evil.example/https://app.example.com", 403],
        ["null", 403],
        [undefined, 403],
      ] as const) {
        const answer = yield* projects(web.client, origin === undefined ? {} : { origin })
        assert.strictEqual(answer.status, status, String(origin))
        if (status === 403) assert.strictEqual(answer.problem, "origin-restricted")
      }
    }),
  )

  it.effect("what cannot be is refused field by field, and nothing of it is stored", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const head = journalHead(dataDir)
      const scopes = ["jobs:read"]
      const bad: ReadonlyArray<readonly [object, ReadonlyArray<string>]> = [
        [{ scopes, name: "" }, ["name invalid_length"]],
        [{ scopes: [] }, ["scopes invalid_length"]],
        [{ scopes: ["jobs:everything"] }, ["scopes.0 invalid_value"]],
        [{ scopes: ["jobs:read", "jobs:read"] }, ["scopes invalid_length"]],
        [{ scopes, tier: "gold" }, ["tier invalid_value"]],
        [{ scopes, owner: "key_01k8w3e5r7fm2vx9q4ztd6yhbn" }, ["owner invalid_format"]],
        [{ scopes, expires_at: "2999-01-01" }, ["expires_at invalid_format"]],
        [{ scopes, expires_at: "2020-01-01T00:00:00Z" }, ["expires_at out_of_range"]],
        [{ scopes, allowed_ips: ["10.0.0.1/8"] }, ["allowed_ips.0 invalid_value"]],
        [{ scopes, allowed_ips: ["10.0.0.0/33"] }, ["allowed_ips.0 invalid_value"]],
        [{ scopes, allowed_ips: ["::ffff:10.0.0.0/104"] }, ["allowed_ips.0 invalid_value"]],
        [{ scopes, allowed_ips: ["0x0a.0.0.1"] }, ["allowed_ips.0 invalid_value"]],
        [
          { scopes, allowed_ips: Array.from({ length: 33 }, (_, n) => `10.0.0.${n}`) },
          ["allowed_ips invalid_length"],
        ],
        [{ scopes, allowed_origins: ["https://a.example/"] }, ["allowed_origins.0 invalid_value"]],
        [{ scopes, allowed_origins: ["https://A.example"] }, ["allowed_origins.0 invalid_value"]],
        [{ scopes, allowed_origins: ["https://a.example:443"] }, ["allowed_origins.0 invalid_value"]],
        [{ scopes, allowed_origins: ["*"] }, ["allowed_origins.0 invalid_value"]],
        [{ scopes, hash: "0".repeat(64) }, ["hash unknown_field"]],
      ]
      for (const [wanted, errors] of bad) {
        const answer = yield* client.post("/v1/api-keys", { name: "bad", ...wanted })
        assert.strictEqual(answer.problem, "validation-failed", answer.text)
        assert.deepStrictEqual(answer.fieldErrors, errors, JSON.stringify(wanted))
      }
      const { id } = yield* create(client, { scopes })
      for (const overlap_seconds of [-1, 2_592_001, 0.5]) {
        const answer = yield* client.post(`/v1/api-keys/${id}/rotate`, { overlap_seconds })
        assert.strictEqual(answer.problem, "validation-failed")
      }
      assert.strictEqual(journalHead(dataDir), head + 1)
    }),
  )
})

test.live("keys, secrets and uses outlive a restart; the last administrator gets in again by one", () =>
  Effect.gen(function* () {
    const dataDir = yield* dataFolder
    const before = yield* start({ dataDir })
    const first = yield* holder(before.client, { scopes: ["projects:read"], allowed_ips: ["127.0.0.1"] })
    yield* projects(first.client)
    const rotated = (yield* before.client.post(`/v1/api-keys/${first.id}/rotate`, {})).json<Issued>()
    const old = adminKey(dataDir)
    const { data } = (yield* before.client.get("/v1/api-keys")).json<Page>()
    const admin = data.find(({ scopes }) => scopes.includes("admin"))!
    assert.strictEqual((yield* before.client.request("DELETE", `/v1/api-keys/${admin.id}`)).status, 204)
    assert.strictEqual((yield* projects(before.client)).status, 401)
    assert.strictEqual((yield* before.process.end("SIGTERM")).code, 0)

    const after = yield* start({ dataDir })
    // The key in the file was revoked: it does not come back.
    assert.notStrictEqual(adminKey(dataDir), old)
    assert.strictEqual((yield* projects(new Client(after.url, old))).status, 401)
    for (const key of [first.key, rotated.key])
      assert.strictEqual((yield* projects(new Client(after.url, key))).status, 200)
    yield* after.process.end("SIGTERM")

    const last = yield* start({ dataDir })
    const shown = (yield* last.client.get(`/v1/api-keys/${first.id}`)).json<ApiKey>()
    assert.isNotNull(shown.last_used_at)
    yield* last.process.end("SIGTERM")
    const { code, stdout } = yield* run(["db", "verify"], { dataDir })
    assert.strictEqual(code, 0, stdout)
  }),
)
