/**
 * A server whose disk fails for a while, as its clients see it: refusals that say to come again, nothing of what is wrong
 * inside, and answers that hold.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import type { JobJson } from "../../src/api/v1/jobs/JobJson.ts"
import { dataFolder, run, start } from "../support/ServerProcess.ts"
import { injected, injecting, missing } from "./Strace.ts"

/** Of the log's syncs: after those of the start and of the first jobs. */
const FIRST = 40
const CALLS = 25
const ACCEPTED_AFTER = 20

const skipped = missing === undefined ? "" : ` (${missing})`

describe.skipIf(missing !== undefined)(`a server whose disk fails${skipped}`, () => {
  it.live("refuses with 503 and without details, goes on by itself, and keeps what it accepted", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const log = join(dataDir, "strace.log")
      const { client } = yield* start({
        dataDir,
        under: injecting(log, {
          call: "fsync",
          by: { error: "EIO" },
          when: `${FIRST}..${FIRST + CALLS - 1}`,
          files: [join(dataDir, "queue.db-wal")],
        }),
      })
      const accepted: Array<string> = []
      let refused = 0
      let acceptedAfter = 0
      while (acceptedAfter < ACCEPTED_AFTER) {
        const answer = yield* client.post("/v1/jobs", { type: "system:echo", payload: accepted.length })
        if (answer.status === 202) {
          accepted.push(answer.json<typeof JobJson.Encoded>().id)
          if (refused > 0) acceptedAfter++
          continue
        }
        refused++
        assert.strictEqual(answer.status, 503, answer.text)
        assert.strictEqual(answer.problem, "service-unavailable")
        assert.match(answer.headers.get("retry-after") ?? "", /^\d+$/)
        assert.notMatch(answer.text, /sqlite|SQLITE|disk|I\/O|\.ts|INSERT/)
        assert.strictEqual((yield* client.get("/live")).status, 200)
      }
      assert.isAtLeast(injected(log), 2)
      for (const [index, id] of accepted.entries()) {
        yield* client.follow(`/v1/jobs/${id}/events`)
        const job = (yield* client.get(`/v1/jobs/${id}`)).json<typeof JobJson.Encoded>()
        assert.deepStrictEqual([job.status, job.result], ["completed", index])
      }
    }).pipe(Effect.scoped),
  )

  it.live("says in one line why it cannot start", () =>
    Effect.gen(function* () {
      const dataDir = yield* dataFolder
      const under = injecting(join(dataDir, "strace.log"), {
        call: "fsync",
        by: { error: "EIO" },
        when: "1+",
      })
      const { code, stderr } = yield* run(["serve"], { dataDir, under })
      assert.strictEqual(code, 1)
      assert.match(stderr, /^renderowl: .*disk I\/O error\n$/)
    }).pipe(Effect.scoped),
  )
})
