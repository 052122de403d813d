import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { existsSync, renameSync } from "node:fs"
import { join } from "node:path"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import { DemoJobsLive } from "../../src/domain/demo/DemoJobs.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { Retention } from "../../src/jobs/Retention.ts"
import { dbCommand } from "../../src/ops/DbCommands.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import { exitCodeOf } from "../support/InProcess.ts"
import { dataFolder, type Ended, run, start } from "../support/ServerProcess.ts"

type Job = typeof JobJson.Encoded

/** November 2023. */
const LONG_AGO = 1_700_000_000_000
const ECHO = { type: "system:echo", payload: { hello: "world" }, tags: ["old"] }

/** Archives every finished job of a folder whose server has stopped. */
const archiveAll = (dataDir: string) =>
  Effect.flatMap(Retention, (retention) => retention.run({ olderThan: 0 })).pipe(
    Effect.provide(
      RenderOwl.retentionLayer({
        database: { filename: join(dataDir, "queue.db") },
        archive: join(dataDir, "archive.db"),
      }),
    ),
  )

const refused = ({ code, stderr, stdout }: Ended, message: RegExp) => {
  assert.strictEqual(code, 1, stdout)
  assert.match(stderr.trim().split("\n").at(-1)!, message)
}

describe("an archived job over HTTP", () => {
  it.live("is shown with its history, takes no command, and is in no list", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const first = yield* start({ dataDir })
      const { id } = (yield* first.client.post("/v1/jobs", ECHO, { prefer: "wait=10" })).json<Job>()
      const waiting = (yield* first.client.post("/v1/jobs", { ...ECHO, delay_ms: 3_600_000 })).json<Job>()
      yield* first.client.post(`/v1/jobs/${waiting.id}/cancel`)
      const paths = [id, waiting.id].flatMap((job) => [`/v1/jobs/${job}`, `/v1/jobs/${job}/events`])
      const answers = (client: typeof first.client) =>
        Effect.forEach([...paths, `/v1/jobs/${id}?version=1`], (path) =>
          Effect.map(client.get(path), (answer) => [path, answer.status, answer.json()]),
        )
      const before = yield* answers(first.client)
      yield* first.process.end("SIGTERM")
      assert.deepInclude(yield* archiveAll(dataDir), { streams: 2, stayed: 0, unreadable: 0 })

      const { client, process } = yield* start({ dataDir })
      assert.deepStrictEqual(yield* answers(client), before)
      const { events } = yield* client.follow(`/v1/jobs/${id}/events`)
      assert.deepStrictEqual(
        events.map(({ event }) => event),
        ["JobEnqueued", "JobStarted", "JobCompleted"],
      )
      for (const job of [id, waiting.id])
        for (const command of ["cancel", "retry"]) {
          const answer = yield* client.post(`/v1/jobs/${job}/${command}`)
          assert.strictEqual(answer.status, 409)
          assert.isDefined(answer.problem)
          assert.include(answer.text, "archived")
        }
      for (const path of ["/v1/jobs", "/v1/jobs?tag=old", "/v1/jobs?status=cancelled"])
        assert.deepStrictEqual((yield* client.get(path)).json<{ data: Array<Job> }>().data, [], path)

      yield* process.end("SIGTERM")
      renameSync(join(dataDir, "archive.db"), join(dataDir, "away.db"))
      const without = yield* start({ dataDir })
      // What was looked at before may be answered from the cache; the history is read from the archive each time.
      const lost = yield* without.client.get(`/v1/jobs/${id}/events`)
      assert.strictEqual(lost.status, 503)
      assert.include(lost.json<{ detail: string }>().detail, "archive")
      const fresh = yield* without.client.post("/v1/jobs", ECHO, { prefer: "wait=10" })
      assert.deepStrictEqual([fresh.status, fresh.json<Job>().status], [200, "completed"])
    }).pipe(Effect.scoped),
  )
})

describe("db archive", () => {
  it.effect(
    "moves the jobs of long ago to the archive, where the next server finds them",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* dataFolder
        yield* TestClock.setTime(LONG_AGO)
        const ids = yield* Effect.gen(function* () {
          const queue = yield* Queue
          const enqueued = yield* queue.submitBatch(
            Array.from({ length: 3 }, (_, n) => ({ type: "system:echo", payload: { n } })),
          )
          yield* Effect.forEach(enqueued, ({ id }) => queue.await(id))
          return enqueued.map(({ id }) => id)
        }).pipe(
          Effect.provide(
            Layer.provideMerge(
              DemoJobsLive,
              RenderOwl.layer({ database: { filename: join(dataDir, "queue.db") }, grace: 0 }),
            ),
          ),
        )
        const archive = (...flags: ReadonlyArray<string>) =>
          Effect.map(
            run(["db", "archive", "--older-than", "30 days", ...flags], { dataDir }),
            ({ stderr, stdout }) => {
              assert.strictEqual(stderr, "")
              return stdout
            },
          )
        assert.match(yield* archive("--dry-run"), /^3 jobs ended more than 30d ago; nothing was moved\n$/)
        assert.match(
          yield* archive(),
          /^3 jobs of 9 events moved to .*archive\.db, [\d,]+ bytes compressed to [\d,]+\n$/,
        )
        assert.match(yield* archive(), /^0 jobs of 0 events/)
        const { client } = yield* start({ dataDir })
        for (const id of ids)
          assert.strictEqual((yield* client.get(`/v1/jobs/${id}`)).json<Job>().status, "completed")
      }),
    60_000,
  )

  it.live(
    "says what is wrong, and is refused beside a server",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* dataFolder
        const archive = (...flags: ReadonlyArray<string>) => run(["db", "archive", ...flags], { dataDir })
        refused(yield* archive("--older-than", "30 days"), /there is no database at .*queue\.db/)
        const server = yield* start({ dataDir })
        yield* server.client.post("/v1/jobs", ECHO, { prefer: "wait=10" })
        refused(yield* archive("--older-than", "1 day"), /in use by process/)
        yield* server.process.end("SIGTERM")
        const ageless = yield* archive()
        assert.strictEqual(ageless.code, 2)
        assert.match(ageless.stderr, /say which jobs: --older-than/)
        for (const age of ["1 second", "soon", "-3 days", "Infinity"])
          assert.strictEqual(yield* exitCodeOf(dbCommand, ["archive", "--older-than", age]), 2, age)
        for (const flags of [["--dry-run"], []]) {
          const { code, stderr, stdout } = yield* archive("--older-than", "1 minute", ...flags)
          assert.strictEqual(code, 0, stderr)
          assert.match(
            stdout,
            flags.length > 0 ? /^0 jobs ended more than 1m ago; nothing/ : /^0 jobs of 0 events/,
          )
        }
        assert.isFalse(existsSync(join(dataDir, "archive.db")))
      }).pipe(Effect.scoped),
    60_000,
  )
})
