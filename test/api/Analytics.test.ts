import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { RendersJson, SummaryJson, TimeseriesJson, TopJson } from "../../src/api/v1/analytics/Api.ts"
import { ApiUseRecorded } from "../../src/domain/analytics/ApiUseEvents.ts"
import { Client } from "../support/Client.ts"
import { SharedServer } from "../support/SharedServer.ts"
import { dataFolder, start } from "../support/ServerProcess.ts"

type Summary = typeof SummaryJson.Encoded
type Timeseries = typeof TimeseriesJson.Encoded

const HOUR = 3_600_000
const DAY = 24 * HOUR

let asked = 0
/** Each time a moment of its own, so that no answer is one that was kept. */
const now = () => new Date(Date.now() + ++asked).toISOString()

const ask = <A>(client: Client, path: string, query: Readonly<Record<string, string>> = {}) =>
  Effect.map(
    client.get(`/v1/analytics/${path}?${new URLSearchParams({ before: now(), ...query })}`),
    (answer) => {
      assert.strictEqual(answer.status, 200, answer.text)
      return answer.json<A>()
    },
  )

/** Asks until it is so: the analytics are a moment behind. */
const askUntil = <A>(
  client: Client,
  path: string,
  query: Readonly<Record<string, string>>,
  isSo: (answer: A) => boolean,
): Effect.Effect<A> =>
  Effect.flatMap(ask<A>(client, path, query), (answer) =>
    isSo(answer)
      ? Effect.succeed(answer)
      : Effect.andThen(Effect.sleep("100 millis"), askUntil(client, path, query, isSo)),
  )

const submit = (client: Client, job: object) => client.post("/v1/jobs", job, { prefer: "wait=20" })

layer(SharedServer.layer(), { excludeTestServices: true, timeout: 60_000 })("the analytics", (it) => {
  it.effect("say what became of the jobs of a queue, in all and over time", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      for (const payload of [1, 2, 3])
        yield* submit(client, { type: "system:echo", queue: "counted", payload })
      yield* submit(client, {
        type: "system:fail",
        queue: "counted",
        payload: { times: 9 },
        max_attempts: 2,
      })
      yield* client.post("/v1/jobs", {
        type: "system:echo",
        queue: "counted",
        payload: 0,
        delay_ms: 3_600_000,
      })
      const query = { queue: "counted" }
      const summary = yield* askUntil<Summary>(
        client,
        "summary",
        query,
        ({ jobs }) => jobs.created === 5 && jobs.failed === 1,
      )
      assert.deepStrictEqual(summary.jobs, {
        created: 5,
        completed: 3,
        failed: 1,
        cancelled: 0,
        redriven: 0,
        success_rate: 0.75,
      })
      assert.deepStrictEqual(summary.attempts, { started: 5, retried: 1, stalled: 0 })
      assert.strictEqual(summary.wait.count, 5)
      assert.strictEqual(summary.processing.count, 3)
      assert.strictEqual(summary.interval, "hour")

      for (const interval of ["hour", "day"]) {
        const series = yield* ask<Timeseries>(client, "timeseries", {
          ...query,
          metric: "completed",
          interval,
        })
        const [length, count] = interval === "hour" ? ([HOUR, 24] as const) : ([DAY, 30] as const)
        const starts = series.data.map(({ at }) => Date.parse(at))
        assert.strictEqual(starts.length, count)
        assert.isTrue(starts.every((at, i) => at % length === 0 && at === starts[0]! + i * length))
        assert.strictEqual(starts[0], Date.parse(series.after))
        assert.strictEqual(starts.at(-1)! + length, Date.parse(series.before))
        const values = series.data.map(({ value }) => value!)
        assert.strictEqual(
          values.reduce((sum, value) => sum + value),
          3,
        )
        assert.isTrue(values.every((value) => value === 0 || value === 3))
      }
      const waits = yield* ask<Timeseries>(client, "timeseries", { ...query, metric: "wait_ms_p95" })
      assert.strictEqual(waits.data.filter(({ value }) => value !== null).length, 1)

      const nobody = yield* ask<Summary>(client, "summary", { queue: "never" })
      assert.strictEqual(nobody.jobs.created, 0)
      assert.isNull(nobody.jobs.success_rate)
      assert.isNull(nobody.wait.p50_ms)
    }),
  )

  it.effect("rank what they tell apart", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      for (const [queue, times] of [
        ["small", 1],
        ["large", 3],
      ] as const)
        for (let n = 0; n < times; n++)
          yield* submit(client, { type: "system:echo", queue: `ranked-${queue}`, payload: n })
      type Top = typeof TopJson.Encoded
      const { data } = yield* askUntil<Top>(
        client,
        "top",
        { by: "queue", metric: "completed", limit: "100" },
        ({ data }) => data.filter(({ name }) => name.startsWith("ranked-")).length === 2,
      )
      const ranked = yield* askUntil<Top>(
        client,
        "top",
        { by: "queue", metric: "completed", limit: "100" },
        ({ data }) => data.some(({ name, value }) => name === "ranked-large" && value === 3),
      )
      assert.isAbove(data.length, 1)
      assert.deepStrictEqual(
        ranked.data.filter(({ name }) => name.startsWith("ranked-")),
        [
          { name: "ranked-large", value: 3 },
          { name: "ranked-small", value: 1 },
        ],
      )
      const first = yield* ask<Top>(client, "top", { by: "queue", metric: "completed", limit: "1" })
      assert.strictEqual(first.data.length, 1)
    }),
  )

  it.effect("count renders, and the frames that they have made, by project", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const project = (yield* client.post("/v1/projects", { name: "counted" })).json<{ id: string }>().id
      const render = yield* client.post(`/v1/projects/${project}/renders`, {
        composition_id: "TitleCard",
        input_props: { title: "Counted" },
        output_settings: { format: "png", width: 64, height: 64 },
      })
      assert.strictEqual(render.status, 202, render.text)
      const answer = yield* askUntil<typeof RendersJson.Encoded>(
        client,
        "renders",
        { project },
        ({ total }) => total.completed === 1,
      )
      assert.deepInclude(answer.total, { created: 1, completed: 1, failed: 0, frames: 1, success_rate: 1 })
      assert.isAbove(answer.total.output_bytes, 0)
      assert.strictEqual(
        answer.data.reduce((sum, { frames }) => sum + frames, 0),
        1,
      )
    }),
  )

  it.effect("refuse what no answer can be given to, with every reason", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const refused = [
        ["summary?after=2026-01-02T00:00:00Z&before=2026-01-01T00:00:00Z", "after"],
        ["summary?after=2020-01-01T00:00:00Z&before=2026-01-01T00:00:00Z", "after"],
        ["summary?after=2026-01-01T00:00:00Z&before=2026-03-01T00:00:00Z&interval=hour", "after"],
        ["summary?queue=a&type=b", "type"],
        ["summary?queue=", "queue"],
        ["timeseries", "metric"],
        ["timeseries?metric=happiness", "metric"],
        ["timeseries?metric=created&interval=week", "interval"],
        ["top?by=all&metric=created", "by"],
        ["top?by=queue&metric=created&limit=101", "limit"],
        ["renders?queue=mail", "queue"],
      ] as const
      for (const [path, field] of refused) {
        const answer = yield* client.get(`/v1/analytics/${path}`)
        assert.strictEqual(answer.status, 400, path)
        assert.include(
          answer.json<{ errors: ReadonlyArray<{ field: string }> }>().errors.map((error) => error.field),
          field,
          path,
        )
      }
    }),
  )

  it.effect("give an answer again for a while, and only to those who may read them", () =>
    Effect.gen(function* () {
      const { client } = yield* SharedServer
      const path = `/v1/analytics/summary?before=${now()}`
      yield* client.get(path)
      assert.include((yield* client.get(path)).headers.get("cache-status"), "hit")
      const keys = yield* Effect.forEach(["analytics:read", "jobs:read"], (scope) =>
        Effect.map(client.post("/v1/api-keys", { name: scope, scopes: [scope] }), (answer) =>
          answer.json<{ readonly key: string }>(),
        ),
      )
      const [reader, other] = keys.map(({ key }) => new Client(client.url, key))
      assert.strictEqual((yield* reader!.get(path)).status, 200)
      assert.strictEqual((yield* other!.get(path)).problem, "insufficient-scope")
    }),
  )
})

describe("the use of the API", () => {
  it.live("is in the journal after the stop, and counted at the next start", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      yield* Effect.scoped(
        Effect.gen(function* () {
          const { client, process } = yield* start({ dataDir })
          for (let n = 0; n < 3; n++) yield* client.get("/v1/projects")
          yield* client.get("/v1/queues")
          assert.strictEqual((yield* process.end("SIGTERM")).code, 0)
        }),
      )
      const { client } = yield* start({ dataDir })
      const events = (yield* client.get("/v1/events?after=0&limit=100")).json<{
        data: ReadonlyArray<{ type: string; stream: string }>
      }>()
      const uses = events.data.filter(({ type }) => type === ApiUseRecorded.fields._tag.schema.literal)
      assert.isNotEmpty(uses)
      const summary = yield* askUntil<Summary>(client, "summary", {}, ({ requests }) => requests > 0)
      assert.strictEqual(summary.requests, 4)
      const projects = yield* ask<Summary>(client, "summary", { route: "projects" })
      assert.strictEqual(projects.requests, 3)
    }).pipe(Effect.scoped),
  )
})
