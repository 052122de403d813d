import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { copyFileSync } from "node:fs"
import { join } from "node:path"
import type { Client } from "../../support/Client.ts"
import { dataFolder, type Ended, look, run, start } from "../../support/ServerProcess.ts"

const CALLERS = 16
const JOBS_BEFORE = 1_000

const succeeded = ({ code, stderr, stdout }: Ended) => {
  assert.strictEqual(code, 0, stderr)
  return stdout
}

/** Submits jobs without end; every id is in `acknowledged` from the moment of its answer. */
const submitting = (client: Client, acknowledged: Array<string>) =>
  Effect.forEach(
    Array.from({ length: CALLERS }, (_, caller) => caller),
    (caller) =>
      Effect.gen(function* () {
        for (let n = 0; ; n++) {
          const answer = yield* client.post("/v1/jobs", { type: "system:echo", payload: { caller, n } })
          assert.strictEqual(answer.status, 202)
          acknowledged.push(answer.json<{ id: string }>().id)
        }
      }),
    { concurrency: "unbounded" },
  )

const idsIn = (dataDir: string): ReadonlySet<string> =>
  look(
    dataDir,
    (database) =>
      new Set(
        database
          .prepare("SELECT stream FROM events WHERE type = 'JobEnqueued'")
          .all()
          .map(({ stream }) => stream as string),
      ),
  )

describe("a backup of a server under load", () => {
  it.live(
    "restored elsewhere is proven, holds every job acknowledged before it began, and is served",
    () =>
      Effect.gen(function* () {
        const server = yield* start({ dataDir: yield* dataFolder, env: { RATE_LIMITS: "off" } })
        const acknowledged: Array<string> = []
        const load = yield* Effect.forkChild(submitting(server.client, acknowledged))
        while (acknowledged.length < JOBS_BEFORE) yield* Effect.sleep("20 millis")

        const before = acknowledged.slice()
        const folder = join(yield* dataFolder, "backup")
        const taken = succeeded(yield* run(["db", "backup", "--to", folder, "--json"], server))
        const during = acknowledged.length
        yield* Fiber.interrupt(load)
        assert.isAbove(during, before.length, "the server answered while the backup was taken")

        const elsewhere = yield* dataFolder
        assert.match(
          (yield* run(["db", "restore", folder], server)).stderr,
          new RegExp(`in use by process ${server.process.pid} `),
        )
        succeeded(yield* run(["db", "restore", folder], { dataDir: elsewhere }))
        succeeded(yield* run(["db", "verify"], { dataDir: elsewhere }))
        succeeded(yield* run(["db", "integrity"], { dataDir: elsewhere }))
        const restored = idsIn(elsewhere)
        assert.deepStrictEqual(
          before.filter((id) => !restored.has(id)),
          [],
        )
        const { manifest } = JSON.parse(taken) as { manifest: { head: number; proof: string } }
        assert.deepInclude(manifest, { proof: "journal" })
        assert.strictEqual(
          look(elsewhere, (db) => db.prepare("SELECT max(position) AS head FROM events").get()!["head"]),
          manifest.head,
        )

        // The keys are those of the other server; the file of the first one is no part of the database.
        copyFileSync(join(server.dataDir, "admin.key"), join(elsewhere, "admin.key"))
        const again = yield* start({ dataDir: elsewhere })
        const answer = yield* again.client.get(`/v1/jobs/${before.at(-1)}`)
        assert.strictEqual(answer.status, 200)
      }).pipe(Effect.scoped),
    60_000,
  )
})
