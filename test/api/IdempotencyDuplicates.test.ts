/**
 * Whatever clients do and however often they send it again, the journal is that of a client who sends everything once: with answers
 * that are kept, and with answers that are lost.
 */
import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import { randomUUID } from "node:crypto"
import type { Client } from "../support/Client.ts"
import { eventually } from "../support/Eventually.ts"
import { keepAnswers, keyedEvents, loseAnswers } from "../support/LostAnswers.ts"
import { forAll } from "../support/Property.ts"
import { journalHead, look } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

/** Nothing runs there, so that the journal has nothing but what clients do. */
const QUEUE = "nobody"
const JOB = { type: "system:echo", payload: "x", queue: QUEUE }
const FAR = "2099-01-01T00:00:00Z"

/** What a client may do to what it has; `n` chooses among that. */
const actions = {
  createProject: () => ({ method: "POST", path: "/v1/projects", body: { name: "p" } }),
  changeProject: (n: number, made: Made) => ({
    method: "PATCH",
    path: `/v1/projects/${pick(made.proj, n)}`,
    body: { name: `p${n}` },
    headers: { "if-match": n % 3 === 0 ? '"1"' : "*" },
  }),
  archiveProject: (n: number, made: Made) => ({
    method: "DELETE",
    path: `/v1/projects/${pick(made.proj, n)}`,
    headers: { "if-match": "*" },
  }),
  submitJob: (n: number, made: Made) => ({
    method: "POST",
    path: "/v1/jobs",
    body: n % 2 === 0 || made.job.length === 0 ? JOB : { ...JOB, depends_on: [pick(made.job, n)] },
  }),
  submitBatch: (n: number) => ({
    method: "POST",
    path: "/v1/jobs/batch",
    body: {
      jobs: [
        { ...JOB, ref: "a" },
        { ...JOB, depends_on: ["a"] },
        { ...JOB, priority: n % 2 ? "low" : "high" },
      ],
    },
  }),
  prioritize: (n: number, made: Made) => ({
    method: "POST",
    path: `/v1/jobs/${pick(made.job, n)}/prioritize`,
    body: { priority: ["urgent", "high", "normal", "low"][n % 4] },
  }),
  reschedule: (n: number, made: Made) => ({
    method: "POST",
    path: `/v1/jobs/${pick(made.job, n)}/reschedule`,
    body: { scheduled_at: FAR },
  }),
  cancelJob: (n: number, made: Made) => ({ method: "POST", path: `/v1/jobs/${pick(made.job, n)}/cancel` }),
  retryJob: (n: number, made: Made) => ({ method: "POST", path: `/v1/jobs/${pick(made.job, n)}/retry` }),
  createSchedule: () => ({
    method: "POST",
    path: "/v1/schedules",
    body: { name: "s", cron: "0 0 1 1 *", job: JOB },
  }),
  pauseSchedule: (n: number, made: Made) => ({
    method: "POST",
    path: `/v1/schedules/${pick(made.sched, n)}/${n % 2 === 0 ? "pause" : "resume"}`,
  }),
  triggerSchedule: (n: number, made: Made) => ({
    method: "POST",
    path: `/v1/schedules/${pick(made.sched, n)}/trigger`,
  }),
  createKey: () => ({ method: "POST", path: "/v1/api-keys", body: { name: "k", scopes: ["jobs:read"] } }),
  rotateKey: (n: number, made: Made) => ({
    method: "POST",
    path: `/v1/api-keys/${pick(made.key, n)}/rotate`,
    body: {},
  }),
  revokeKey: (n: number, made: Made) => ({ method: "DELETE", path: `/v1/api-keys/${pick(made.key, n)}` }),
}
type Action = keyof typeof actions

/** Ids of what was made, by their prefix. */
interface Made {
  readonly proj: Array<string>
  readonly job: Array<string>
  readonly sched: Array<string>
  readonly key: Array<string>
}

/** One of them, or an id that nobody has. */
const pick = (ids: ReadonlyArray<string>, n: number) =>
  ids[n % (ids.length + 1)] ?? "job_01k8w3e5r7fm2vx9q4ztd6yhbn"

interface Step {
  readonly action: Action
  readonly n: number
  /** Which of the requests so far come again after it, counted backwards from itself. */
  readonly again: ReadonlyArray<number>
  /** So many times it comes at the same moment. */
  readonly atOnce: number
}

const step: fc.Arbitrary<Step> = fc.record({
  action: fc.constantFrom(...(Object.keys(actions) as Array<Action>)),
  n: fc.nat(30),
  again: fc.array(fc.nat(8), { maxLength: 3 }),
  atOnce: fc.integer({ min: 1, max: 3 }),
})

/** Does the steps, each under a key of its own, and answers the journal of it. */
const perform = (
  { client, dataDir }: { readonly client: Client; readonly dataDir: string },
  steps: ReadonlyArray<Step>,
  repeats: "none" | "of all" | "of what acted",
) =>
  Effect.gen(function* () {
    const before = journalHead(dataDir)
    const made: Made = { proj: [], job: [], sched: [], key: [] }
    const done: Array<{
      readonly send: ReturnType<Client["request"]>
      readonly text: string
      readonly acted: boolean
    }> = []
    for (const { action, again, atOnce, n } of steps) {
      const { headers, method, path, ...rest }: Sendable = actions[action](n, made)
      const send = client.request(method, path, {
        ...rest,
        headers: { ...headers, "idempotency-key": randomUUID() },
      })
      const events = keyedEvents(dataDir)
      const crowd = Array.from({ length: repeats === "none" ? 1 : atOnce }, () => send)
      const answers = yield* Effect.all(crowd, { concurrency: "unbounded" })
      yield* dependentsTold(dataDir)
      const answer = answers.find(({ problem }) => problem !== "idempotency-in-progress")!
      for (const { problem, status } of answers)
        if (problem !== "idempotency-in-progress") assert.strictEqual(status, answer.status)
      done.push({ send, text: answer.text, acted: keyedEvents(dataDir) > events })
      for (const [, prefix, id] of answer.text
        .matchAll(/"id":"((proj|job|sched|key)_\w+)"/g)
        .map(([a, b, c]) => [a, c, b]))
        made[prefix as keyof Made].push(id!)
      if (repeats === "none") continue
      for (const back of again) {
        const { acted, send, text } = done.at(-1 - (back % done.length))!
        if (!acted && repeats === "of what acted" && back % done.length !== 0) continue
        const repeated = yield* send
        yield* dependentsTold(dataDir)
        if (repeats === "of all") assert.strictEqual(withoutTrace(repeated.text), withoutTrace(text))
      }
    }
    return journalAfter(dataDir, before)
  })

/** Jobs are told after the answer that those they wait for have ended: what that does is in the journal from here on. */
const dependentsTold = (dataDir: string) =>
  eventually(() =>
    look(
      dataDir,
      (database) =>
        database.prepare("SELECT 1 FROM job_dependencies WHERE outcome IS NOT NULL").get() === undefined,
    ),
  )

interface Sendable {
  readonly method: string
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
}

const withoutTrace = (text: string) => text.replace(/"trace_id":"\w+"/, "")

/** The journal after a position, with ids by the order in which they come, and without moments and secrets. */
const journalAfter = (dataDir: string, position: number) => {
  const rows = look(dataDir, (database) =>
    database
      .prepare(
        "SELECT stream, version, type, data FROM events WHERE position > ? AND stream <> 'alert_log' ORDER BY position",
      )
      .all(position),
  )
  const names = new Map<string, string>()
  return rows.map((row) =>
    JSON.stringify(row)
      .replaceAll(/(proj|job|sched|key)_[0-9a-z]{26}/g, (id) => {
        if (!names.has(id)) names.set(id, `#${names.size}`)
        return names.get(id)!
      })
      .replaceAll(/[0-9a-f]{64}|ro_live_\w+|\d{13}/g, "…"),
  )
}

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 120_000 })(
  "the journal of clients who send things again",
  (it) => {
    for (const repeats of ["of all", "of what acted"] as const) {
      it.effect(
        `is that of clients who do not, with answers that are ${repeats === "of all" ? "kept" : "lost"}`,
        () =>
          Effect.gen(function* () {
            const { client, dataDir } = yield* SharedServer
            yield* client.request("PUT", `/v1/queues/${QUEUE}`, { body: {} })
            yield* client.post(`/v1/queues/${QUEUE}/pause`)
            // Without its answer, what had no effect is carried out again, and may have one by then.
            if (repeats === "of what acted") loseAnswers(dataDir)
            let appended = 0
            yield* forAll(
              fc.array(step, { minLength: 5, maxLength: 20, size: "max" }),
              (steps) =>
                Effect.gen(function* () {
                  const once = yield* perform({ client, dataDir }, steps, "none")
                  const often = yield* perform({ client, dataDir }, steps, repeats)
                  assert.deepStrictEqual(often, once)
                  appended += once.length
                }),
              { runs: 8 },
            )
            if (repeats === "of what acted") keepAnswers(dataDir)
            assert.isAbove(appended, 20)
          }),
      )
    }
  },
)
