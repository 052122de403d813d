import { assert, describe, it as test, layer } from "@effect/vitest"
import { Effect } from "effect"
import { HttpApi } from "effect/http-api"
import { randomUUID } from "node:crypto"
import { ApiV1 } from "../../src/api/v1/ApiV1.ts"
import { Idempotency, takesKey } from "../../src/http/Idempotency.ts"
import { KEPT_BODY_BYTES_MAX } from "../../src/http/KeptAnswer.ts"
import { type Answer, Client } from "../support/Client.ts"
import { eventually } from "../support/Eventually.ts"
import { keepAnswers, keyedEvents, loseAnswers, run } from "../support/LostAnswers.ts"
import { dataFolder, look, run as runCommand, type Server, start } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"
import { SECRET, signature } from "../support/Signed.ts"

const HOUR_MS = 3_600_000
const ECHO = { type: "system:echo", payload: { hello: "world" } }
const LATER = { ...ECHO, delay_ms: HOUR_MS }
const UNKNOWN = "job_01k8w3e5r7fm2vx9q4ztd6yhbn"

/** A request as a client may send it several times. */
interface Sent {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** By an internal caller, each time anew. */
  readonly isSigned?: boolean
}

const send = (client: Client, { body, headers, isSigned, method, path }: Sent, key: string) =>
  isSigned === true
    ? new Client(client.url, undefined).request(method, path, {
        body,
        headers: { ...headers, ...signature(JSON.stringify(body)), "idempotency-key": key },
      })
    : client.request(method, path, { body, headers: { ...headers, "idempotency-key": key } })

const post = (path: string, body?: unknown): Sent => ({ method: "POST", path, body })

const isReplayed = ({ headers }: Answer) => headers.get("idempotency-replayed") === "true"

/** Requests that have a record. */
const records = (dataDir: string) =>
  look(
    dataDir,
    (database) => database.prepare("SELECT count(*) AS n FROM keyed_requests").get()!["n"] as number,
  )

const id = (answer: Answer) => answer.json<{ id: string }>().id

const make = (client: Client, path: string, body: unknown) =>
  Effect.map(client.post(path, body), (answer) => {
    assert.isBelow(answer.status, 300, answer.text)
    return answer.json<{ readonly id: string }>().id
  })

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 30_000 })("an Idempotency-Key", (it) => {
  it.effect("makes a request that comes again one request: the first answer, to the byte", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const request = post("/v1/projects", { name: "Once" })
      const key = randomUUID()
      const first = yield* send(client, request, key)
      assert.strictEqual(first.status, 201)
      assert.isFalse(isReplayed(first))
      const before = keyedEvents(dataDir)
      for (let i = 0; i < 3; i++) {
        const again = yield* send(client, request, key)
        assert.strictEqual(again.status, 201)
        assert.isTrue(isReplayed(again))
        assert.strictEqual(again.text, first.text)
        for (const name of ["location", "etag", "content-type", "cache-control"])
          assert.strictEqual(again.headers.get(name), first.headers.get(name), name)
        assert.notStrictEqual(again.headers.get("x-request-id"), first.headers.get("x-request-id"))
      }
      assert.strictEqual(keyedEvents(dataDir), before)
      assert.notStrictEqual(id(yield* send(client, request, randomUUID())), id(first))
    }),
  )

  it.effect("belongs to one request: another body, query or If-Match with it is refused", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const key = randomUUID()
      const project = yield* send(client, post("/v1/projects", { name: "Mine" }), key)
      const other = yield* send(client, post("/v1/projects", { name: "Yours" }), key)
      assert.strictEqual(other.status, 422)
      assert.strictEqual(other.problem, "idempotency-key-reused")
      const change = { method: "PATCH", path: `/v1/projects/${id(project)}`, body: { name: "Ours" } }
      const before = keyedEvents(dataDir)
      const seen = { ...change, headers: { "if-match": '"1"' } }
      assert.strictEqual((yield* send(client, seen, key)).status, 200, "another path, another key")
      const unseen = yield* send(client, { ...change, headers: { "if-match": '"2"' } }, key)
      assert.strictEqual(unseen.problem, "idempotency-key-reused")
      assert.strictEqual(keyedEvents(dataDir), before + 1)
    }),
  )

  it.effect("counts for its caller, method and path alone", () =>
    Effect.gen(function* () {
      const { client, url } = yield* SharedServer
      const made = yield* client.post("/v1/api-keys", { name: "other", scopes: ["projects:write"] })
      const other = new Client(url, made.json<{ key: string }>().key)
      const key = randomUUID()
      const request = post("/v1/projects", { name: "Shared key" })
      const one = yield* send(client, request, key)
      const two = yield* send(other, request, key)
      assert.isFalse(isReplayed(two))
      assert.notStrictEqual(id(two), id(one))
      const schedule = { name: "x", cron: "0 0 1 1 *", job: ECHO }
      assert.strictEqual((yield* send(client, post("/v1/schedules", schedule), key)).status, 201)
    }),
  )

  it.effect("of more than 255 characters, or none, is a mistake that costs nothing", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const request = post("/v1/projects", { name: "Too long" })
      const before = [keyedEvents(dataDir), records(dataDir)]
      for (const key of ["k".repeat(256), ""]) {
        const refused = yield* send(client, request, key)
        assert.strictEqual(refused.problem, "validation-failed")
        assert.deepStrictEqual(refused.fieldErrors, ["Idempotency-Key invalid_length"])
      }
      assert.deepStrictEqual([keyedEvents(dataDir), records(dataDir)], before)
      assert.strictEqual((yield* send(client, request, "k".repeat(255))).status, 201)
    }),
  )

  it.effect("is carried out once, however many bring it at the same moment", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const request = post("/v1/projects", { name: "Crowd" })
      const key = randomUUID()
      const before = keyedEvents(dataDir)
      const crowd = Array.from({ length: 20 }, () => send(client, request, key))
      const answers = yield* Effect.all(crowd, { concurrency: "unbounded" })
      assert.strictEqual(keyedEvents(dataDir), before + 1)
      const made = answers.filter(({ status }) => status === 201)
      const waiting = answers.filter(({ status }) => status !== 201)
      assert.isAbove(made.length, 0)
      assert.strictEqual(new Set(made.map(({ text }) => text)).size, 1)
      assert.strictEqual(made.filter((answer) => !isReplayed(answer)).length, 1)
      for (const answer of waiting) {
        assert.strictEqual(answer.problem, "idempotency-in-progress")
        assert.strictEqual(answer.status, 409)
        assert.strictEqual(answer.headers.get("retry-after"), "1")
      }
    }),
  )

  it.effect(
    "is in progress until the first request was answered, and its other bodies are refused at once",
    () =>
      Effect.gen(function* () {
        const { client, dataDir } = yield* SharedServer
        const key = randomUUID()
        const request = {
          ...post("/v1/jobs", { type: "system:sleep", payload: { ms: 1_500 } }),
          headers: { prefer: "wait=30" },
        }
        const before = keyedEvents(dataDir)
        const [first, second, third] = yield* Effect.all(
          [
            send(client, request, key),
            Effect.andThen(
              eventually(() => keyedEvents(dataDir) > before),
              send(client, request, key),
            ),
            Effect.andThen(
              eventually(() => keyedEvents(dataDir) > before),
              send(client, { ...request, body: ECHO }, key),
            ),
          ],
          { concurrency: "unbounded" },
        )
        assert.strictEqual(second.problem, "idempotency-in-progress")
        assert.strictEqual(third.problem, "idempotency-key-reused")
        assert.strictEqual(first.status, 200)
        assert.strictEqual(first.json()["status"], "completed")
        const again = yield* send(client, request, key)
        assert.strictEqual(again.text, first.text)
        assert.strictEqual(keyedEvents(dataDir), before + 1)
      }),
  )

  it.effect("goes on when its client hangs up, and whoever comes again gets the answer", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const key = randomUUID()
      const request = {
        ...post("/v1/jobs", { type: "system:sleep", payload: { ms: 1_000 } }),
        headers: { prefer: "wait=30" },
      }
      const before = keyedEvents(dataDir)
      yield* Effect.raceFirst(
        send(client, request, key),
        eventually(() => keyedEvents(dataDir) > before),
      )
      let answer = yield* send(client, request, key)
      assert.strictEqual(answer.problem, "idempotency-in-progress")
      while (answer.status === 409) {
        yield* Effect.sleep("100 millis")
        answer = yield* send(client, request, key)
      }
      assert.isTrue(isReplayed(answer))
      assert.strictEqual(answer.json()["status"], "completed")
      assert.strictEqual(keyedEvents(dataDir), before + 1)
    }),
  )

  it.effect("keeps refusals that are the answer, as problems with the ids of the request that asks", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = yield* make(client, "/v1/projects", { name: "Stays" })
      const stale = {
        method: "PATCH",
        path: `/v1/projects/${project}`,
        body: { name: "x" },
        headers: { "if-match": '"7"' },
      }
      const ended = yield* make(client, "/v1/jobs", LATER)
      yield* client.post(`/v1/jobs/${ended}/cancel`)
      const refusals: ReadonlyArray<readonly [Sent, number, string]> = [
        [post(`/v1/jobs/${UNKNOWN}/cancel`), 404, "job-not-found"],
        [post(`/v1/jobs/${ended}/reschedule`, { scheduled_at: inAMoment(HOUR_MS) }), 409, "conflict"],
        [stale, 412, "precondition-failed"],
      ]
      for (const [request, status, problem] of refusals) {
        const key = randomUUID()
        const first = yield* send(client, request, key)
        assert.deepStrictEqual([first.status, first.problem], [status, problem], first.text)
        // Now it would be taken, and is not.
        if (status === 409) yield* client.post(`/v1/jobs/${ended}/retry`)
        const again = yield* send(client, request, key)
        assert.deepStrictEqual([again.status, again.problem], [status, problem], again.text)
        assert.isTrue(isReplayed(again))
        assert.strictEqual(again.json()["trace_id"], again.headers.get("x-trace-id"))
        const { trace_id: _, ...told } = again.json()
        const { trace_id: __, ...before } = first.json()
        assert.deepStrictEqual(told, before)
      }
    }),
  )

  it.effect("is free after a request that was not carried out", () =>
    Effect.gen(function* () {
      const { client, dataDir, url } = yield* SharedServer
      const made = yield* client.post("/v1/api-keys", { name: "reader", scopes: ["jobs:read"] })
      const reader = new Client(url, made.json<{ key: string }>().key)
      const key = randomUUID()
      const before = records(dataDir)
      const request = post("/v1/jobs", ECHO)
      assert.strictEqual((yield* send(new Client(url, undefined), request, key)).status, 401)
      assert.strictEqual((yield* send(reader, request, key)).status, 403)
      for (const body of [
        "{",
        { ...ECHO, colour: "red" },
        { ...ECHO, type: "no:such" },
        { type: "system:sleep" },
      ])
        assert.strictEqual((yield* send(client, post("/v1/jobs", body), key)).status, 400)
      const text = { "content-type": "text/plain" }
      assert.strictEqual((yield* send(client, { ...request, headers: text }, key)).status, 415)
      const project = yield* make(client, "/v1/projects", { name: "Conditional" })
      const change = { method: "PATCH", path: `/v1/projects/${project}`, body: { name: "y" } }
      assert.strictEqual((yield* send(client, change, key)).status, 428)
      assert.strictEqual(records(dataDir), before)
      assert.strictEqual((yield* send(client, request, key)).status, 202)
      assert.strictEqual((yield* send(client, { ...change, headers: { "if-match": "*" } }, key)).status, 200)
    }),
  )

  it.effect("of a job has nothing to do with the job's own idempotency_key", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const request = post("/v1/jobs", { ...LATER, idempotency_key: randomUUID() })
      const [one, other] = [randomUUID(), randomUUID()]
      const first = yield* send(client, request, one)
      assert.strictEqual(first.status, 202)
      const known = yield* send(client, request, other)
      assert.deepStrictEqual([known.status, isReplayed(known), id(known)], [200, false, id(first)])
      assert.strictEqual((yield* send(client, request, one)).text, first.text)
      assert.strictEqual((yield* send(client, request, other)).text, known.text)
    }),
  )

  it.effect("is kept nowhere, and neither are the secrets that its answer holds", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const key = `key-${randomUUID()}`
      const request = post("/v1/api-keys", { name: "sealed", scopes: ["jobs:read"] })
      const first = yield* send(client, request, key)
      const again = yield* send(client, request, key)
      assert.isTrue(isReplayed(again))
      assert.strictEqual(again.text, first.text)
      const { key: secret } = first.json<{ key: string }>()
      assert.strictEqual((yield* new Client(client.url, secret).get("/v1/jobs")).status, 200)
      const stored = look(dataDir, (database) =>
        ["events", "keyed_requests"].flatMap((table) =>
          database
            .prepare(`SELECT * FROM ${table}`)
            .all()
            .flatMap((row) => Object.values(row))
            .map((value) =>
              value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : String(value),
            ),
        ),
      )
      assert.isFalse(stored.some((value) => value.includes(key) || value.includes(secret)))
    }),
  )

  it.effect("is no matter of GETs, and of requests without one there is no record", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const before = [keyedEvents(dataDir), records(dataDir)]
      for (let i = 0; i < 2; i++) {
        const answer = yield* client.get("/v1/projects", { "idempotency-key": "k".repeat(300) })
        assert.deepStrictEqual([answer.status, isReplayed(answer)], [200, false])
      }
      yield* make(client, "/v1/projects", { name: "No key" })
      assert.deepStrictEqual([keyedEvents(dataDir), records(dataDir)], before)
    }),
  )

  it.effect("with an answer that is too large to be kept is carried out once, and answered again", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const payload = "x".repeat(KEPT_BODY_BYTES_MAX)
      const request = post("/v1/jobs", { ...LATER, payload })
      const key = randomUUID()
      const first = yield* send(client, request, key)
      assert.strictEqual(first.status, 202)
      const before = keyedEvents(dataDir)
      const again = yield* send(client, request, key)
      assert.deepStrictEqual([again.status, isReplayed(again), id(again)], [202, true, id(first)])
      assert.strictEqual(again.json()["payload"], payload)
      assert.strictEqual(keyedEvents(dataDir), before)
    }),
  )
})

/** A request to one route, and what happens between its two coming. */
interface Scenario {
  readonly request: Sent
  /** What somebody else does meanwhile: without recall the request would be refused now, or do something again. */
  readonly meanwhile?: ReadonlyArray<Sent>
  /** Events that it causes. Default: 1. */
  readonly causes?: number
  /** What the answer shows as it stands, and not as it stood. Default: nothing. */
  readonly showsPresent?: ReadonlyArray<string> | "all"
  /** Its answer is made of others each time. */
  readonly isMadeAnew?: boolean
  /** It does not always cause events: it is sent, with other keys, until it does. */
  readonly isInsisted?: boolean
}

/** What is rendered while it is not looked at, before something else that is waited for. */
const SMALL = { format: "mp4", width: 128, height: 72, fps: 10 }

/** Every route that changes something, by group and endpoint. */
const scenarios: Readonly<Record<string, (client: Client) => Effect.Effect<Scenario>>> = {
  "projects.create": () => Effect.succeed({ request: post("/v1/projects", { name: "New" }) }),
  "projects.change": (client) =>
    Effect.map(make(client, "/v1/projects", { name: "Old" }), (project) => ({
      request: {
        method: "PATCH",
        path: `/v1/projects/${project}`,
        body: { name: "Changed", settings: { default_fps: 25 } },
        headers: { "if-match": '"1"' },
      },
      meanwhile: [{ method: "DELETE", path: `/v1/projects/${project}`, headers: { "if-match": "*" } }],
    })),
  "projects.archive": (client) =>
    Effect.map(make(client, "/v1/projects", { name: "Old" }), (project) => ({
      request: { method: "DELETE", path: `/v1/projects/${project}`, headers: { "if-match": '"1"' } },
    })),
  "renders.submit": (client) =>
    Effect.gen(function* () {
      const project = yield* make(client, "/v1/projects", { name: "Films" })
      const body = { composition_id: "TitleCard", input_props: { title: "Twice" }, output_settings: SMALL }
      return {
        request: post(`/v1/projects/${project}/renders`, body),
        meanwhile: [{ method: "DELETE", path: `/v1/projects/${project}`, headers: { "if-match": "*" } }],
      }
    }),
  "renders.cancel": (client) =>
    Effect.map(waitingRender(client), (render) => ({
      request: post(`/v1/renders/${render}/cancel`),
      meanwhile: [post(`/v1/renders/${render}/retry`)],
      showsPresent: "all",
    })),
  "renders.retry": (client) =>
    Effect.gen(function* () {
      const render = yield* waitingRender(client)
      yield* client.post(`/v1/renders/${render}/cancel`)
      return {
        request: post(`/v1/renders/${render}/retry`),
        meanwhile: [post(`/v1/renders/${render}/cancel`)],
        showsPresent: "all",
      }
    }),
  "renders.progress": (client) =>
    Effect.gen(function* () {
      yield* client.post("/v1/queues/renders/resume")
      const project = yield* make(client, "/v1/projects", { name: "Films" })
      const input_props = { title: "Long", duration_sec: 60 }
      const render = yield* make(client, `/v1/projects/${project}/renders`, {
        composition_id: "TitleCard",
        input_props,
      })
      yield* client.follow(`/v1/renders/${render}/events`, { until: ({ event }) => event === "JobStarted" })
      yield* client.post("/v1/queues/renders/pause")
      return {
        request: {
          ...post(`/v1/renders/${render}/progress`, { attempt: 1, percent: 7, message: "far away" }),
          isSigned: true,
        },
        meanwhile: [post(`/v1/renders/${render}/cancel`)],
        isInsisted: true,
        showsPresent: "all",
      }
    }),
  "batch.run": () => {
    const requests = [
      { method: "POST", path: "/v1/projects", body: { name: "One of two" } },
      { method: "GET", path: "/v1/projects?limit=1" },
      { method: "POST", path: "/v1/jobs", body: LATER },
      { method: "POST", path: `/v1/jobs/${UNKNOWN}/cancel` },
    ]
    return Effect.succeed({
      request: post("/v1/batch", { requests }),
      causes: 2,
      showsPresent: "all",
      isMadeAnew: true,
    })
  },
  "jobs.submit": (client) =>
    Effect.gen(function* () {
      const first = yield* make(client, "/v1/jobs", ECHO)
      const job = { ...LATER, depends_on: [first], tags: ["twice"], expires_at: inAMoment(2 * HOUR_MS) }
      return { request: post("/v1/jobs", job), showsPresent: ["metrics"] }
    }),
  "jobs.submitBatch": (client) =>
    Effect.gen(function* () {
      const known = { ...LATER, idempotency_key: randomUUID() }
      yield* make(client, "/v1/jobs", known)
      const jobs = [
        { ...LATER, ref: "one", queue: "left" },
        known,
        { ...ECHO, depends_on: ["one"], queue: "right" },
        { ...LATER, idempotency_key: randomUUID() },
      ]
      return { request: post("/v1/jobs/batch", { jobs }), causes: 3 }
    }),
  "jobs.cancel": (client) =>
    Effect.map(make(client, "/v1/jobs", LATER), (job) => ({
      request: post(`/v1/jobs/${job}/cancel`),
      meanwhile: [post(`/v1/jobs/${job}/retry`)],
      showsPresent: "all",
    })),
  "jobs.retry": (client) =>
    Effect.gen(function* () {
      const job = yield* make(client, "/v1/jobs", LATER)
      yield* client.post(`/v1/jobs/${job}/cancel`)
      return { request: post(`/v1/jobs/${job}/retry`), showsPresent: "all" }
    }),
  "jobs.reschedule": (client) =>
    Effect.map(make(client, "/v1/jobs", LATER), (job) => ({
      request: post(`/v1/jobs/${job}/reschedule`, { scheduled_at: inAMoment(2 * HOUR_MS) }),
      meanwhile: [post(`/v1/jobs/${job}/reschedule`, { scheduled_at: inAMoment(3 * HOUR_MS) })],
      showsPresent: "all",
    })),
  "jobs.prioritize": (client) =>
    Effect.map(make(client, "/v1/jobs", LATER), (job) => ({
      request: post(`/v1/jobs/${job}/prioritize`, { priority: "high" }),
      meanwhile: [post(`/v1/jobs/${job}/cancel`)],
      showsPresent: "all",
    })),
  "queues.pause": (client) =>
    Effect.map(someQueue(client), (queue) => ({
      request: post(`/v1/queues/${queue}/pause`),
      meanwhile: [post(`/v1/queues/${queue}/resume`)],
      showsPresent: "all",
    })),
  "queues.drain": (client) =>
    Effect.map(someQueue(client), (queue) => ({
      request: post(`/v1/queues/${queue}/drain`),
      meanwhile: [post(`/v1/queues/${queue}/resume`)],
      showsPresent: "all",
    })),
  "queues.resume": (client) =>
    Effect.gen(function* () {
      const queue = yield* someQueue(client)
      yield* client.post(`/v1/queues/${queue}/pause`)
      return {
        request: post(`/v1/queues/${queue}/resume`),
        meanwhile: [post(`/v1/queues/${queue}/pause`)],
        showsPresent: "all",
      }
    }),
  "queues.setUp": () => {
    const path = `/v1/queues/q${randomUUID()}`
    return Effect.succeed({
      request: { method: "PUT", path, body: { concurrency: 1 } },
      meanwhile: [{ method: "PUT", path, body: { concurrency: 2 } }],
      showsPresent: "all",
    })
  },
  "deadLetters.redrive": (client) =>
    Effect.gen(function* () {
      const tag = randomUUID()
      for (let i = 0; i < 3; i++) {
        const dead = { type: "system:fail", payload: { times: 1 }, max_attempts: 1, tags: [tag] }
        yield* client.post("/v1/jobs", dead, { prefer: "wait=30" })
      }
      return { request: post("/v1/dead-letters/redrive", { tag, limit: 2 }), causes: 2 }
    }),
  "schedules.create": () =>
    Effect.succeed({ request: post("/v1/schedules", { name: "x", cron: "0 0 1 1 *", job: ECHO }) }),
  "schedules.update": (client) =>
    Effect.map(someSchedule(client), (path) => ({
      request: { method: "PATCH", path, body: { cron: "0 0 2 1 *" } },
      meanwhile: [{ method: "DELETE", path }],
    })),
  "schedules.delete": (client) =>
    Effect.map(someSchedule(client), (path) => ({ request: { method: "DELETE", path } })),
  "schedules.pause": (client) =>
    Effect.map(someSchedule(client), (path) => ({
      request: post(`${path}/pause`),
      meanwhile: [post(`${path}/resume`)],
    })),
  "schedules.resume": (client) =>
    Effect.gen(function* () {
      const path = yield* someSchedule(client)
      yield* client.post(`${path}/pause`)
      return { request: post(`${path}/resume`), meanwhile: [{ method: "DELETE", path }] }
    }),
  "schedules.trigger": (client) =>
    Effect.map(someSchedule(client), (path) => ({
      request: post(`${path}/trigger`),
      meanwhile: [{ method: "DELETE", path }],
      showsPresent: ["metrics"],
    })),
  "cache.invalidate": () =>
    Effect.succeed({
      request: { method: "DELETE", path: `/internal/cache/tags/${randomUUID()}` },
      causes: 0,
    }),
  "api_keys.create": () =>
    Effect.succeed({ request: post("/v1/api-keys", { name: "new", scopes: ["jobs:read"] }) }),
  "api_keys.rotate": (client) =>
    Effect.map(make(client, "/v1/api-keys", { name: "turning", scopes: ["jobs:read"] }), (key) => ({
      request: post(`/v1/api-keys/${key}/rotate`, { overlap_seconds: 60 }),
    })),
  "api_keys.revoke": (client) =>
    Effect.map(make(client, "/v1/api-keys", { name: "ended", scopes: ["jobs:read"] }), (key) => ({
      request: { method: "DELETE", path: `/v1/api-keys/${key}` },
    })),
}

const inAMoment = (ms: number) => new Date(Date.now() + ms).toISOString()

/** A render that nobody works on. */
const waitingRender = (client: Client) =>
  Effect.gen(function* () {
    const project = yield* make(client, "/v1/projects", { name: "Films" })
    const body = { composition_id: "TitleCard", input_props: { title: "Waits" }, output_settings: SMALL }
    return yield* make(client, `/v1/projects/${project}/renders`, body)
  })

const someQueue = (client: Client) =>
  Effect.gen(function* () {
    const name = `q${randomUUID()}`
    yield* client.request("PUT", `/v1/queues/${name}`, { body: { concurrency: 1 } })
    return name
  })

const someSchedule = (client: Client) =>
  Effect.map(
    make(client, "/v1/schedules", { name: "x", cron: "0 0 1 1 *", job: LATER_OF_SCHEDULE }),
    (schedule) => `/v1/schedules/${schedule}`,
  )

/** Its queue has no place: it waits. */
const LATER_OF_SCHEDULE = { ...ECHO, queue: "nobody" }

/** Sends it for the first time: answers its key as well. */
const sendFirst = Effect.fnUntraced(function* (
  client: Client,
  dataDir: string,
  { isInsisted = false, request }: Scenario,
) {
  for (;;) {
    const key = randomUUID()
    const before = keyedEvents(dataDir)
    const first = yield* send(client, request, key)
    if (!isInsisted || keyedEvents(dataDir) > before) return { key, first }
  }
})

const shownBy = (answer: Answer, { showsPresent = [] }: Scenario): unknown => {
  if (showsPresent === "all") return {}
  if (answer.text === "") return ""
  return Object.fromEntries(Object.entries(answer.json()).filter(([name]) => !showsPresent.includes(name)))
}

/** Starts a server with queues in which nothing runs. */
const quiet = (dataDir: string) =>
  Effect.tap(start({ dataDir, env: { INTERNAL_SECRET: SECRET } }), ({ client }) =>
    Effect.forEach(["renders", "nobody"], (queue) =>
      Effect.andThen(
        client.request("PUT", `/v1/queues/${queue}`, { body: {} }),
        client.post(`/v1/queues/${queue}/pause`),
      ),
    ),
  )

const mutating = () => {
  const endpoints: Array<{ readonly name: string; readonly middlewares: ReadonlyArray<unknown> }> = []
  HttpApi.reflect(ApiV1, {
    onGroup: () => {},
    onEndpoint: ({ endpoint, group }) => {
      if (!takesKey(endpoint)) return
      const name = `${group.identifier}.${endpoint.identifier}`
      endpoints.push({ name, middlewares: [...endpoint.middlewares] })
    },
  })
  return endpoints
}

describe("every route that changes something", () => {
  test("takes an Idempotency-Key, inside of everything that may refuse the request", () => {
    for (const { middlewares, name } of mutating()) assert.strictEqual(middlewares[0], Idempotency, name)
  })

  test("has a scenario below", () => {
    assert.sameMembers(
      mutating().map(({ name }) => name),
      Object.keys(scenarios),
    )
  })

  test.live(
    "is carried out once also when the answer was lost, whatever happened meanwhile",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const server = yield* quiet(dataDir)
          const { client } = server
          for (const [name, prepare] of Object.entries(scenarios)) {
            const scenario = yield* prepare(client)
            const { causes = 1, meanwhile = [], request } = scenario
            const before = keyedEvents(dataDir)
            loseAnswers(dataDir)
            const { first, key } = yield* sendFirst(client, dataDir, scenario)
            assert.isBelow(first.status, 300, `${name}: ${first.text}`)
            assert.strictEqual(keyedEvents(dataDir), before + causes, name)
            for (const other of meanwhile) {
              const { status, text } = yield* client.request(other.method, other.path, other)
              assert.isBelow(status, 300, `${name}, meanwhile: ${text}`)
            }
            for (const isKept of [false, true]) {
              if (isKept) keepAnswers(dataDir)
              const again = yield* send(client, request, key)
              assert.strictEqual(again.status, first.status, `${name}: ${again.text}`)
              assert.deepStrictEqual(shownBy(again, scenario), shownBy(first, scenario), name)
              assert.strictEqual(again.headers.get("location"), first.headers.get("location"), name)
              assert.strictEqual(isReplayed(again), causes > 0, name)
              assert.strictEqual(keyedEvents(dataDir), before + causes, name)
            }
            const third = yield* send(client, request, key)
            const fourth = yield* send(client, request, key)
            assert.isTrue(isReplayed(fourth), name)
            if (scenario.isMadeAnew !== true) assert.strictEqual(fourth.text, third.text, name)
            assert.strictEqual(keyedEvents(dataDir), before + causes, name)
          }
        }),
      ),
    120_000,
  )

  test.live(
    "goes on where it was interrupted: what it has done is not done again, and the rest is",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const { client } = yield* quiet(dataDir)
          const tag = randomUUID()
          const jobs: Array<string> = []
          for (const queue of ["left", "left", "right", "right"]) {
            const dead = { type: "system:fail", payload: { times: 1 }, max_attempts: 1, tags: [tag], queue }
            jobs.push(id(yield* client.post("/v1/jobs", dead, { prefer: "wait=30" })))
          }
          run(
            dataDir,
            `CREATE TRIGGER fails BEFORE INSERT ON events WHEN NEW.type = 'JobRedriven' AND NEW.stream = '${jobs[2]}'
             BEGIN SELECT RAISE(ABORT, 'this one cannot be written'); END`,
          )
          const request = post("/v1/dead-letters/redrive", { tag, limit: 4 })
          const key = randomUUID()
          assert.strictEqual((yield* send(client, request, key)).status, 503)
          // Its queue appends both together, and the other queue its own.
          assert.strictEqual(keyedEvents(dataDir), 2)
          assert.strictEqual((yield* send(client, request, key)).status, 503)
          assert.strictEqual(keyedEvents(dataDir), 2)
          run(dataDir, "DROP TRIGGER fails")
          const answer = yield* send(client, request, key)
          assert.strictEqual(answer.status, 200)
          assert.isTrue(isReplayed(answer))
          const { redriven, remaining } = answer.json<{
            redriven: ReadonlyArray<string>
            remaining: boolean
          }>()
          assert.sameMembers([...redriven], jobs)
          assert.isFalse(remaining)
          assert.strictEqual(keyedEvents(dataDir), 4)
          for (const job of jobs) {
            const events = yield* client.get(`/v1/jobs/${job}/events`)
            const { data } = events.json<{ data: ReadonlyArray<{ type: string }> }>()
            assert.lengthOf(
              data.filter(({ type }) => type === "JobRedriven"),
              1,
            )
          }
        }),
      ),
    120_000,
  )

  test.live(
    "as part of a batch that is sent again is done if it was not, and answered as it was if it was",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const { client } = yield* start({ dataDir })
          const requests = [
            { method: "POST", path: "/v1/projects", body: { name: "Part" } },
            { method: "POST", path: "/v1/jobs", body: LATER },
          ]
          const key = randomUUID()
          const sendBatch = Effect.map(send(client, post("/v1/batch", { requests }), key), (answer) => {
            assert.strictEqual(answer.status, 207, answer.text)
            const { responses } = answer.json<{
              responses: ReadonlyArray<{
                status: number
                headers: Record<string, string>
                body: { id: string }
              }>
            }>()
            return responses.map(({ body, headers, status }) => ({
              status,
              id: body.id,
              isReplayed: headers["idempotency-replayed"] === "true",
            }))
          })
          run(
            dataDir,
            `CREATE TRIGGER fails BEFORE INSERT ON events WHEN NEW.type = 'JobEnqueued'
             BEGIN SELECT RAISE(ABORT, 'no job can be written'); END`,
          )
          const [project, job] = yield* sendBatch
          assert.deepStrictEqual([project!.status, job!.status], [201, 503])
          run(dataDir, "DROP TRIGGER fails")
          const [again, done] = yield* sendBatch
          assert.deepStrictEqual(again, { ...project!, isReplayed: true })
          assert.deepStrictEqual([done!.status, done!.isReplayed], [202, false])
          const [, third] = yield* sendBatch
          assert.deepStrictEqual(third, { ...done!, isReplayed: true })
          assert.strictEqual(keyedEvents(dataDir), 2)
          const other = yield* send(client, post("/v1/batch", { requests: requests.slice(1) }), key)
          assert.strictEqual(other.problem, "idempotency-key-reused")
        }),
      ),
    120_000,
  )

  test.live(
    "is recalled by the next process when this one was killed",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const killed = yield* quiet(dataDir)
          const sent: Array<readonly [string, Scenario, string, Answer]> = []
          const prepared: Array<readonly [string, Scenario]> = []
          for (const [name, prepare] of Object.entries(scenarios))
            prepared.push([name, yield* prepare(killed.client)])
          loseAnswers(dataDir)
          for (const [name, scenario] of prepared) {
            const { first, key } = yield* sendFirst(killed.client, dataDir, scenario)
            sent.push([name, scenario, key, first])
          }
          yield* killed.process.end("SIGKILL")
          keepAnswers(dataDir)
          const before = keyedEvents(dataDir)
          const { client }: Server = yield* start({ dataDir, env: { INTERNAL_SECRET: SECRET } })
          for (const [name, scenario, key, first] of sent) {
            const answer = yield* send(client, scenario.request, key)
            assert.strictEqual(answer.status, first.status, `${name}: ${answer.text}`)
            assert.strictEqual(answer.headers.get("location"), first.headers.get("location"), name)
            const again = yield* send(client, scenario.request, key)
            if (scenario.isMadeAnew !== true) assert.strictEqual(again.text, answer.text, name)
          }
          assert.strictEqual(keyedEvents(dataDir), before)
        }),
      ),
    120_000,
  )

  test.live(
    "leaves a database that verifies, and whose records a rebuild does not touch",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const served = yield* start({ dataDir })
          const requests = [post("/v1/projects", { name: "Kept" }), post("/v1/jobs", LATER)]
          const sent: Array<readonly [Sent, string, Answer]> = []
          for (const request of requests) {
            const key = randomUUID()
            sent.push([request, key, yield* send(served.client, request, key)])
          }
          yield* served.process.end("SIGTERM")
          for (const command of ["verify", "rebuild", "verify"]) {
            const { code, stderr, stdout } = yield* runCommand(["db", command], { dataDir })
            assert.strictEqual(code, 0, `${command}: ${stdout}${stderr}`)
          }
          assert.strictEqual(records(dataDir), sent.length)
          const { client } = yield* start({ dataDir })
          for (const [request, key, first] of sent)
            assert.strictEqual((yield* send(client, request, key)).text, first.text)
        }),
      ),
    120_000,
  )

  test.live(
    "does not hold up the stop of the server, and is answered by the next",
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const stopped = yield* start({ dataDir })
          const request = {
            ...post("/v1/jobs", { type: "system:sleep", payload: { ms: 60_000 } }),
            headers: { prefer: "wait=60" },
          }
          const key = randomUUID()
          yield* Effect.raceFirst(
            send(stopped.client, request, key),
            eventually(() => keyedEvents(dataDir) === 1),
          )
          assert.strictEqual((yield* stopped.process.end("SIGTERM")).code, 0)
          const { client } = yield* start({ dataDir })
          const again = yield* send(client, { ...request, headers: { prefer: "wait=1" } }, key)
          assert.deepStrictEqual([again.status, isReplayed(again)], [202, true])
          assert.strictEqual(keyedEvents(dataDir), 1)
        }),
      ),
    120_000,
  )
})
