import { DatabaseSync } from "node:sqlite"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { dataFolder, start } from "../support/ServerProcess.ts"

const HASTY_MAIN = fileURLToPath(new URL("./HastyMain.ts", import.meta.url))

interface Health {
  readonly status: string
  readonly checks: ReadonlyArray<Record<string, unknown>>
}

describe("/health and /ready", () => {
  it.live(
    "say what is wrong once a critical check fails, how long it took and how bad it is",
    () =>
      Effect.gen(function* () {
        const dataDir = yield* dataFolder
        const { client } = yield* start({ dataDir, main: HASTY_MAIN })
        const well = yield* client.get("/health")
        assert.deepStrictEqual([well.status, well.json<Health>().status], [200, "healthy"], well.text)
        assert.strictEqual(well.headers.get("content-type"), "application/health+json")
        assert.sameMembers(
          well.json<Health>().checks.map(({ name }) => name),
          [
            "database",
            "migrations",
            "journal",
            "traces",
            "readers",
            "projections",
            "queue",
            "disk",
            "memory",
          ],
        )
        assert.strictEqual((yield* client.get("/ready")).status, 200)

        const database = new DatabaseSync(join(dataDir, "queue.db"))
        database.exec("DELETE FROM schema_migrations WHERE id = (SELECT max(id) FROM schema_migrations)")
        database.close()
        // Until the next round of checks.
        const ill = yield* Effect.repeat(Effect.delay(client.get("/health"), "250 millis"), {
          until: ({ status }) => status !== 200,
        })
        assert.strictEqual(ill.status, 503)
        const { checks, status } = ill.json<Health>()
        assert.strictEqual(status, "unhealthy")
        const [failed, ...others] = checks.filter(({ status }) => status === "fail")
        assert.deepStrictEqual(others, [])
        assert.deepInclude(failed, { name: "migrations", critical: true })
        assert.isNumber(failed!["duration_ms"])
        assert.isNumber(failed!["age_ms"])
        const ready = yield* client.get("/ready")
        assert.deepStrictEqual([ready.status, ready.problem], [503, "service-unavailable"])
        assert.include(ready.text, "Not ready: migrations.")
      }).pipe(Effect.scoped),
    60_000,
  )
})
