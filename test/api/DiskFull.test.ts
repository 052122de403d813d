import { NodeServices } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Deferred, Effect, Fiber, Layer, Schema } from "effect"
import { HttpServer } from "effect/http"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import * as App from "../../src/App.ts"
import * as Config from "../../src/Config.ts"
import * as Job from "../../src/jobs/Job.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { Client } from "../support/Client.ts"
import { adminKey, dataFolder, journalHead } from "../support/ServerProcess.ts"

type JobView = typeof JobJson.Encoded

const PAGES_MAX = 1_073_741_823
/** When this does not fit any more … */
const PAYLOAD = { text: "x".repeat(2_000) }
/** … then this does not either: what a handler ends with, whichever way. */
const OUTCOME = "x".repeat(4_000)

/** Goes on only when the test says so, and then does what its payload says. */
const Gated = Job.make("test:gated", {
  payload: Schema.Struct({ ending: Schema.Literals(["complete", "fail", "step"]) }),
  success: Schema.String,
  error: Schema.TaggedStruct("Failed", { why: Schema.String }),
  retry: { maxAttempts: 2, base: "1 millis" },
})

/** The whole application within this process, so that the test can reach its database connection. */
const application = Effect.gen(function* () {
  const dataDir = yield* dataFolder
  const settings = yield* Config.load.pipe(
    Effect.provideService(
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromUnknown({ PORT: "0", DATA_DIR: dataDir, LOG_LEVEL: "none" }),
    ),
  )
  const gates = {
    running: yield* Deferred.make<void>(),
    open: yield* Deferred.make<void>(),
  }
  let running = 0
  const gated = Gated.toLayer(
    Effect.fnUntraced(function* ({ ending }, job) {
      if (++running === 3) yield* Deferred.succeed(gates.running, undefined)
      yield* Deferred.await(gates.open)
      if (ending === "step") return yield* job.step("kept", Effect.succeed(OUTCOME))
      if (ending === "fail" && job.attempt === 1)
        return yield* Effect.fail({ _tag: "Failed" as const, why: OUTCOME })
      return OUTCOME
    }),
  )
  const context = yield* Layer.build(
    gated.pipe(Layer.provideMerge(App.layer(settings)), Layer.provide(NodeServices.layer)),
  )
  const { address } = Context.get(context, HttpServer.HttpServer)
  const { writer } = Context.get(context, SqliteClient)
  const limitTo = (pages: number) => Effect.sync(() => writer.exec(`PRAGMA max_page_count = ${pages}`))
  return {
    client: new Client(HttpServer.formatAddress(address), adminKey(dataDir)),
    dataDir,
    gates,
    /** No page more than there are; what is left in them is soon used up. */
    fill: limitTo(1),
    free: limitTo(PAGES_MAX),
  }
})

describe("a disk without room", () => {
  it.live("refuses what it cannot keep, keeps what it promised, and goes on by itself", () =>
    Effect.gen(function* () {
      const { client, dataDir, fill, free, gates } = yield* application
      const submit = (type: string, payload: unknown) => client.post("/v1/jobs", { type, payload })
      const show = (id: string) =>
        Effect.map(client.get(`/v1/jobs/${id}`), (answer) => answer.json<JobView>())
      const end = (id: string) => client.follow(`/v1/jobs/${id}/events`)

      const gated = yield* Effect.forEach(["complete", "fail", "step"], (ending) =>
        Effect.map(submit("test:gated", { ending }), (answer) => answer.json<JobView>().id),
      )
      yield* Deferred.await(gates.running)
      const promised: Array<string> = []

      // Given a disk that becomes full
      yield* fill
      const submitUntilRefused: Effect.Effect<void> = Effect.suspend(() =>
        Effect.flatMap(submit("system:echo", PAYLOAD), (answer) => {
          if (answer.status === 503) return Effect.void
          assert.strictEqual(answer.status, 202, answer.text)
          promised.push(answer.json<JobView>().id)
          return submitUntilRefused
        }),
      )
      yield* submitUntilRefused

      // When work goes on: handlers end, and clients try all kinds of writes
      yield* Deferred.succeed(gates.open, undefined)
      const writes = [
        submit("system:echo", PAYLOAD),
        client.post("/v1/jobs/batch", { jobs: [{ type: "system:echo", payload: PAYLOAD }] }),
        client.post("/v1/projects", { name: "No room", description: "x".repeat(2_000) }),
      ]
      const answers = yield* Effect.forEach([...writes, ...writes, ...writes], (write) => write)

      // Then each is refused as it should be, and nothing of it is there
      for (const answer of answers) {
        assert.strictEqual(answer.status, 503, answer.text)
        assert.strictEqual(answer.problem, "service-unavailable")
        assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/)
        assert.notMatch(answer.text, /sqlite|SQLITE|page|disk|\.ts|INSERT/)
      }
      const listed = (yield* client.get("/v1/jobs?limit=100")).json<{
        readonly data: ReadonlyArray<JobView>
      }>()
      assert.sameMembers(
        listed.data.map(({ id }) => id),
        [...promised, ...gated],
      )
      assert.deepStrictEqual((yield* client.get("/v1/projects")).json()["data"], [])
      // Attempts whose end cannot be written have not ended.
      for (const id of gated) assert.strictEqual((yield* show(id)).status, "processing", id)
      const head = journalHead(dataDir)
      const following = yield* Effect.forkChild(Effect.forEach(gated, end, { concurrency: "unbounded" }))
      assert.strictEqual(journalHead(dataDir), head)

      // And when there is room again, everything goes on without a restart
      yield* free
      yield* Fiber.join(following)
      for (const id of [...gated, ...promised]) {
        yield* end(id)
        const job = yield* show(id)
        assert.strictEqual(job.status, "completed", JSON.stringify(job.attempts))
        assert.strictEqual(job.attempt, id === gated[1] ? 2 : 1)
      }
      assert.deepStrictEqual(
        (yield* show(gated[2]!)).steps.map(({ name, result }) => [name, result]),
        [["kept", OUTCOME]],
      )
      const later = yield* client.post("/v1/jobs", { type: "system:echo", payload: 7 }, { prefer: "wait=20" })
      assert.strictEqual(later.status, 200, later.text)
      assert.strictEqual((yield* client.post("/v1/projects", { name: "Room" })).status, 201)
    }).pipe(Effect.scoped),
  )
})
