import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import type { CacheJson } from "../../src/api/internal/cache/Api.ts"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import type { Client } from "../support/Client.ts"
import { dataFolder, type Server, start } from "../support/ServerProcess.ts"

type Job = typeof JobJson.Encoded
type Project = { readonly id: string; readonly name: string; readonly version: number }

const HIT = "RenderOwl; hit"

const createProject = (client: Client, name: string) =>
  Effect.map(client.post("/v1/projects", { name }), (answer) => answer.json<Project>())

const rename = (client: Client, id: string, name: string, ifMatch = "*") =>
  client.request("PATCH", `/v1/projects/${id}`, { body: { name }, headers: { "if-match": ifMatch } })

const stats = (client: Client) =>
  Effect.map(client.get("/internal/cache"), (answer) => answer.json<typeof CacheJson.Encoded>())

const stop = (server: Server) => server.process.end("SIGTERM")

describe("cached answers of RenderOwl", () => {
  it.live("are never behind an acknowledged change, while many read and one writes", () =>
    Effect.gen(function* () {
      const { client } = yield* start({ dataDir: yield* dataFolder })
      const { id } = yield* createProject(client, "0")
      let acknowledged = 0
      const state = { done: false }
      let hits = 0
      const reader = (path: string, nameIn: (json: never) => string) =>
        Effect.gen(function* () {
          while (!state.done) {
            const least = acknowledged
            const answer = yield* client.get(path)
            if (answer.headers.get("cache-status") === HIT) hits++
            assert.isAtLeast(Number(nameIn(answer.json() as never)), least, path)
          }
        })
      const one = reader(`/v1/projects/${id}`, ({ name }: Project) => name)
      const list = reader("/v1/projects", ({ data }: { data: ReadonlyArray<Project> }) => data[0]!.name)
      const writer = Effect.gen(function* () {
        for (let i = 1; i <= 60; i++) {
          const answer = yield* rename(client, id, String(i))
          assert.strictEqual(answer.status, 200)
          acknowledged = i
          yield* Effect.sleep(i % 5)
        }
        state.done = true
      })
      yield* Effect.all([writer, one, one, one, list, list], { concurrency: "unbounded" })
      assert.isAbove(hits, 0)
      assert.isAbove((yield* stats(client)).invalidations, 10)
    }),
  )

  it.live("of a job: none before it has ended, one until it is redriven, and a 304 in between", () =>
    Effect.gen(function* () {
      const { client } = yield* start({ dataDir: yield* dataFolder })
      const waiting = (yield* client.post("/v1/jobs", {
        type: "system:echo",
        delay_ms: 3_600_000,
      })).json<Job>()
      const path = `/v1/jobs/${waiting.id}`
      const before = yield* client.get(path)
      assert.strictEqual(before.headers.get("etag"), 'W/"1-scheduled"')
      assert.isNull((yield* client.get(path)).headers.get("cache-status"))
      const weak = { "if-none-match": 'W/"1-scheduled"' }
      assert.strictEqual((yield* client.get(path, weak)).status, 304)
      yield* client.post(`${path}/prioritize`, { priority: "high" })
      assert.strictEqual((yield* client.get(path, weak)).status, 200)

      const failing = { type: "system:fail", payload: { times: 1 }, max_attempts: 1 }
      const dead = (yield* client.post("/v1/jobs", failing, { prefer: "wait=10" })).json<Job>()
      const strong = yield* client.get(`/v1/jobs/${dead.id}`)
      // What is behind the version is the coding in which it was sent.
      assert.match(strong.headers.get("etag")!, new RegExp(`^"${dead.version}(~\\w+)?"$`))
      const hit = yield* client.get(`/v1/jobs/${dead.id}`)
      assert.strictEqual(hit.headers.get("cache-status"), HIT)
      assert.strictEqual(hit.json<Job>().status, "dead_letter")
      const seen = { "if-none-match": strong.headers.get("etag")! }
      assert.strictEqual((yield* client.get(`/v1/jobs/${dead.id}`, seen)).status, 304)
      yield* client.post(`/v1/jobs/${dead.id}/retry`)
      assert.strictEqual((yield* client.get(`/v1/jobs/${dead.id}`, seen)).status, 200)
      yield* client.follow(`/v1/jobs/${dead.id}/events`)
      assert.strictEqual((yield* client.get(`/v1/jobs/${dead.id}`)).json<Job>().status, "completed")
    }),
  )

  it.live("outlive a restart, but not what happened in between, nor another journal", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const file = (name: string) => join(dataDir, name)
      const first = yield* start({ dataDir })
      const { id } = yield* createProject(first.client, "before")
      const other = yield* createProject(first.client, "other")
      for (const project of [id, other.id]) yield* first.client.get(`/v1/projects/${project}`)
      yield* stop(first)
      copyFileSync(file("cache.db"), file("cache.before"))
      copyFileSync(file("queue.db"), file("queue.before"))

      const second = yield* start({ dataDir })
      for (const project of [id, other.id]) {
        const answer = yield* second.client.get(`/v1/projects/${project}`)
        assert.strictEqual(answer.headers.get("cache-status"), HIT)
      }
      yield* rename(second.client, id, "after")
      yield* stop(second)

      // As if the cache had not been written before the end.
      copyFileSync(file("cache.before"), file("cache.db"))
      const third = yield* start({ dataDir })
      const fresh = yield* third.client.get(`/v1/projects/${id}`)
      assert.strictEqual(fresh.json<Project>().name, "after")
      const kept = yield* third.client.get(`/v1/projects/${other.id}`)
      assert.strictEqual(kept.headers.get("cache-status"), HIT)
      yield* stop(third)

      // A backup that is put back: what was kept is ahead of it.
      for (const suffix of ["", "-wal", "-shm"]) rmSync(file(`queue.db${suffix}`), { force: true })
      copyFileSync(file("queue.before"), file("queue.db"))
      const fourth = yield* start({ dataDir })
      const restored = yield* fourth.client.get(`/v1/projects/${id}`)
      assert.strictEqual(restored.json<Project>().name, "before")
      assert.isNull(restored.headers.get("cache-status"))
    }),
  )

  it.live("are done without when their file is no good, and the server starts and serves all the same", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const path = join(dataDir, "cache.db")
      const serves = Effect.fnUntraced(function* (expected: "in_use" | "bypassed") {
        const server = yield* start({ dataDir })
        const { id } = yield* createProject(server.client, "x")
        yield* server.client.get(`/v1/projects/${id}`)
        const hit = yield* server.client.get(`/v1/projects/${id}`)
        assert.strictEqual(hit.headers.get("cache-status"), HIT)
        assert.strictEqual((yield* rename(server.client, id, "y", '"1"')).status, 200)
        assert.strictEqual((yield* server.client.get(`/v1/projects/${id}`)).json<Project>().name, "y")
        assert.strictEqual((yield* stats(server.client)).file, expected)
        const { stdout } = yield* stop(server)
        return stdout
      })
      yield* serves("in_use")
      writeFileSync(path, Buffer.from("garbage".repeat(3_000)))
      assert.match(yield* serves("in_use"), /cache file is damaged/)
      assert.match(readFileSync(`${path}.damaged`, "utf8"), /^garbage/)
      const holder = new DatabaseSync(path)
      holder.exec("BEGIN EXCLUSIVE")
      assert.match(yield* serves("bypassed"), /done without/)
      holder.close()
      rmSync(path)
      yield* serves("in_use")
      assert.isTrue(existsSync(path))
    }),
  )

  it.live("are counted for operators, who can drop them by tag; nobody else can", () =>
    Effect.gen(function* () {
      const { client, url } = yield* start({ dataDir: yield* dataFolder })
      assert.strictEqual((yield* stats(client)).hit_rate, null)
      const { id } = yield* createProject(client, "x")
      for (let i = 0; i < 4; i++) yield* client.get(`/v1/projects/${id}`)
      const counted = yield* stats(client)
      assert.deepInclude(counted, { entries: 1, hits: 3, misses: 1, hit_rate: 0.75, evictions: 0 })
      assert.isAbove(counted.bytes, 200)
      assert.isAtMost(counted.bytes, counted.bytes_max)

      const dropped = yield* client.request("DELETE", `/internal/cache/tags/${id}`)
      assert.deepStrictEqual(dropped.json(), { removed: 1 })
      assert.deepStrictEqual((yield* client.request("DELETE", `/internal/cache/tags/${id}`)).json(), {
        removed: 0,
      })
      assert.isNull((yield* client.get(`/v1/projects/${id}`)).headers.get("cache-status"))
      for (const [method, path] of [
        ["GET", "/internal/cache"],
        ["DELETE", `/internal/cache/tags/${id}`],
      ] as const) {
        const response = yield* Effect.promise(() => fetch(url + path, { method }))
        assert.strictEqual(response.status, 401)
      }
      assert.strictEqual((yield* stats(client)).entries, 1)
    }),
  )

  it.live("a change needs to have seen what it changes", () =>
    Effect.gen(function* () {
      const { client } = yield* start({ dataDir: yield* dataFolder })
      const { id } = yield* createProject(client, "x")
      const path = `/v1/projects/${id}`
      for (const method of ["PATCH", "DELETE"]) {
        const body = method === "PATCH" ? { body: { name: "y" } } : {}
        const blind = yield* client.request(method, path, body)
        assert.strictEqual(blind.status, 428)
        assert.strictEqual(blind.problem, "precondition-required")
        const stale = yield* client.request(method, path, { ...body, headers: { "if-match": '"9", W/"1"' } })
        assert.strictEqual(stale.status, 412)
        assert.strictEqual(stale.json()["current_etag"], '"1"')
      }
      const changed = yield* rename(client, id, "y", '"9", "1"')
      assert.strictEqual(changed.headers.get("etag"), '"2"')
      const gone = yield* client.request("DELETE", path, { headers: { "if-match": '"2"' } })
      assert.strictEqual(gone.status, 204)
      const archived = (yield* client.get(path)).json<{ readonly archived: boolean }>()
      assert.isTrue(archived.archived)
    }),
  )
})
