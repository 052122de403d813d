import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import type { RateLimitsJson, ViolationJson } from "../../src/api/internal/rate-limits/Api.ts"
import { documentOf } from "../contract/Document.ts"
import { Client } from "../support/Client.ts"
import { dataFolder, type Server, start, startFresh } from "../support/ServerProcess.ts"

type Violation = typeof ViolationJson.Encoded

interface Page {
  readonly data: ReadonlyArray<Violation>
  readonly pagination: { readonly next_cursor: string | null; readonly has_more: boolean }
}

const STRICT = { ANONYMOUS_TIER: "free" }
/** Of the share of anonymous callers; what refills during a test is one each six seconds. */
const ANONYMOUS = 10

const anybody = ({ url }: Server) => new Client(url, undefined)

/** How many of `most` requests were answered, and not refused as too many. */
const answered = Effect.fnUntraced(function* (
  client: Client,
  path: string,
  most: number,
  headers: Readonly<Record<string, string>> = {},
) {
  let count = 0
  for (let n = 0; n < most; n++) if ((yield* client.get(path, headers)).status !== 429) count++
  return count
})

/** Asks until there is no more: a request may find the one that has just refilled. */
const untilRefused = Effect.fnUntraced(function* (client: Client, path: string) {
  for (;;) {
    const answer = yield* client.get(path)
    if (answer.status === 429) return answer
  }
})

const violations = ({ client }: Server, query = "") =>
  Effect.map(client.get(`/internal/rate-limits/violations${query}`), (answer) => answer.json<Page>())

const newKey = Effect.fnUntraced(function* (server: Server, wanted: object = {}) {
  const answer = yield* server.client.post("/v1/api-keys", {
    name: "limited",
    scopes: ["projects:read"],
    tier: "free",
    ...wanted,
  })
  const { id, key } = answer.json<{ readonly id: string; readonly key: string }>()
  return { id, client: new Client(server.url, key) }
})

describe("rate limits of RenderOwl", () => {
  it.live("hold for keys and for anonymous callers; probes, pages and administrators go on", () =>
    Effect.gen(function* () {
      const server = yield* startFresh(STRICT)
      const nobody = anybody(server)
      const { client, id } = yield* newKey(server)
      assert.isAtLeast(yield* answered(nobody, "/v1/projects", 30), ANONYMOUS)
      assert.strictEqual((yield* untilRefused(nobody, "/v1/jobs")).problem, "rate-limit-exceeded")
      assert.isBelow(yield* answered(client, "/v1/projects", 200), 200)
      for (const path of ["/live", "/ready", "/health", "/openapi.json", "/errors", "/errors/gone"])
        assert.strictEqual(yield* answered(nobody, path, 50), 50, path)
      assert.strictEqual((yield* nobody.get("/docs")).status, 200)
      assert.strictEqual(yield* answered(server.client, "/v1/projects", 200), 200)

      const { data } = yield* violations(server)
      const found = data.find(({ caller }) => caller === id)!
      assert.deepInclude(found, { kind: "api_key", policy: "free-key", route: "GET /v1/projects" })
      assert.isAbove(found.count, 0)
      assert.isAtMost(Date.parse(found.first_at), Date.parse(found.last_at))
      assert.deepStrictEqual(
        data.filter(({ kind }) => kind === "address").map(({ caller, route }) => `${caller} ${route}`),
        ["127.0.0.1 GET /v1/jobs", "127.0.0.1 GET /v1/projects"],
      )
      const counts = (yield* server.client.get("/internal/rate-limits")).json<typeof RateLimitsJson.Encoded>()
      assert.deepInclude(counts, { refused: data.reduce((sum, { count }) => sum + count, 0), file: "in_use" })
    }),
  )

  it.live("are reported page by page, to administrators alone", () =>
    Effect.gen(function* () {
      const server = yield* startFresh(STRICT)
      const nobody = anybody(server)
      for (const path of ["/v1/projects", "/v1/jobs", "/v1/queues", "/v1/audit"])
        yield* untilRefused(nobody, path)
      const seen: Array<string> = []
      let query = "?limit=3"
      for (;;) {
        const { data, pagination } = yield* violations(server, query)
        seen.push(...data.map(({ route }) => route))
        if (!pagination.has_more) break
        query = `?limit=3&cursor=${pagination.next_cursor}`
      }
      assert.deepStrictEqual(seen, ["GET /v1/audit", "GET /v1/queues", "GET /v1/jobs", "GET /v1/projects"])
      const path = "/internal/rate-limits/violations"
      assert.strictEqual((yield* server.client.get(`${path}?cursor=made-up`)).problem, "invalid-request")
      const { client } = yield* newKey(server)
      for (const each of [path, "/internal/rate-limits"])
        assert.strictEqual((yield* client.get(each)).problem, "insufficient-scope")
    }),
  )

  it.live("are not forgotten over a restart", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const before = yield* start({ dataDir, env: STRICT })
      yield* answered(anybody(before), "/v1/projects", 30)
      yield* before.process.end("SIGTERM")
      const after = yield* start({ dataDir, env: STRICT })
      assert.isBelow(yield* answered(anybody(after), "/v1/projects", 15), ANONYMOUS)
      const [violation] = (yield* violations(after)).data
      assert.isAbove(violation!.count, 20)
    }),
  )

  it.live("hold without their file, and a broken one stops no start", () =>
    Effect.gen(function* () {
      for (const spoil of [
        (file: string) => writeFileSync(file, "no database ".repeat(2_000)),
        (file: string) => mkdirSync(file),
      ]) {
        const dataDir = yield* dataFolder
        spoil(join(dataDir, "rate-limits.db"))
        const server = yield* start({ dataDir, env: { ...STRICT, LOG_LEVEL: "error" } })
        assert.isBelow(yield* answered(anybody(server), "/v1/projects", 30), 30)
      }
    }),
  )

  it.live("can be switched off", () =>
    Effect.gen(function* () {
      const server = yield* startFresh({ ...STRICT, RATE_LIMITS: "off" })
      assert.strictEqual(yield* answered(anybody(server), "/v1/projects", 30), 30)
      assert.isNull((yield* server.client.get("/v1/projects")).headers.get("ratelimit"))
      assert.isEmpty((yield* violations(server)).data)
    }),
  )

  it.live("are part of the contract: every operation declares the refusal and its headers", () =>
    Effect.gen(function* () {
      const { client } = yield* startFresh()
      for (const { answers, name } of (yield* documentOf(client)).operations) {
        const refusal = answers.get(429)
        for (const header of ["retry-after", "ratelimit-policy", "ratelimit"]) {
          assert.isTrue(refusal?.headers.get(header)?.required, `${name} ${header}`)
        }
        const schema = refusal?.content.get("application/problem+json")
        assert.include(JSON.stringify(schema), "RateLimitExceededProblem", name)
      }
    }),
  )
})

describe("behind a proxy that is trusted", () => {
  const behind = (client: string) => ({ "x-forwarded-for": `203.0.113.66, ${client}` })

  it.live("each client has its own share, and keys for some networks know where they are used", () =>
    Effect.gen(function* () {
      const server = yield* startFresh({ ...STRICT, TRUSTED_PROXIES: "127.0.0.0/8, ::1" })
      const nobody = anybody(server)
      assert.isBelow(yield* answered(nobody, "/v1/projects", 20, behind("192.0.2.1")), 20)
      assert.strictEqual(yield* answered(nobody, "/v1/projects", ANONYMOUS, behind("192.0.2.2")), ANONYMOUS)
      assert.deepStrictEqual(
        (yield* violations(server)).data.map(({ caller }) => caller),
        ["192.0.2.1"],
      )
      const { client } = yield* newKey(server, { allowed_ips: ["198.51.100.0/24"] })
      assert.strictEqual((yield* client.get("/v1/projects", behind("198.51.100.7"))).status, 200)
      for (const headers of [{}, behind("198.51.101.7"), { "x-forwarded-for": "198.51.100.7, 192.0.2.9" }])
        assert.strictEqual((yield* client.get("/v1/projects", headers)).problem, "ip-restricted")
    }),
  )
})
