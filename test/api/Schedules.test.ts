import { assert, describe, it as test, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { ScheduleJson } from "../../src/api/v1/schedules/Api.ts"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import type { Client } from "../support/Client.ts"
import { dataFolder, journalHead, look, start } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"

type Schedule = typeof ScheduleJson.Encoded
type Job = typeof JobJson.Encoded
interface Page<Item> {
  readonly data: ReadonlyArray<Item>
  readonly pagination: { readonly next_cursor: string | null }
}

const SECOND_MS = 1_000
const ECHO = { type: "system:echo", payload: { hello: "world" } }
/** Due in some years: it does not tick during a test. */
const SELDOM = { name: "leap day", cron: "0 12 29 2 *", job: ECHO }
const EVERY_SECOND = { ...SELDOM, name: "often", cron: "* * * * * *" }
const UNKNOWN = "sched_01k8w3e5r7fm2vx9q4ztd6yhbn"

const create = (client: Client, schedule: object) =>
  Effect.map(client.post("/v1/schedules", schedule), (answer) => {
    assert.strictEqual(answer.status, 201, answer.text)
    return answer.json<Schedule>()
  })

const show = (client: Client, id: string) =>
  Effect.map(client.get(`/v1/schedules/${id}`), (answer) => {
    assert.strictEqual(answer.status, 200, answer.text)
    return answer.json<Schedule>()
  })

/** The schedule once it has ticked. */
const ticked = (client: Client, id: string): Effect.Effect<Schedule> =>
  Effect.flatMap(show(client, id), (schedule) =>
    schedule.last_tick === null
      ? Effect.andThen(Effect.sleep("50 millis"), ticked(client, id))
      : Effect.succeed(schedule),
  )

const jobsOf = (client: Client, id: string) =>
  Effect.map(client.get(`/v1/jobs?tag=schedule:${id}&limit=100`), (answer) => answer.json<Page<Job>>().data)

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 20_000 })("schedules", (it) => {
  it.effect("a new schedule answers 201 with its place and its next ticks", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const answer = yield* client.post("/v1/schedules", {
        name: "weekly report",
        cron: "30 9 * * mon",
        time_zone: "Europe/Berlin",
        catch_up: "all",
        job: {
          ...ECHO,
          queue: "reports",
          priority: "low",
          max_attempts: 2,
          timeout_ms: 5_000,
          tags: ["weekly"],
        },
      })
      assert.strictEqual(answer.status, 201, answer.text)
      const schedule = answer.json<Schedule>()
      assert.strictEqual(answer.headers.get("location"), `/v1/schedules/${schedule.id}`)
      assert.match(schedule.id, /^sched_/)
      assert.deepInclude(schedule, {
        name: "weekly report",
        cron: "30 9 * * mon",
        time_zone: "Europe/Berlin",
        catch_up: "all",
        paused: false,
        last_tick: null,
      })
      assert.deepStrictEqual(schedule.job, {
        type: "system:echo",
        payload: { hello: "world" },
        queue: "reports",
        priority: "low",
        max_attempts: 2,
        timeout_ms: 5_000,
        concurrency_key: null,
        tags: ["weekly"],
      })
      assert.lengthOf(schedule.upcoming, 3)
      assert.strictEqual(schedule.next_tick_at, schedule.upcoming[0])
      for (const tick of schedule.upcoming) {
        assert.include(
          ["Mon 09:30"],
          new Intl.DateTimeFormat("en-GB", {
            timeZone: "Europe/Berlin",
            weekday: "short",
            hour: "2-digit",
            minute: "2-digit",
          })
            .format(new Date(tick))
            .replace(",", ""),
        )
      }
      assert.deepStrictEqual(yield* show(client, schedule.id), schedule)
    }),
  )

  it.effect("without a zone, a policy or a payload it is UTC, latest and null", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const schedule = yield* create(client, { ...SELDOM, job: { type: "system:echo" } })
      assert.deepInclude(schedule, { time_zone: "UTC", catch_up: "latest" })
      assert.isNull(schedule.job.payload)
      assert.match(schedule.next_tick_at!, /-02-29T12:00:00.000Z$/)
    }),
  )

  it.effect("its ticks are jobs like any other, found by its tag", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { id } = yield* create(client, { ...EVERY_SECOND, job: { ...ECHO, tags: ["mine"] } })
      const { last_tick } = yield* ticked(client, id)
      yield* client.post(`/v1/schedules/${id}/pause`)
      const jobs = yield* jobsOf(client, id)
      assert.include(
        jobs.map((job) => job.id),
        last_tick!.job_id,
      )
      for (const job of jobs) {
        assert.deepStrictEqual(job.tags, ["mine", `schedule:${id}`])
        assert.deepStrictEqual(job.payload, ECHO.payload)
      }
      const job = jobs.find((job) => job.id === last_tick!.job_id)!
      assert.isAtLeast(Date.parse(job.created_at), Date.parse(last_tick!.at))
      assert.strictEqual(Date.parse(last_tick!.at) % SECOND_MS, 0)
    }),
  )

  it.effect("pausing, resuming and deleting: each at once, each again is no error or 404", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { id, next_tick_at } = yield* create(client, SELDOM)
      for (let again = 0; again < 2; again++) {
        const paused = (yield* client.post(`/v1/schedules/${id}/pause`)).json<Schedule>()
        assert.isTrue(paused.paused)
        assert.isNull(paused.next_tick_at)
        assert.deepStrictEqual(paused.upcoming, [])
      }
      for (let again = 0; again < 2; again++) {
        const resumed = (yield* client.post(`/v1/schedules/${id}/resume`)).json<Schedule>()
        assert.isFalse(resumed.paused)
        assert.strictEqual(resumed.next_tick_at, next_tick_at)
      }
      assert.strictEqual((yield* client.request("DELETE", `/v1/schedules/${id}`)).status, 204)
      for (const [method, path] of [
        ["DELETE", ""],
        ["GET", ""],
        ["POST", "/pause"],
        ["POST", "/resume"],
        ["POST", "/trigger"],
      ] as const) {
        const answer = yield* client.request(method, `/v1/schedules/${id}${path}`)
        assert.strictEqual(answer.status, 404)
        assert.strictEqual(answer.problem, "schedule-not-found")
      }
    }),
  )

  it.effect("a change applies what it names, and moves the next tick if it concerns the time", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const before = yield* create(client, { ...SELDOM, job: { ...ECHO, queue: "reports" } })
      const patch = (body: object) =>
        Effect.map(client.request("PATCH", `/v1/schedules/${before.id}`, { body }), (answer) => {
          assert.strictEqual(answer.status, 200, answer.text)
          return answer.json<Schedule>()
        })
      const renamed = yield* patch({ name: "renamed", catch_up: "skip" })
      assert.deepStrictEqual(
        { ...renamed, updated_at: before.updated_at },
        { ...before, name: "renamed", catch_up: "skip" },
      )
      const retimed = yield* patch({ cron: "0 12 1 1 *", time_zone: "America/New_York" })
      assert.match(retimed.next_tick_at!, /-01-01T17:00:00.000Z$/)
      const { job } = yield* patch({ job: { type: "system:sleep", payload: { ms: 1 } } })
      assert.deepInclude(job, { type: "system:sleep", payload: { ms: 1 }, queue: null })
      assert.deepStrictEqual(yield* patch({}), yield* show(client, before.id))
    }),
  )

  it.effect("a trigger submits the job now, beside the ticks", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const { id } = yield* create(client, SELDOM)
      yield* client.post(`/v1/schedules/${id}/pause`)
      const answer = yield* client.post(`/v1/schedules/${id}/trigger`)
      assert.strictEqual(answer.status, 202, answer.text)
      const job = answer.json<Job>()
      assert.strictEqual(answer.headers.get("location"), `/v1/jobs/${job.id}`)
      yield* client.follow(`/v1/jobs/${job.id}/events`)
      assert.deepStrictEqual(
        (yield* jobsOf(client, id)).map(({ id, status }) => ({ id, status })),
        [{ id: job.id, status: "completed" }],
      )
      assert.isNull((yield* show(client, id)).last_tick)
    }),
  )

  it.effect("what cannot be is refused field by field, and nothing of it is stored", () =>
    Effect.gen(function* () {
      const { client, dataDir } = yield* SharedServer
      const { id } = yield* create(client, SELDOM)
      const head = journalHead(dataDir)
      const bad: ReadonlyArray<readonly [object, ReadonlyArray<string>]> = [
        [{ cron: "61 * * * *" }, ["cron invalid_format"]],
        [{ cron: "* * * *" }, ["cron invalid_format"]],
        [{ cron: "@daily" }, ["cron invalid_format"]],
        [{ cron: "0 0 30 2 *" }, ["cron invalid_value"]],
        [{ cron: "1,".repeat(300) }, ["cron invalid_length"]],
        [{ cron: "" }, ["cron invalid_length"]],
        [{ cron: 5 }, ["cron invalid_type"]],
        [{ time_zone: "Mars/Olympus_Mons" }, ["time_zone invalid_value"]],
        [{ time_zone: "+01:00" }, ["time_zone invalid_value"]],
        [{ catch_up: "some" }, ["catch_up invalid_value"]],
        [{ name: "" }, ["name invalid_length"]],
        [{ surprise: 1 }, ["surprise unknown_field"]],
        [{ job: { type: "system:unknown" } }, ["job.type invalid_value"]],
        [{ job: { type: "system:sleep", payload: { ms: "1" } } }, ["job.payload.ms invalid_type"]],
        [{ job: { ...ECHO, delay_ms: 5 } }, ["job.delay_ms unknown_field"]],
        [{ job: { ...ECHO, max_attempts: 0 } }, ["job.max_attempts out_of_range"]],
        [
          { cron: "x", time_zone: "x", job: { type: "x" } },
          ["cron invalid_format", "time_zone invalid_value", "job.type invalid_value"],
        ],
      ]
      for (const [fields, errors] of bad) {
        for (const [method, path, body] of [
          ["POST", "/v1/schedules", { ...SELDOM, ...fields }],
          ["PATCH", `/v1/schedules/${id}`, fields],
        ] as const) {
          const answer = yield* client.request(method, path, { body })
          assert.strictEqual(answer.status, 400, `${JSON.stringify(fields)}: ${answer.text}`)
          assert.strictEqual(answer.problem, "validation-failed")
          assert.deepStrictEqual(answer.fieldErrors, errors)
        }
      }
      assert.deepStrictEqual((yield* client.post("/v1/schedules", {})).fieldErrors, [
        "name missing",
        "cron missing",
        "job missing",
      ])
      assert.strictEqual(journalHead(dataDir), head)
    }),
  )

  it.effect("an id that nobody has is 404, one that cannot be is 400", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const patch = (id: string) => client.request("PATCH", `/v1/schedules/${id}`, { body: { name: "x" } })
      assert.strictEqual((yield* patch(UNKNOWN)).problem, "schedule-not-found")
      assert.strictEqual((yield* client.get(`/v1/schedules/${UNKNOWN}`)).problem, "schedule-not-found")
      assert.strictEqual((yield* client.get("/v1/schedules/weekly")).problem, "invalid-id")
    }),
  )

  it.effect("lists go newest first, page by page, without those that are deleted", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const ids: Array<string> = []
      for (let n = 0; n < 5; n++) ids.unshift((yield* create(client, { ...SELDOM, name: `no ${n}` })).id)
      yield* client.request("DELETE", `/v1/schedules/${ids[1]!}`)
      const listed: Array<string> = []
      for (let path = "/v1/schedules?limit=2"; listed.length < 4;) {
        const { data, pagination } = (yield* client.get(path)).json<Page<Schedule>>()
        listed.push(...data.map(({ id }) => id))
        path = `/v1/schedules?limit=2&cursor=${pagination.next_cursor!}`
      }
      assert.deepStrictEqual(listed.slice(0, 4), [ids[0], ids[2], ids[3], ids[4]] as Array<string>)
      assert.strictEqual((yield* client.get("/v1/schedules?cursor=made-up")).problem, "invalid-request")
    }),
  )
})

describe("a server that is killed", () => {
  test.live(
    "goes on after it with every tick that was due, one job each",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* dataFolder
        const first = yield* start({ dataDir })
        const { id } = yield* create(first.client, { ...EVERY_SECOND, catch_up: "all" })
        yield* ticked(first.client, id)
        yield* first.process.end("SIGKILL")
        const { client, process } = yield* start({ dataDir })
        const { last_tick } = yield* show(client, id)
        yield* Effect.repeat(Effect.delay(show(client, id), "50 millis"), {
          until: (schedule) =>
            Date.parse(schedule.last_tick!.at) >= Date.parse(last_tick!.at) + 2 * SECOND_MS,
        })
        yield* process.end("SIGTERM")
        const { jobs, ticks } = look(dataDir, (database) => ({
          ticks: database
            .prepare(
              "SELECT data ->> 'tick_at' AS at, data ->> 'job_id' AS job FROM events WHERE stream = ? AND type = 'ScheduleTicked' ORDER BY version",
            )
            .all(id) as unknown as ReadonlyArray<{ readonly at: number; readonly job: string }>,
          jobs: database
            .prepare("SELECT stream FROM events WHERE type = 'JobEnqueued' ORDER BY position")
            .all()
            .map((row) => row["stream"] as string),
        }))
        assert.isAtLeast(ticks.length, 3)
        ticks.forEach(({ at }, index) => assert.strictEqual(at, ticks[0]!.at + index * SECOND_MS))
        // The last tick may have come just as the server stopped: its job is the next start's.
        const submitted = ticks.map(({ job }) => job).slice(0, Math.max(jobs.length, ticks.length - 1))
        assert.deepStrictEqual(jobs, submitted)
      }).pipe(Effect.scoped),
    30_000,
  )
})
