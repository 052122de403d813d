import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync, readdirSync } from "node:fs"
import { join } from "node:path"
import { dataFolder, type Ended, run, start } from "../support/ServerProcess.ts"
import { damage, damages, JOB, writeSample } from "./SampleJournal.ts"

const lines = (text: string) => text.trim().split("\n")
const json = (text: string) => JSON.parse(text) as Record<string, unknown>

const refused = ({ code, stderr, stdout }: Ended, message: RegExp) => {
  assert.strictEqual(code, 1, stdout)
  assert.match(lines(stderr).at(-1)!, message)
}

const succeeded = ({ code, stderr, stdout }: Ended) => {
  assert.strictEqual(code, 0, stderr)
  return stdout
}

describe("job history on the command line", () => {
  it.live("follows a job of a running server to its end, and tells it again when the server is gone", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const server = yield* start({ dataDir })
      const submitted = yield* server.client.post("/v1/jobs", {
        type: "system:fail",
        payload: { times: 1, message: "not yet" },
        tags: ["red"],
      })
      const { id } = submitted.json<{ readonly id: string }>()
      const live = succeeded(yield* run(["job", "history", "--follow", id], { dataDir }))
      const [title, ...entries] = lines(live)
      assert.strictEqual(title, id)
      const told = entries.filter((line) => /^\d{4}-/.test(line)).map((line) => line.split(/ {2,}/).slice(2))
      assert.deepStrictEqual(
        told.map((columns) => (columns.length === 3 ? columns.slice(0, 2) : columns.slice(0, 1))),
        [
          ["JobEnqueued"],
          ["#1", "JobStarted"],
          ["#1", "JobLogged"],
          ["#1", "JobAttemptFailed"],
          ["#2", "JobStarted"],
          ["#2", "JobCompleted"],
        ],
      )
      assert.match(
        live,
        /JobAttemptFailed {4}after running \w+: ToldToFail: not yet; next attempt (in|at once)/,
      )
      assert.match(live, /\n\ncompleted after 2 of \d attempts\nwaited .*\nprocessed .*\nin total .*\n$/)
      yield* server.process.end("SIGTERM")

      assert.strictEqual(
        succeeded(yield* run(["job", "history", id.replace("job_", "rnd_")], { dataDir })),
        live,
      )
      const objects = lines(succeeded(yield* run(["job", "history", "--json", id], { dataDir }))).map(json)
      assert.deepStrictEqual(
        objects.slice(0, -1).map(({ type }) => type),
        ["JobEnqueued", "JobStarted", "JobLogged", "JobAttemptFailed", "JobStarted", "JobCompleted"],
      )
      assert.deepInclude(objects.at(-1)!["summary"], { id, status: "completed", attempts: 2 })
    }).pipe(Effect.scoped),
  )

  it.live("uses colours where they are wanted, and nowhere else", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      yield* writeSample(join(dataDir, "queue.db"))
      const told = (env: Readonly<Record<string, string>>) =>
        Effect.map(run(["job", "history", JOB], { dataDir, env }), succeeded)
      assert.notInclude(yield* told({}), "\u001B")
      assert.include(yield* told({ FORCE_COLOR: "1" }), "\u001B[32mJobCompleted")
    }).pipe(Effect.scoped),
  )

  it.live("says what is wrong with an id, and that there is no database", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const history = (id: string) => run(["job", "history", id], { dataDir })
      refused(yield* history(JOB), /^renderowl: there is no database at .*queue\.db/)
      assert.deepStrictEqual(readdirSync(dataDir), [])
      yield* writeSample(join(dataDir, "queue.db"))
      refused(
        yield* history("job_1"),
        /^renderowl: "job_1" is not the id of a job; one looks like job_\w{26}$/,
      )
      const unknown = "job_01k8w3e5r7fm2vx9q4ztd6yhzz"
      refused(yield* history(unknown), new RegExp(`^renderowl: there is no job ${unknown} in .*queue\\.db$`))
    }).pipe(Effect.scoped),
  )
})

describe("the database on the command line", () => {
  it.live("is verified beside a running server, which a rebuild leaves alone", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const { client, process } = yield* start({ dataDir })
      yield* client.post("/v1/jobs", { type: "system:echo", payload: { n: 1 }, tags: ["red"] })
      assert.match(
        succeeded(yield* run(["db", "verify"], { dataDir })),
        /queue\.db: \d+ events in \d+ streams, \d+ tables, 0 snapshots, looked through in \d+ ms\neverything is as the journal says\n$/,
      )
      refused(yield* run(["db", "rebuild"], { dataDir }), new RegExp(`in use by process ${process.pid} `))
      assert.match(
        succeeded(yield* run(["db", "rebuild", "--dry-run"], { dataDir })),
        /\nnothing was changed\n$/,
      )
      const after = yield* client.post("/v1/jobs", { type: "system:echo", payload: { n: 2 } })
      assert.strictEqual(after.status, 202)
    }).pipe(Effect.scoped),
  )

  it.live("is found wrong, would be mended, is mended, and is found right", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const filename = join(dataDir, "queue.db")
      yield* writeSample(filename)
      damage(
        filename,
        "UPDATE jobs SET status = 1 WHERE position = 1; DELETE FROM job_tags WHERE tag = 'red'",
      )
      damages.extra(filename, "projects")

      const wrong = yield* run(["db", "verify"], { dataDir })
      refused(wrong, /^renderowl: 3 faults in .*queue\.db; npm run db -- rebuild makes the rows anew$/)
      assert.includeMembers(lines(wrong.stdout), [
        "jobs: 1 wrong row",
        "  position 1: status is 1 instead of 2",
        '  lacks tag "red", position 1',
      ])
      const report = yield* run(["db", "verify", "--json"], { dataDir })
      assert.strictEqual(report.code, 1)
      assert.deepInclude(json(report.stdout), { ok: false, database: filename })

      const plan = succeeded(yield* run(["db", "rebuild", "--dry-run"], { dataDir }))
      assert.match(plan, /^jobs +4 rows, 0 to add, 0 to remove, 1 to correct$/m)
      assert.match(plan, /^job_tags +1 rows, 1 to add, 0 to remove, 0 to correct$/m)
      assert.match(plan, /^projects +2 rows, 0 to add, 1 to remove, 0 to correct$/m)
      assert.strictEqual((yield* run(["db", "verify"], { dataDir })).code, 1)

      const rebuilt = yield* run(["db", "rebuild"], { dataDir })
      assert.match(succeeded(rebuilt), /^job_tags +2 rows, 1 before$/m)
      assert.match(rebuilt.stderr, /^rebuilding 0 of \d+$/m)
      const right = succeeded(yield* run(["db", "verify", "--json"], { dataDir }))
      assert.deepInclude(json(right), { ok: true, faults: [] })
      assert.isFalse(existsSync(`${filename}.owner`))
    }).pipe(Effect.scoped),
  )
})

describe("every command of operators", () => {
  it.live("prints one object for programs, and says by its exit code how it went", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const code = (command: ReadonlyArray<string>) =>
        Effect.map(run(command, { dataDir }), ({ code }) => code)
      assert.strictEqual(yield* code(["db", "nothing"]), 2)
      assert.strictEqual(yield* code(["db", "stats", "--nothing"]), 2)
      assert.strictEqual(yield* code(["migrate", "rollback", "--steps", "0"]), 2)
      assert.strictEqual(yield* code(["db", "stats"]), 1)

      const printed = (command: ReadonlyArray<string>) =>
        Effect.map(run([...command, "--json"], { dataDir }), (ended) => json(succeeded(ended)))
      const { applied: planned, dry_run } = yield* printed(["migrate", "--dry-run"])
      assert.isTrue(dry_run)
      assert.deepStrictEqual(readdirSync(dataDir), [])
      const { applied } = yield* printed(["migrate"])
      const files = (runs: unknown) => (runs as ReadonlyArray<{ file: string }>).map(({ file }) => file)
      assert.isNotEmpty(files(applied))
      assert.deepStrictEqual(files(applied), files(planned))
      const { migrations } = yield* printed(["migrate", "status"])
      assert.isTrue(
        (migrations as ReadonlyArray<{ state: string }>).every(({ state }) => state === "applied"),
      )
      assert.deepInclude(yield* printed(["db", "integrity"]), { ok: true, faults: [] })
      assert.strictEqual(yield* code(["db", "archive"]), 2)
      const { undone } = yield* printed(["migrate", "rollback", "--dry-run", "--steps", "2"])
      assert.deepStrictEqual(files(undone), files(applied).toReversed().slice(0, 2))
      assert.deepInclude(yield* printed(["db", "stats"]), { events: 0, owner: null })
    }).pipe(Effect.scoped),
  )

  it.live("that only reads goes along with a running server, and finds who has it", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const { client, process } = yield* start({ dataDir })
      yield* client.post("/v1/jobs", { type: "system:echo", payload: { n: 1 } })
      const stats = json(succeeded(yield* run(["db", "stats", "--json"], { dataDir })))
      assert.deepInclude(stats["owner"], { pid: process.pid })
      assert.match(succeeded(yield* run(["db", "integrity"], { dataDir })), /\nnothing is wrong\n$/)
      yield* process.end("SIGKILL")
      const after = json(succeeded(yield* run(["db", "stats", "--json"], { dataDir })))
      assert.isNull(after["owner"])
    }).pipe(Effect.scoped),
  )
})
