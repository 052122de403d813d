import { assert, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { JobLogs } from "../../src/api/v1/jobs/Api.ts"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import type { QueueJson } from "../../src/api/v1/queues/Api.ts"
import type { Answer, Client } from "../support/Client.ts"
import { journalHead } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

type Job = typeof JobJson.Encoded
type QueueView = typeof QueueJson.Encoded
interface Page {
  readonly data: ReadonlyArray<Job>
  readonly pagination: { readonly next_cursor: string | null; readonly has_more: boolean }
}
interface JobEvent {
  readonly version: number
  readonly type: string
}

const HOUR_MS = 3_600_000
/** Far longer than any test: only a cancel ends it. */
const SLEEP = { type: "system:sleep", payload: { ms: HOUR_MS } }
const ECHO = { type: "system:echo", payload: { hello: "world" } }
/** Fails its only attempt, and would complete with the next. */
const DEAD = { type: "system:fail", payload: { times: 1 }, max_attempts: 1 }
const LATER = { ...ECHO, delay_ms: HOUR_MS }

const submit = (client: Client, job: object, headers: Readonly<Record<string, string>> = {}) =>
  Effect.map(client.post("/v1/jobs", job, headers), (answer) => {
    assert.include([200, 202], answer.status, answer.text)
    return answer.json<Job>().id
  })

const show = (client: Client, id: string) =>
  Effect.map(client.get(`/v1/jobs/${id}`), (answer) => answer.json<Job>())

const history = (client: Client, id: string) =>
  Effect.map(
    client.get(`/v1/jobs/${id}/events`),
    (answer) => answer.json<{ readonly data: ReadonlyArray<JobEvent> }>().data,
  )

/** Submits a job and waits for its end. */
const run = Effect.fnUntraced(function* (client: Client, job: object) {
  const id = yield* submit(client, job)
  yield* client.follow(`/v1/jobs/${id}/events`)
  return yield* show(client, id)
})

const started = (client: Client, id: string) =>
  client.follow(`/v1/jobs/${id}/events`, { until: ({ event }) => event === "JobStarted" })

/** Every page of a list, by its Link headers. */
const pages = Effect.fnUntraced(function* (
  client: Client,
  first: string,
  between: Effect.Effect<void> = Effect.void,
): Effect.fn.Return<ReadonlyArray<ReadonlyArray<string>>> {
  const found: Array<ReadonlyArray<string>> = []
  let path: string | undefined = first
  while (path !== undefined) {
    const answer: Answer = yield* client.get(path)
    assert.strictEqual(answer.status, 200, answer.text)
    const { data, pagination } = answer.json<Page>()
    found.push(data.map(({ id }) => id))
    path = /<([^>]+)>; rel="next"/.exec(answer.headers.get("link") ?? "")?.[1]
    assert.strictEqual(path !== undefined, pagination.has_more)
    assert.strictEqual(pagination.next_cursor === null, path === undefined)
    yield* between
  }
  return found
})

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("jobs", (it) => {
  it.effect("a submitted job answers 202 with its place, and completes with its result", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const answer = yield* client.post("/v1/jobs", { ...ECHO, priority: "high", tags: ["a", "b", "a"] })
      assert.strictEqual(answer.status, 202, answer.text)
      const { id } = answer.json<Job>()
      assert.strictEqual(answer.headers.get("location"), `/v1/jobs/${id}`)
      yield* client.follow(`/v1/jobs/${id}/events`)
      const job = yield* show(client, id)
      assert.strictEqual(job.status, "completed")
      assert.deepStrictEqual(job.result, ECHO.payload)
      assert.deepStrictEqual(job.tags, ["a", "b"])
      assert.strictEqual(job.priority, "high")
      assert.strictEqual(job.attempts.length, 1)
      assert.strictEqual(job.metrics.retry_count, 0)
      const [attempt] = job.attempts
      assert.strictEqual(job.metrics.total_ms, Date.parse(job.finished_at!) - Date.parse(job.created_at))
      assert.strictEqual(attempt?.outcome, "completed")
    }),
  )

  it.effect("the same idempotency key and request is the same job; another request is refused", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const keyed = { ...ECHO, idempotency_key: "once" }
      const id = yield* submit(client, keyed)
      yield* client.follow(`/v1/jobs/${id}/events`)
      const head = journalHead(dataDir)
      const again = yield* client.post("/v1/jobs", { ...keyed, priority: "low" })
      assert.strictEqual(again.status, 200)
      assert.strictEqual(again.json<Job>().id, id)
      assert.strictEqual(again.headers.get("location"), `/v1/jobs/${id}`)
      const other = yield* client.post("/v1/jobs", { ...keyed, payload: "other" })
      assert.strictEqual(other.status, 422)
      assert.strictEqual(other.problem, "idempotency-key-reused")
      assert.strictEqual(journalHead(dataDir), head)
      // The key belongs to its queue.
      assert.notStrictEqual(yield* submit(client, { ...keyed, queue: "elsewhere" }), id)
    }),
  )

  it.effect("64 submissions with one idempotency key at the same moment make one job", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const answers = yield* Effect.forEach(
        Array.from({ length: 64 }),
        () => client.post("/v1/jobs", { ...LATER, idempotency_key: "rush" }),
        { concurrency: "unbounded" },
      )
      assert.strictEqual(new Set(answers.map((answer) => answer.json<Job>().id)).size, 1)
      assert.strictEqual(answers.filter(({ status }) => status === 202).length, 1)
    }),
  )

  it.effect("Prefer: wait answers with the result, or with 202 when it takes longer", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const quick = yield* client.post("/v1/jobs", ECHO, { prefer: "wait=10" })
      assert.strictEqual(quick.status, 200)
      assert.strictEqual(quick.headers.get("preference-applied"), "wait=10")
      assert.deepStrictEqual(quick.json<Job>().result, ECHO.payload)
      const slow = yield* client.post("/v1/jobs", SLEEP, { prefer: "wait=1" })
      assert.strictEqual(slow.status, 202)
      assert.strictEqual(slow.headers.get("preference-applied"), "wait=1")
      const { id, status } = slow.json<Job>()
      assert.strictEqual(status, "processing")
      yield* client.post(`/v1/jobs/${id}/cancel`)
    }),
  )

  it.effect("a batch is stored as a whole, across queues", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const jobs = Array.from({ length: 50 }, (_, i) => ({
        ...LATER,
        queue: i % 2 === 0 ? "even" : "odd",
        ...(i === 49 ? { idempotency_key: "k" } : {}),
      }))
      const first = yield* client.post("/v1/jobs/batch", { jobs })
      assert.strictEqual(first.status, 202, first.text)
      const { data } = first.json<{ data: ReadonlyArray<{ id: string; deduplicated: boolean }> }>()
      assert.strictEqual(new Set(data.map(({ id }) => id)).size, 50)
      assert.isFalse(data.some(({ deduplicated }) => deduplicated))
      const even = (yield* client.get("/v1/queues/even")).json<QueueView>()
      assert.strictEqual(even.depth.scheduled, 25)
      const second = yield* client.post("/v1/jobs/batch", { jobs: jobs.slice(49) })
      assert.deepStrictEqual(second.json()["data"], [{ id: data[49]!.id, deduplicated: true }])
    }),
  )

  it.effect("one bad job among 50 keeps out all of them, and is named", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const head = journalHead(dataDir)
      yield* submit(client, { ...LATER, queue: "taken", idempotency_key: "taken" })
      const bad: ReadonlyArray<readonly [object, number, string | undefined]> = [
        [{ ...LATER, type: "system:unknown" }, 400, "jobs.37.type invalid_value"],
        [{ type: "system:sleep", payload: { ms: "1" } }, 400, "jobs.37.payload.ms invalid_type"],
        [{ ...ECHO, delay_ms: -1 }, 400, "jobs.37.delay_ms out_of_range"],
        [{ ...ECHO, surprise: 1 }, 400, "jobs.37.surprise unknown_field"],
        [{ ...LATER, queue: "taken", payload: 1, idempotency_key: "taken" }, 422, undefined],
      ]
      for (const [job, status, error] of bad) {
        const jobs: Array<object> = Array.from({ length: 50 }, () => LATER)
        jobs[37] = job
        const answer = yield* client.post("/v1/jobs/batch", { jobs })
        assert.strictEqual(answer.status, status, answer.text)
        if (error !== undefined) assert.deepStrictEqual(answer.fieldErrors, [error])
      }
      assert.strictEqual(journalHead(dataDir), head + 1)
    }),
  )

  it.effect("lists find jobs by queue, type, status, tag and time", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const queue = "listed"
      const before = new Date().toISOString()
      const completed = (yield* run(client, { ...ECHO, queue, tags: ["red"] })).id
      const dead = (yield* run(client, { ...DEAD, queue })).id
      const scheduled = yield* submit(client, { ...LATER, queue, tags: ["red", "blue"] })
      const cancelled = yield* submit(client, { ...LATER, queue })
      yield* client.post(`/v1/jobs/${cancelled}/cancel`)
      const processing = yield* submit(client, { ...SLEEP, queue, tags: ["blue"] })
      yield* started(client, processing)
      const expected: ReadonlyArray<readonly [string, ReadonlyArray<string>]> = [
        ["", [processing, cancelled, scheduled, dead, completed]],
        ["&status=completed", [completed]],
        ["&status=dead_letter", [dead]],
        ["&status=scheduled", [scheduled]],
        ["&status=pending", []],
        ["&status=cancelled", [cancelled]],
        ["&status=processing", [processing]],
        ["&type=system:echo", [cancelled, scheduled, completed]],
        ["&tag=red", [scheduled, completed]],
        ["&tag=blue&status=processing", [processing]],
        ["&tag=blue&type=system:fail", []],
        [`&created_after=${before}`, [processing, cancelled, scheduled, dead, completed]],
        [`&created_before=${before}`, []],
      ]
      for (const [filter, ids] of expected) {
        assert.deepStrictEqual((yield* pages(client, `/v1/jobs?queue=${queue}${filter}`)).flat(), ids, filter)
      }
      assert.deepStrictEqual(yield* pages(client, "/v1/jobs?queue=never-seen"), [[]])
      yield* client.post(`/v1/jobs/${processing}/cancel`)
    }),
  )

  it.effect("pages show every job once, also while jobs arrive", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const jobs = Array.from({ length: 7 }, () => ({ ...LATER, queue: "paged", tags: ["paged"] }))
      const { data } = (yield* client.post("/v1/jobs/batch", { jobs })).json<{
        data: ReadonlyArray<{ id: string }>
      }>()
      const newest = data.map(({ id }) => id).toReversed()
      const arrival = Effect.asVoid(submit(client, jobs[0]!))
      for (const filter of ["queue=paged", "tag=paged"]) {
        const found = yield* pages(client, `/v1/jobs?${filter}&limit=3`, arrival)
        assert.deepStrictEqual(found.flat().slice(-7), newest)
        assert.strictEqual(new Set(found.flat()).size, found.flat().length)
      }
      const { pagination } = (yield* client.get("/v1/jobs?limit=1")).json<Page>()
      const elsewhere = yield* client.get(`/v1/dead-letters?cursor=${pagination.next_cursor}`)
      assert.strictEqual(elsewhere.problem, "invalid-request", "another list's cursor")
    }),
  )

  it.effect("a job can be seen as it was at any version", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const job = yield* run(client, {
        type: "system:fail",
        payload: { times: 1 },
        max_attempts: 2,
        queue: "past",
      })
      const events = yield* history(client, job.id)
      assert.deepStrictEqual(
        events.map(({ type }) => type),
        ["JobEnqueued", "JobStarted", "JobLogged", "JobAttemptFailed", "JobStarted", "JobCompleted"],
      )
      const statuses = yield* Effect.forEach(events, ({ version }) =>
        Effect.map(client.get(`/v1/jobs/${job.id}?version=${version}`), (answer) => {
          const past = answer.json<Job>()
          assert.strictEqual(past.version, version)
          return [past.status, past.attempt]
        }),
      )
      // Its retry was scheduled then, and has been due since.
      assert.deepStrictEqual(statuses, [
        ["pending", 0],
        ["processing", 1],
        ["processing", 1],
        ["pending", 1],
        ["processing", 2],
        ["completed", 2],
      ])
      const notYet = yield* client.get(`/v1/jobs/${job.id}?version=${events.length + 1}`)
      assert.strictEqual(notYet.problem, "invalid-request")
      const both = yield* client.get(`/v1/jobs/${job.id}?version=1&at=2030-01-01T00:00:00Z`)
      assert.strictEqual(both.problem, "invalid-request")
    }),
  )

  it.effect("a job can be seen as it was at any moment", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const id = yield* submit(client, { type: "system:sleep", payload: { ms: 300 }, queue: "past" })
      yield* client.follow(`/v1/jobs/${id}/events`)
      const job = yield* show(client, id)
      const at = (time: string | number) =>
        client.get(`/v1/jobs/${id}?at=${encodeURIComponent(new Date(time).toISOString())}`)
      const [started] = job.attempts
      const running = (yield* at(started!.started_at)).json<Job>()
      assert.deepInclude(running, { status: "processing", finished_at: null, result: null })
      assert.isNull(running.attempts[0]!.ended_at)
      const ended = (yield* at(job.finished_at!)).json<Job>()
      assert.deepInclude(ended, { status: "completed", version: job.version, finished_at: job.finished_at })
      // Any offset will do, and what is to come is what is now.
      const later = yield* client.get(`/v1/jobs/${id}?at=2999-01-01T00:00:00%2B01:00`)
      assert.strictEqual(later.json<Job>().status, "completed")
      const before = yield* at(Date.parse(job.created_at) - 1)
      assert.strictEqual(before.status, 404)
      assert.strictEqual(before.problem, "job-not-found")
      // Nobody can know yet what will become of a job that is due in an hour.
      const scheduled = yield* submit(client, LATER)
      const future = yield* client.get(`/v1/jobs/${scheduled}?at=2999-01-01T00:00:00Z`)
      assert.strictEqual(future.json<Job>().status, "scheduled")
    }),
  )

  it.effect("what attempts have logged can be read, by attempt", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { id } = yield* run(client, { type: "system:fail", payload: { times: 2 }, max_attempts: 3 })
      const logs = (query: string) =>
        Effect.map(client.get(`/v1/jobs/${id}/logs${query}`), (answer) =>
          answer.json<typeof JobLogs.Encoded>(),
        )
      const { data, dropped } = yield* logs("")
      assert.strictEqual(dropped, 0)
      assert.deepStrictEqual(
        data.map(({ attempt, level, message, data }) => [attempt, level, message, data]),
        [1, 2].map((attempt) => [attempt, "warn", "fails as it was told to", { attempt, times: 2 }]),
      )
      const { attempts } = yield* show(client, id)
      for (const [i, { at }] of data.entries()) {
        assert.isAtLeast(Date.parse(at), Date.parse(attempts[i]!.started_at))
        assert.isAtMost(Date.parse(at), Date.parse(attempts[i]!.ended_at!))
      }
      assert.deepStrictEqual((yield* logs("?attempt=2")).data, data.slice(1))
      assert.deepStrictEqual((yield* logs("?attempt=3")).data, [])
    }),
  )

  it.effect("a job that nobody could start in time is cancelled", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const queue = "expiring"
      const running = yield* submit(client, { ...SLEEP, queue, concurrency_key: "one" })
      yield* started(client, running)
      const expiresAt = new Date(Date.now() + 700).toISOString()
      const id = yield* submit(client, { ...ECHO, queue, concurrency_key: "one", expires_at: expiresAt })
      assert.deepInclude(yield* show(client, id), { expires_at: expiresAt, cancelled: null })
      yield* client.follow(`/v1/jobs/${id}/events`)
      const job = yield* show(client, id)
      assert.strictEqual(job.status, "cancelled")
      assert.deepStrictEqual(job.cancelled, { cause: "expired", reason: null })
      assert.isAtLeast(Date.parse(job.finished_at!), Date.parse(expiresAt))
      assert.strictEqual(job.attempt, 0)
      // Wanted all the same, it runs, without the deadline.
      yield* client.post(`/v1/jobs/${running}/cancel`)
      yield* client.post(`/v1/jobs/${id}/retry`)
      yield* client.follow(`/v1/jobs/${id}/events`)
      assert.deepInclude(yield* show(client, id), { status: "completed", expires_at: null, cancelled: null })
      const manual = yield* show(client, running)
      assert.deepStrictEqual(manual.cancelled, { cause: null, reason: null })
    }),
  )

  it.effect("the same request with the same key is the same job, also after it has expired", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const keyed = {
        ...ECHO,
        queue: "expired-once",
        idempotency_key: "once",
        expires_at: new Date(Date.now() + 300).toISOString(),
      }
      const { id } = yield* run(client, keyed)
      yield* Effect.sleep(Math.max(0, Date.parse(keyed.expires_at) + 1 - Date.now()))
      const head = journalHead(dataDir)
      const again = yield* client.post("/v1/jobs", keyed)
      assert.strictEqual(again.status, 200, again.text)
      assert.strictEqual(again.json<Job>().id, id)
      const batch = yield* client.post("/v1/jobs/batch", { jobs: [keyed] })
      assert.deepStrictEqual(batch.json()["data"], [{ id, deduplicated: true }])
      const other = yield* client.post("/v1/jobs", { ...keyed, idempotency_key: "twice" })
      assert.deepStrictEqual(other.fieldErrors, ["expires_at out_of_range"])
      assert.strictEqual(journalHead(dataDir), head)
    }),
  )

  it.effect("a job that depends on others runs when they have completed", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const first = yield* submit(client, LATER)
      const second = yield* submit(client, LATER)
      const id = yield* submit(client, { ...ECHO, depends_on: [first, second] })
      assert.deepInclude(yield* show(client, id), {
        status: "scheduled",
        depends_on: [first, second],
        waits_for: [first, second],
        on_dependency_failure: "cancel",
      })
      yield* client.post(`/v1/jobs/${first}/retry`)
      const told = yield* client.follow(`/v1/jobs/${id}/events`, {
        until: ({ event }) => event === "JobDependencyEnded",
      })
      assert.deepStrictEqual(told.events.at(-1)!.data["data"], {
        job: first,
        outcome: "completed",
        settled: true,
      })
      assert.deepInclude(yield* show(client, id), { status: "scheduled", waits_for: [second] })
      yield* client.post(`/v1/jobs/${second}/retry`)
      yield* client.follow(`/v1/jobs/${id}/events`)
      assert.deepInclude(yield* show(client, id), {
        status: "completed",
        depends_on: [first, second],
        waits_for: [],
      })
      // What has completed already need not be waited for.
      const after = yield* run(client, { ...ECHO, depends_on: [first, id] })
      assert.deepInclude(after, { status: "completed", depends_on: [], on_dependency_failure: null })
    }),
  )

  it.effect("the jobs of a batch depend on each other by ref, in any order and over queues", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const answer = yield* client.post("/v1/jobs/batch", {
        jobs: [
          { ...ECHO, ref: "end", depends_on: ["left", "right"] },
          { ...ECHO, ref: "left", depends_on: ["start"], queue: "left" },
          { ...ECHO, ref: "right", depends_on: ["start"], queue: "right" },
          { ...ECHO, ref: "start" },
        ],
      })
      assert.strictEqual(answer.status, 202, answer.text)
      const ids = answer.json<{ data: ReadonlyArray<{ id: string }> }>().data.map(({ id }) => id)
      yield* client.follow(`/v1/jobs/${ids[0]}/events`)
      const [end, left, right, first] = yield* Effect.forEach(ids, (id) => show(client, id))
      assert.deepStrictEqual(end!.depends_on, [left!.id, right!.id])
      assert.deepStrictEqual(left!.depends_on, [first!.id])
      const times = (job: Job | undefined) => ({
        started: Date.parse(job!.started_at!),
        finished: Date.parse(job!.finished_at!),
      })
      for (const middle of [left, right]) {
        assert.isAtLeast(times(middle).started, times(first).finished)
        assert.isAtLeast(times(end).started, times(middle).finished)
      }
    }),
  )

  it.effect("when a job dies, those that depend on it are cancelled, run, or wait, as they say", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const dead = yield* submit(client, { ...DEAD, delay_ms: HOUR_MS })
      const [cancelled, running, waiting] = yield* Effect.forEach(["cancel", "run", "wait"], (policy) =>
        submit(client, { ...ECHO, depends_on: [dead], on_dependency_failure: policy }),
      )
      const next = yield* submit(client, { ...ECHO, depends_on: [cancelled] })
      yield* client.post(`/v1/jobs/${dead}/retry`)
      for (const [id, on] of [
        [cancelled!, dead],
        [next, cancelled!],
      ] as const) {
        yield* client.follow(`/v1/jobs/${id}/events`)
        const job = yield* show(client, id)
        const outcome = on === dead ? "dead_letter" : "cancelled"
        assert.strictEqual(job.status, "cancelled")
        assert.deepStrictEqual(job.cancelled, {
          cause: "dependency_failed",
          reason: `${on} ended as ${outcome}`,
        })
      }
      yield* client.follow(`/v1/jobs/${running}/events`)
      assert.deepInclude(yield* show(client, running!), { status: "completed", waits_for: [] })
      yield* client.follow(`/v1/jobs/${waiting}/events`, {
        until: ({ event }) => event === "JobDependencyEnded",
      })
      assert.deepInclude(yield* show(client, waiting!), {
        status: "scheduled",
        waits_for: [dead],
        on_dependency_failure: "wait",
      })
      // The second attempt works.
      yield* client.post(`/v1/jobs/${dead}/retry`)
      yield* client.follow(`/v1/jobs/${waiting}/events`)
      assert.strictEqual((yield* show(client, waiting!)).status, "completed")
    }),
  )

  it.effect("a live stream goes on where it was left, without gaps or repeats", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const id = yield* submit(client, { type: "system:sleep", payload: { ms: 1_500 } })
      const path = `/v1/jobs/${id}/events`
      const seen: Array<number> = []
      let events = 0
      for (let ended = false; !ended;) {
        const lastEventId = seen.at(-1)
        const followed = yield* client.follow(path, {
          ...(lastEventId === undefined ? {} : { lastEventId }),
          // Hangs up after every event that can be gone on from.
          until: ({ id }) => id !== undefined,
        })
        const ids = followed.events.flatMap((event) => (event.id === undefined ? [] : [event.id]))
        events += followed.events.length
        seen.push(...ids)
        ended = followed.ended
      }
      const versions = (yield* history(client, id)).map(({ version }) => version)
      assert.deepStrictEqual(seen, versions)
      assert.isAbove(events, versions.length, "live progress came in between")
      const wrong = yield* client.get(path, { accept: "text/event-stream", "last-event-id": "x" })
      assert.strictEqual(wrong.problem, "invalid-request")
    }),
  )

  it.effect("cancelling ends a job that waits or runs, and is refused for one that has ended", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const waiting = yield* submit(client, LATER)
      const running = yield* submit(client, { ...SLEEP, queue: "cancelled" })
      yield* started(client, running)
      for (const id of [waiting, running]) {
        const answer = yield* client.post(`/v1/jobs/${id}/cancel`)
        assert.strictEqual(answer.status, 200, answer.text)
        assert.strictEqual(answer.json<Job>().status, "cancelled")
        const { version } = answer.json<Job>()
        const again = yield* client.post(`/v1/jobs/${id}/cancel`)
        assert.strictEqual(again.json<Job>().version, version, "cancelling twice is the same as once")
      }
      const { workers } = (yield* client.get("/v1/queues/cancelled")).json<QueueView>()
      assert.strictEqual(workers.running, 0)
      const completed = yield* run(client, ECHO)
      const refused = yield* client.post(`/v1/jobs/${completed.id}/cancel`)
      assert.strictEqual(refused.status, 409)
      assert.strictEqual(refused.problem, "job-not-cancellable")
      assert.strictEqual(refused.json()["current_status"], "completed")
    }),
  )

  it.effect("a waiting job can be let go, put off and preferred; one that runs or ended cannot", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const waiting = yield* submit(client, { ...LATER, priority: "low" })
      const at = "2031-02-03T04:05:06.789+02:00"
      const later = yield* client.post(`/v1/jobs/${waiting}/reschedule`, { scheduled_at: at })
      assert.strictEqual(later.json<Job>().due_at, "2031-02-03T02:05:06.789Z")
      const urgent = yield* client.post(`/v1/jobs/${waiting}/prioritize`, { priority: "urgent" })
      assert.strictEqual(urgent.json<Job>().priority, "urgent")
      const now = yield* client.post(`/v1/jobs/${waiting}/retry`)
      assert.strictEqual(now.status, 200, now.text)
      yield* client.follow(`/v1/jobs/${waiting}/events`)
      assert.strictEqual((yield* show(client, waiting)).status, "completed")

      const running = yield* submit(client, { ...SLEEP, queue: "commanded" })
      yield* started(client, running)
      for (const id of [waiting, running]) {
        for (const [command, body] of [
          ["retry", undefined],
          ["reschedule", { scheduled_at: at }],
          ["prioritize", { priority: "low" }],
        ] as const) {
          const { version } = yield* show(client, id)
          const refused = yield* client.post(`/v1/jobs/${id}/${command}`, body)
          assert.strictEqual(refused.status, 409, `${command} ${refused.text}`)
          assert.strictEqual(refused.problem, "conflict")
          if (id === waiting) assert.strictEqual((yield* show(client, id)).version, version)
        }
      }
      yield* client.post(`/v1/jobs/${running}/cancel`)
    }),
  )

  it.effect("dead letters are listed with their error, and redriven by filter", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const dead: Array<string> = []
      for (let i = 0; i < 5; i++) {
        const tags = i === 2 ? ["odd one"] : []
        const job = yield* run(client, { ...DEAD, tags, queue: i < 4 ? "morgue" : "other-morgue" })
        assert.strictEqual(job.status, "dead_letter")
        assert.strictEqual(job.error?.name, "ToldToFail")
        dead.push(job.id)
      }
      const found = yield* pages(client, "/v1/dead-letters?queue=morgue&limit=3")
      assert.deepStrictEqual(found.flat(), dead.slice(0, 4).toReversed())

      const redrive = (body: object) =>
        Effect.map(client.post("/v1/dead-letters/redrive", body), (answer) => {
          assert.strictEqual(answer.status, 200, answer.text)
          return answer.json<{ redriven: ReadonlyArray<string>; remaining: boolean }>()
        })
      const none = yield* redrive({ queue: "morgue", type: "system:echo" })
      assert.deepStrictEqual(none, { redriven: [], remaining: false })
      const tagged = yield* client.get("/v1/dead-letters?tag=odd%20one")
      assert.deepStrictEqual(
        tagged.json<Page>().data.map(({ id }) => id),
        [dead[2]],
      )
      const one = yield* redrive({ tag: "odd one" })
      assert.deepStrictEqual(one, { redriven: [dead[2]!], remaining: false })
      const some = yield* redrive({ queue: "morgue", limit: 2 })
      assert.deepStrictEqual([...some.redriven].toSorted(), [dead[1]!, dead[3]!].toSorted())
      assert.isTrue(some.remaining)
      const rest = yield* redrive({ queue: "morgue" })
      assert.deepStrictEqual(rest, { redriven: [dead[0]!], remaining: false })
      for (const id of dead.slice(0, 4)) {
        yield* client.follow(`/v1/jobs/${id}/events`)
        const job = yield* show(client, id)
        assert.strictEqual(job.status, "completed", id)
        assert.strictEqual(job.attempt, 2)
      }
      assert.deepStrictEqual((yield* pages(client, "/v1/dead-letters?queue=morgue")).flat(), [])
      assert.deepStrictEqual(
        (yield* pages(client, "/v1/dead-letters?queue=other-morgue")).flat(),
        dead.slice(4),
      )
    }),
  )

  it.effect("queues tell how deep they are and what they do", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const queue = "counted"
      yield* run(client, { ...ECHO, queue })
      yield* run(client, { ...DEAD, queue })
      yield* submit(client, { ...LATER, queue, priority: "urgent" })
      const cancelled = yield* submit(client, { ...LATER, queue, priority: "low" })
      yield* client.post(`/v1/jobs/${cancelled}/cancel`)
      const running = yield* submit(client, { ...SLEEP, queue })
      yield* started(client, running)
      const view = (yield* client.get(`/v1/queues/${queue}`)).json<QueueView>()
      assert.deepStrictEqual(view.depth, {
        scheduled: 1,
        pending: 0,
        processing: 1,
        completed: 1,
        dead_letter: 1,
        cancelled: 1,
      })
      assert.deepStrictEqual(view.waiting_by_priority, { urgent: 1, high: 0, normal: 0, low: 0 })
      assert.isNull(view.oldest_pending_ms)
      assert.deepStrictEqual(view.throughput, { completed_per_minute: 1, failed_per_minute: 1 })
      assert.deepStrictEqual(view.workers.running_by_type["system:sleep"], 1)
      const all = (yield* client.get("/v1/queues")).json<{ data: ReadonlyArray<QueueView> }>().data
      assert.include(
        all.map(({ name }) => name),
        queue,
      )
      yield* client.post(`/v1/jobs/${running}/cancel`)
    }),
  )
})
