/**
 * `kill -9` while clients send requests with Idempotency-Keys: after all kills every key is sent again, and has had exactly one
 * effect and has exactly one answer. Kills go on until some have come between the events of a request and its answer.
 * `CRASH_SEED` says what is sent and when it is killed; the operating system's own timing does not follow it.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Random } from "effect"
import { randomInt } from "node:crypto"
import { Client } from "../support/Client.ts"
import { dataFolder, look, start } from "../support/ServerProcess.ts"

const SEED = process.env["CRASH_SEED"] ?? String(randomInt(2 ** 31))
const CLIENTS = 24
const KILLS_MIN = 4
const KILLS_MAX = 20
/** Requests that were interrupted between their events and their answers, over all kills: enough to mean something. */
const INTERRUPTED_MIN = 5
/** Of a life under load: the first requests take longest. */
const LIFE_MS_MIN = 200
const LIFE_MS_MAX = 800

/** A request with a key, and how it was answered at first; undefined while nobody knows. */
interface Sent {
  readonly key: string
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  /** Events that it causes. */
  readonly causes: number
  answer: string | undefined
}

const ECHO = { type: "system:echo", payload: { hello: "world" } }
const LATER = { ...ECHO, delay_ms: 3_600_000 }

/** The request, answered or not: a server that is killed answers nobody. */
const attempt = (client: Client, { body, headers, key, method, path }: Sent) =>
  Effect.promise((signal) =>
    Effect.runPromise(
      client.request(method, path, { body, headers: { ...headers, "idempotency-key": key } }),
      { signal },
    ).catch(() => undefined),
  )

/** One client: makes something, changes it, and so on. What it makes is its own. */
const load = (client: Client, sent: Array<Sent>, name: string) =>
  Effect.gen(function* () {
    const send = Effect.fnUntraced(function* (
      what: Omit<Sent, "key" | "answer" | "causes"> & { readonly causes?: number },
    ) {
      const request: Sent = { causes: 1, ...what, key: `${name}/${sent.length}`, answer: undefined }
      sent.push(request)
      const answer = yield* attempt(client, request)
      if (answer === undefined) return yield* Effect.interrupt
      assert.isBelow(answer.status, 300, answer.text)
      request.answer = answer.text
      return answer.text === "" ? {} : answer.json<{ readonly id?: string }>()
    })
    for (;;) {
      const kind = yield* Random.nextIntBetween(0, 6)
      const path = "/v1/projects"
      if (kind === 0) {
        const { id } = yield* send({ method: "POST", path, body: { name: "made" } })
        const headers = { "if-match": '"1"' }
        yield* send({ method: "PATCH", path: `${path}/${id}`, body: { name: "changed" }, headers })
        yield* send({ method: "DELETE", path: `${path}/${id}`, headers: { "if-match": '"2"' } })
      } else if (kind === 1) {
        const { id } = yield* send({ method: "POST", path: "/v1/jobs", body: LATER })
        yield* send({ method: "POST", path: `/v1/jobs/${id}/prioritize`, body: { priority: "low" } })
        yield* send({ method: "POST", path: `/v1/jobs/${id}/cancel` })
        yield* send({ method: "POST", path: `/v1/jobs/${id}/retry` })
      } else if (kind === 2) {
        const jobs = [ECHO, { ...LATER, queue: "left" }, { ...LATER, queue: "right" }]
        yield* send({ method: "POST", path: "/v1/jobs/batch", body: { jobs }, causes: 3 })
      } else if (kind === 3) {
        const body = { name: "key", scopes: ["jobs:read"] }
        const { id } = yield* send({ method: "POST", path: "/v1/api-keys", body })
        yield* send({ method: "POST", path: `/v1/api-keys/${id}/rotate`, body: {} })
      } else if (kind === 4) {
        const body = { name: "schedule", cron: "0 0 1 1 *", job: ECHO }
        const { id } = yield* send({ method: "POST", path: "/v1/schedules", body })
        yield* send({ method: "POST", path: `/v1/schedules/${id}/trigger` })
        yield* send({ method: "DELETE", path: `/v1/schedules/${id}` })
      } else {
        yield* send({ method: "POST", path: "/v1/jobs", body: ECHO })
      }
    }
  })

/** Sends again what the last kill left without an answer. */
const resend = Effect.fnUntraced(function* (client: Client, sent: ReadonlyArray<Sent>) {
  for (const request of sent.filter(({ answer }) => answer === undefined)) {
    const answer = (yield* attempt(client, request))!
    assert.isBelow(answer.status, 300, `${request.path}: ${answer.text}`)
    request.answer = answer.text
  }
})

const count = (dataDir: string, sql: string) =>
  look(dataDir, (database) => database.prepare(sql).get()!["n"] as number)

describe("a server that is killed while clients send requests with keys", () => {
  it.live(
    `carries each out once and answers it once (CRASH_SEED=${SEED})`,
    () =>
      Effect.scoped(
        Effect.gen(function* () {
          const dataDir = yield* dataFolder
          const sent: Array<Sent> = []
          let interrupted = 0
          for (let kill = 0; kill < KILLS_MIN || interrupted < INTERRUPTED_MIN; kill++) {
            assert.isBelow(kill, KILLS_MAX, `only ${interrupted} requests were interrupted in time`)
            const { client, process } = yield* start({ dataDir })
            yield* resend(client, sent)
            const clients = Array.from({ length: CLIENTS }, (_, i) =>
              Random.withSeed(load(client, sent, `${kill}/${i}`), `${SEED}/${kill}/${i}`),
            )
            const all = yield* Effect.forkChild(
              Effect.forEach(clients, Effect.exit, { concurrency: "unbounded" }),
            )
            const life = Random.nextIntBetween(LIFE_MS_MIN, LIFE_MS_MAX)
            yield* Effect.sleep(yield* Random.withSeed(life, `${SEED}/${kill}`))
            yield* process.end("SIGKILL")
            for (const exit of yield* Fiber.join(all))
              if (exit._tag === "Failure")
                for (const reason of exit.cause.reasons)
                  assert.strictEqual(reason._tag, "Interrupt", String(exit))
            interrupted += count(
              dataDir,
              "SELECT count(*) AS n FROM keyed_requests WHERE answer IS NULL AND events > 0",
            )
          }

          const { client, process } = yield* start({ dataDir })
          yield* resend(client, sent)
          for (const request of sent) {
            const answer = (yield* attempt(client, request))!
            assert.isBelow(answer.status, 300, `${request.path}: ${answer.text}`)
            assert.strictEqual(answer.headers.get("idempotency-replayed"), "true")
            assert.strictEqual(answer.text, request.answer, request.path)
          }
          for (const { answer, path } of sent) {
            if (!path.startsWith("/v1/api-keys")) continue
            const { key } = JSON.parse(answer!) as { readonly key: string }
            assert.strictEqual((yield* new Client(client.url, key).get("/v1/jobs?limit=1")).status, 200)
          }
          yield* process.end("SIGTERM")
          const caused = "FROM events WHERE metadata ->> '$.keyed_request' IS NOT NULL"
          assert.deepStrictEqual(
            {
              requests: count(
                dataDir,
                `SELECT count(DISTINCT metadata ->> '$.keyed_request') AS n ${caused}`,
              ),
              events: count(dataDir, `SELECT count(*) AS n ${caused}`),
            },
            { requests: sent.length, events: sent.reduce((sum, { causes }) => sum + causes, 0) },
          )
        }),
      ),
    180_000,
  )
})
