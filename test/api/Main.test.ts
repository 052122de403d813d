import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { appendFileSync, cpSync, readdirSync, statSync, symlinkSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { Client } from "../support/Client.ts"
import { adminKey, dataFolder, type RenderOwlProcess, run, start } from "../support/ServerProcess.ts"

type Job = typeof JobJson.Encoded
interface JobEvent {
  readonly type: string
  readonly data: Readonly<Record<string, unknown>>
}

/** The whole stop must be over by then. */
const STOP_MS_MAX = 15_000
const PERMISSIONS = 0o777
const REPOSITORY = fileURLToPath(new URL("../../", import.meta.url))

const migrationFiles = readdirSync(Migrations.defaultFolder).toSorted()

/** Everything the process has said that could be an API key. */
const keysIn = ({ stderr, stdout }: Pick<RenderOwlProcess, "stdout" | "stderr">) =>
  [...`${stdout}${stderr}`.matchAll(/ro_live_\w+/g)].map(([key]) => key)

describe("the first start", () => {
  it.live("prints the admin key once and keeps it for its owner alone; the second says nothing of it", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* dataFolder, "not", "there", "yet")
      const first = yield* start({ dataDir })
      assert.strictEqual((yield* first.client.get("/v1/jobs")).status, 200)
      const { code, ...said } = yield* first.process.end("SIGTERM")
      assert.strictEqual(code, 0)
      assert.deepStrictEqual(keysIn(said), [adminKey(dataDir)])
      for (const file of ["admin.key", "cursor.key"])
        assert.strictEqual(statSync(join(dataDir, file)).mode & PERMISSIONS, 0o600, file)

      const second = yield* start({ dataDir, env: { LOG_LEVEL: "trace" } })
      assert.strictEqual((yield* second.client.get("/v1/jobs")).status, 200)
      assert.deepStrictEqual(keysIn(yield* second.process.end("SIGTERM")), [])
    }).pipe(Effect.scoped),
  )
})

describe("a stop", () => {
  const stops = Effect.fnUntraced(function* (signal: "SIGTERM" | "SIGINT") {
    const dataDir = yield* dataFolder
    const { client, process } = yield* start({ dataDir })
    const submitted = yield* client.post("/v1/jobs", {
      type: "system:sleep",
      payload: { ms: 3_600_000 },
      max_attempts: 1,
    })
    const { id } = submitted.json<Job>()
    const events = `/v1/jobs/${id}/events`
    yield* client.follow(events, { until: ({ event }) => event === "JobStarted" })
    const live = yield* Effect.forkChild(client.follow(events))
    // Once progress arrives, the stream is open.
    yield* client.follow(events, { until: ({ event }) => event === "progress" })

    const before = performance.now()
    const { code, stderr } = yield* process.end(signal)
    assert.strictEqual(code, 0, stderr)
    assert.isBelow(performance.now() - before, STOP_MS_MAX)
    const followed = yield* Fiber.join(live)
    assert.isTrue(followed.ended)
    assert.include(followed.raw, ": the server is stopping")

    if (signal === "SIGINT") return
    const again = yield* start({ dataDir })
    const next = yield* again.client.follow(events, {
      until: ({ data, event }) =>
        event === "JobStarted" && (data["data"] as { attempt: number }).attempt === 2,
    })
    assert.deepStrictEqual(
      next.events
        .filter(({ event }) => !["progress", "JobProgressed", "JobLogged"].includes(event))
        .map(({ event }) => event),
      ["JobEnqueued", "JobStarted", "JobStalled", "JobStarted"],
    )
    const { data } = (yield* again.client.get(events)).json<{ readonly data: ReadonlyArray<JobEvent> }>()
    assert.deepInclude(data.find(({ type }) => type === "JobStalled")?.data, {
      attempt: 1,
      reason: "handed_back",
    })
    // It had one attempt, and it still has it.
    const job = (yield* again.client.get(`/v1/jobs/${id}`)).json<Job>()
    assert.deepStrictEqual([job.status, job.attempt, job.max_attempts], ["processing", 2, 1])
    yield* again.client.post(`/v1/jobs/${id}/cancel`)
  })

  it.live(
    "by SIGTERM or SIGINT hands running jobs back, ends live streams politely and exits with 0",
    () => Effect.all([stops("SIGTERM"), stops("SIGINT")], { concurrency: 2 }).pipe(Effect.scoped),
    45_000,
  )
})

describe("a start that cannot be", () => {
  it.live("with a bad setting names the setting", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const bad: ReadonlyArray<readonly [string, Readonly<Record<string, string>>]> = [
        ["PORT", { PORT: "99999" }],
        ["CORS_CREDENTIALS", { CORS_ORIGIN: "*", CORS_CREDENTIALS: "true" }],
      ]
      yield* Effect.forEach(
        bad,
        ([name, env]) =>
          Effect.map(run(["serve"], { dataDir, env }), ({ code, stderr }) => {
            assert.strictEqual(code, 1)
            assert.match(stderr, new RegExp(`^renderowl: a setting is wrong: .*"${name}"`))
            assert.strictEqual(stderr.trim().split("\n").length, 1, stderr)
          }),
        { concurrency: 2 },
      )
      assert.deepStrictEqual(readdirSync(dataDir), [])
    }).pipe(Effect.scoped),
  )

  it.live("on a port that is taken says so", () =>
    Effect.gen(function* () {
      const port = yield* Effect.acquireRelease(
        Effect.callback<{ readonly port: number; readonly close: () => void }>((resume) => {
          const server = createServer().listen(0, "127.0.0.1", () => {
            const { port } = server.address() as { readonly port: number }
            resume(Effect.succeed({ port, close: () => server.close() }))
          })
        }),
        ({ close }) => Effect.sync(close),
      )
      const env = { PORT: String(port.port) }
      const { code, stderr } = yield* run(["serve"], { dataDir: yield* dataFolder, env })
      assert.strictEqual(code, 1)
      assert.match(stderr, /^renderowl: .*EADDRINUSE.*\n$/)
    }).pipe(Effect.scoped),
  )

  it.live("with a migration that was changed after it was applied names the file", () =>
    Effect.gen(function* () {
      const copy = yield* dataFolder
      for (const part of ["src", "migrations", "package.json"])
        cpSync(join(REPOSITORY, part), join(copy, part), { recursive: true })
      symlinkSync(join(REPOSITORY, "node_modules"), join(copy, "node_modules"))
      const dataDir = join(copy, "data")
      const main = join(copy, "src", "main.ts")
      const applied = yield* run(["migrate"], { dataDir, main })
      assert.strictEqual(applied.code, 0, applied.stderr)
      const [file] = migrationFiles
      appendFileSync(join(copy, "migrations", file!), "-- one more thing\n")

      const { code, stderr } = yield* run(["serve"], { dataDir, main })
      assert.strictEqual(code, 1)
      assert.include(stderr, file!)
      assert.strictEqual(stderr.trim().split("\n").length, 1, stderr)
    }).pipe(Effect.scoped),
  )
})

describe("the migrations on the command line", () => {
  const states = (stdout: string) =>
    stdout
      .trim()
      .split("\n")
      .map((line) => line.split(/\s+/).slice(0, 2).join(" "))

  it.live("are shown, applied and undone", () =>
    Effect.gen(function* () {
      const dataDir = join(yield* dataFolder, "new")
      const migrate = Effect.fnUntraced(function* (...command: ReadonlyArray<string>) {
        const { code, stderr, stdout } = yield* run(["migrate", ...command], { dataDir })
        assert.strictEqual(code, 0, stderr)
        return stdout
      })
      const inState = (state: string) => migrationFiles.map((file) => `${state} ${file}`)
      assert.deepStrictEqual(states(yield* migrate("status")), inState("pending"))
      assert.deepStrictEqual(states(yield* migrate()), inState("applied"))
      const newest = migrationFiles.at(-1)!
      assert.strictEqual(yield* migrate("rollback", "--steps", "1"), `undone ${newest}\n`)
      assert.strictEqual(states(yield* migrate("status")).at(-1), `pending ${newest}`)
      assert.match(yield* migrate(), new RegExp(`^applied ${newest} in [\\d.]+ ms\n$`))
    }).pipe(Effect.scoped),
  )

  it.live("and a second server leave the database of a running one alone, and say who holds it", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const { client, process } = yield* start({ dataDir })
      const look = yield* run(["migrate", "status"], { dataDir })
      assert.strictEqual(look.code, 0, look.stderr)
      assert.deepStrictEqual(
        states(look.stdout),
        migrationFiles.map((file) => `applied ${file}`),
      )
      const writers = [["serve"], ["migrate"], ["migrate", "rollback", "--steps", "1"]]
      for (const { code, stderr } of yield* Effect.forEach(writers, (command) => run(command, { dataDir }))) {
        assert.strictEqual(code, 1)
        assert.include(stderr, `in use by process ${process.pid} `)
        assert.strictEqual(stderr.trim().split("\n").length, 1, stderr)
      }
      assert.strictEqual((yield* client.post("/v1/projects", { name: "Still here" })).status, 201)
      const stranger = new Client(client.url, undefined)
      assert.strictEqual((yield* stranger.get("/ready")).status, 200)
    }).pipe(Effect.scoped),
  )
})
