import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { randomBytes } from "node:crypto"
import { join } from "node:path"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import type { QueueJson } from "../../src/api/v1/queues/Api.ts"
import { ApiKey } from "../../src/domain/keys/ApiKey.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import * as ApiKeyFormat from "../../src/security/ApiKeyFormat.ts"
import type { Scope } from "../../src/security/Scope.ts"
import * as TypeId from "../../src/security/TypeId.ts"
import { Client } from "../support/Client.ts"
import { dataFolder, journalHead, start } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

type Job = typeof JobJson.Encoded
type QueueView = typeof QueueJson.Encoded

const HOUR_MS = 3_600_000
/** Far longer than any test: only a cancel ends it. */
const SLEEP = { type: "system:sleep", payload: { ms: HOUR_MS } }
const ECHO = { type: "system:echo", payload: "hello" }
const LATER = { ...ECHO, delay_ms: HOUR_MS }

const submit = (client: Client, job: object) =>
  Effect.map(client.post("/v1/jobs", job), (answer) => {
    assert.include([200, 202], answer.status, answer.text)
    return answer.json<Job>().id
  })

const statusOf = (client: Client, id: string) =>
  Effect.map(client.get(`/v1/jobs/${id}`), (answer) => answer.json<Job>().status)

const cancel = (client: Client, id: string) => client.post(`/v1/jobs/${id}/cancel`)

const started = (client: Client, id: string) =>
  client.follow(`/v1/jobs/${id}/events`, { until: ({ event }) => event === "JobStarted" })

const view = (client: Client, name: string) =>
  Effect.map(client.get(`/v1/queues/${name}`), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.json<QueueView>()
  })

const command = (client: Client, name: string, what: "pause" | "drain" | "resume") =>
  Effect.map(client.post(`/v1/queues/${name}/${what}`), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.json<QueueView>()
  })

/** What has happened to the queue itself. */
const historyOf = (client: Client, name: string) =>
  Effect.map(client.get("/v1/events?limit=1000"), (answer) =>
    answer
      .json<{ readonly data: ReadonlyArray<{ readonly stream: string; readonly type: string }> }>()
      .data.filter(({ stream }) => stream === `queue/${name}`)
      .map(({ type }) => type),
  )

const limit = (client: Client, name: string, limits: object) =>
  Effect.map(client.request("PUT", `/v1/queues/${name}`, { body: limits }), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.json<QueueView>()
  })

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("a queue", (it) => {
  it.effect("starts nothing while it is paused, and says so; resumed, it goes on", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const running = yield* submit(client, { ...SLEEP, queue: "paused" })
      yield* started(client, running)
      assert.isTrue((yield* command(client, "paused", "pause")).paused)
      const waiting = yield* submit(client, { ...ECHO, queue: "paused" })
      const paused = yield* command(client, "paused", "pause")
      assert.deepInclude(paused, { paused: true, draining: false })
      assert.deepInclude(paused.depth, { pending: 1, processing: 1 })
      assert.isNumber(paused.oldest_pending_ms)
      assert.isFalse((yield* command(client, "paused", "resume")).paused)
      yield* client.follow(`/v1/jobs/${waiting}/events`)
      assert.strictEqual(yield* statusOf(client, waiting), "completed")
      // Paused twice is paused once.
      assert.deepStrictEqual(yield* historyOf(client, "paused"), ["QueuePaused", "QueueResumed"])
      yield* cancel(client, running)
    }),
  )

  it.effect("that drains takes nothing new and works off what it has; what it knows, it answers", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const keyed = { ...LATER, queue: "drained", idempotency_key: "known" }
      const known = yield* submit(client, keyed)
      assert.deepInclude(yield* command(client, "drained", "drain"), { draining: true, paused: false })
      const head = journalHead(dataDir)
      const refused = yield* client.post("/v1/jobs", { ...LATER, queue: "drained" })
      assert.strictEqual(refused.status, 409)
      assert.strictEqual(refused.problem, "queue-draining")
      const elsewhere = { ...LATER, queue: "not-drained" }
      const batch = yield* client.post("/v1/jobs/batch", {
        jobs: [elsewhere, { ...LATER, queue: "drained" }],
      })
      assert.strictEqual(batch.problem, "queue-draining")
      const again = yield* client.post("/v1/jobs", keyed)
      assert.strictEqual(again.status, 200, again.text)
      assert.strictEqual(again.json<Job>().id, known)
      assert.strictEqual(journalHead(dataDir), head, "nothing was stored")
      // A batch over several queues is answered like its jobs one by one.
      const mixed = yield* client.post("/v1/jobs/batch", { jobs: [elsewhere, keyed] })
      assert.strictEqual(mixed.status, 202, mixed.text)
      assert.deepInclude(mixed.json<{ data: ReadonlyArray<object> }>().data[1], {
        id: known,
        deduplicated: true,
      })
      yield* client.post(`/v1/jobs/${known}/retry`)
      yield* client.follow(`/v1/jobs/${known}/events`)
      assert.strictEqual(yield* statusOf(client, known), "completed")
      yield* command(client, "drained", "resume")
      assert.strictEqual((yield* client.post("/v1/jobs", { ...LATER, queue: "drained" })).status, 202)
    }),
  )

  it.effect("has the limits that were set, all of them at a time; it need not have had a job", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      assert.deepStrictEqual((yield* limit(client, "limited", {})).limits, {
        concurrency: null,
        key_concurrency: 1,
        rate_limit: null,
      })
      const all = { concurrency: 2, key_concurrency: 3, rate_limit: { starts: 100, per_ms: 1_000 } }
      assert.deepStrictEqual((yield* limit(client, "limited", all)).limits, all)
      assert.deepStrictEqual((yield* view(client, "limited")).limits, all)
      // What is left out has no limit.
      assert.deepStrictEqual((yield* limit(client, "limited", { concurrency: 2 })).limits, {
        concurrency: 2,
        key_concurrency: 1,
        rate_limit: null,
      })
      const ids = yield* Effect.forEach([1, 2, 3], () => submit(client, { ...SLEEP, queue: "limited" }))
      yield* started(client, ids[1]!)
      assert.strictEqual((yield* view(client, "limited")).workers.running, 2)
      assert.strictEqual(yield* statusOf(client, ids[2]!), "pending")
      yield* cancel(client, ids[0]!)
      yield* started(client, ids[2]!)
      yield* Effect.forEach(ids, (id) => cancel(client, id))
    }),
  )

  it.effect("starts no more attempts in a span than its rate allows", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      yield* limit(client, "rated", { rate_limit: { starts: 2, per_ms: 600 } })
      const jobs = Array.from({ length: 5 }, () => ({ ...ECHO, queue: "rated" }))
      const { data } = (yield* client.post("/v1/jobs/batch", { jobs })).json<{
        data: ReadonlyArray<{ id: string }>
      }>()
      const starts = yield* Effect.forEach(data, ({ id }) =>
        Effect.andThen(
          client.follow(`/v1/jobs/${id}/events`),
          Effect.map(client.get(`/v1/jobs/${id}`), (answer) => Date.parse(answer.json<Job>().started_at!)),
        ),
      )
      const inOrder = starts.toSorted((a, b) => a - b)
      for (const [i, at] of inOrder.slice(2).entries()) assert.isAtLeast(at - inOrder[i]!, 600)
    }),
  )

  it.effect("runs one job of a concurrency key at a time, or as many as it says; others go on", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const queue = "tenants"
      const first = yield* submit(client, { ...SLEEP, queue, concurrency_key: "tenant-1" })
      yield* started(client, first)
      const second = yield* submit(client, { ...SLEEP, queue, concurrency_key: "tenant-1" })
      const third = yield* submit(client, { ...SLEEP, queue, concurrency_key: "tenant-1", priority: "low" })
      const other = yield* submit(client, { ...SLEEP, queue, concurrency_key: "tenant-2" })
      yield* started(client, other)
      assert.strictEqual((yield* client.get(`/v1/jobs/${second}`)).json<Job>().concurrency_key, "tenant-1")
      const pending = yield* client.get(`/v1/jobs?queue=${queue}&status=pending`)
      assert.deepStrictEqual(
        pending.json<{ data: ReadonlyArray<Job> }>().data.map(({ id }) => id),
        [third, second],
      )
      const full = yield* view(client, queue)
      assert.deepInclude(full.depth, { pending: 2, processing: 2, scheduled: 0 })
      assert.deepStrictEqual(full.waiting_by_priority, { urgent: 0, high: 0, normal: 1, low: 1 })
      yield* limit(client, queue, { key_concurrency: 2 })
      yield* started(client, second)
      assert.strictEqual(yield* statusOf(client, third), "pending")
      yield* cancel(client, first)
      yield* started(client, third)
      yield* Effect.forEach([second, third, other], (id) => cancel(client, id))
      assert.deepInclude((yield* view(client, queue)).depth, { pending: 0, processing: 0, cancelled: 4 })
    }),
  )

  it.effect("counts jobs that wait for others, or behind one of their key, where people look for them", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const queue = "deep"
      const running = yield* submit(client, { ...SLEEP, queue, concurrency_key: "k" })
      yield* started(client, running)
      const behind = yield* submit(client, { ...ECHO, queue, concurrency_key: "k", tags: ["deep"] })
      const behindLater = yield* submit(client, { ...LATER, queue, concurrency_key: "k", tags: ["deep"] })
      const blocked = yield* submit(client, {
        ...ECHO,
        queue,
        depends_on: [running],
        priority: "high",
        tags: ["deep"],
      })
      const list = (filter: string) =>
        Effect.map(client.get(`/v1/jobs?${filter}`), (answer) =>
          answer.json<{ data: ReadonlyArray<Job> }>().data.map(({ id }) => id),
        )
      for (const filter of [`queue=${queue}`, "tag=deep"]) {
        assert.deepStrictEqual(yield* list(`${filter}&status=scheduled`), [blocked, behindLater], filter)
        assert.deepStrictEqual(yield* list(`${filter}&status=pending`), [behind], filter)
      }
      const { depth, waiting_by_priority } = yield* view(client, queue)
      assert.deepInclude(depth, { scheduled: 2, pending: 1, processing: 1 })
      assert.deepStrictEqual(waiting_by_priority, { urgent: 0, high: 1, normal: 2, low: 0 })
      // What depended on it is cancelled with it, and the next of its key takes its place.
      yield* cancel(client, running)
      yield* client.follow(`/v1/jobs/${blocked}/events`)
      yield* client.follow(`/v1/jobs/${behind}/events`)
      assert.deepInclude((yield* view(client, queue)).depth, {
        scheduled: 1,
        pending: 0,
        processing: 0,
        completed: 1,
        cancelled: 2,
      })
    }),
  )
})

describe("queues across a restart", () => {
  /** Makes a key beside the one of the first start, with no server there. */
  const newKey = (dataDir: string, scopes: ReadonlyArray<Scope>) =>
    Effect.gen(function* () {
      const key = ApiKeyFormat.generate(randomBytes(ApiKeyFormat.RANDOM_BYTES))
      const apiKey = yield* ApiKey.client
      yield* apiKey(yield* TypeId.make("key")).Create({
        name: "limited",
        prefix: ApiKeyFormat.prefixOf(key),
        hash: ApiKeyFormat.hash(key),
        owner: yield* TypeId.make("user"),
        scopes,
        tier: "free",
        expires_at: null,
        allowed_ips: [],
        allowed_origins: [],
      })
      return Redacted.value(key)
    }).pipe(Effect.provide(RenderOwl.layer({ database: { filename: join(dataDir, "queue.db") }, grace: 0 })))

  it.live("stay paused, draining and limited, and are governed by administrators alone", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const limits = { concurrency: 7, key_concurrency: 2, rate_limit: { starts: 3, per_ms: 5_000 } }
      const first = yield* start({ dataDir })
      yield* limit(first.client, "paused", limits)
      yield* command(first.client, "paused", "pause")
      yield* submit(first.client, { ...LATER, queue: "drained" })
      yield* command(first.client, "drained", "drain")
      const waiting = yield* submit(first.client, { ...ECHO, queue: "paused" })
      yield* first.process.end("SIGKILL")
      const key = yield* newKey(dataDir, ["jobs:read", "jobs:write"])

      const { client, url } = yield* start({ dataDir })
      const paused = yield* view(client, "paused")
      assert.deepInclude(paused, { paused: true, draining: false })
      assert.deepStrictEqual(paused.limits, limits)
      assert.deepInclude(yield* view(client, "drained"), { draining: true })
      assert.strictEqual(
        (yield* client.post("/v1/jobs", { ...ECHO, queue: "drained" })).problem,
        "queue-draining",
      )
      assert.strictEqual(yield* statusOf(client, waiting), "pending")

      const user = new Client(url, key)
      const head = journalHead(dataDir)
      for (const [method, path] of [
        ["POST", "/v1/queues/paused/resume"],
        ["POST", "/v1/queues/paused/pause"],
        ["POST", "/v1/queues/drained/drain"],
        ["PUT", "/v1/queues/paused"],
        ["GET", "/v1/events"],
      ] as const) {
        const options = method === "PUT" ? { body: {} } : {}
        const refused = yield* user.request(method, path, options)
        assert.strictEqual(refused.status, 403, path)
        assert.strictEqual(refused.problem, "insufficient-scope")
      }
      assert.strictEqual(journalHead(dataDir), head)
      assert.isTrue((yield* view(user, "paused")).paused)

      yield* command(client, "paused", "resume")
      yield* client.follow(`/v1/jobs/${waiting}/events`)
      assert.strictEqual(yield* statusOf(client, waiting), "completed")
    }),
  )
})
