import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { Journal } from "../../../src/journal/Journal.ts"
import { verify } from "../../../src/ops/Verify.ts"
import { enqueued } from "../../jobs/JobHistories.ts"
import { model } from "../../ops/SampleJournal.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { eventually } from "../../support/Eventually.ts"
import { journalAt, referenceRows, rowsOf, START } from "./AnalyticsFixture.ts"

const PROGRAM = fileURLToPath(new URL("./ProjectorProcess.ts", import.meta.url))
/** So many that it takes dozens of transactions: each job has a queue of its own, and so rows of its own. */
const JOBS = 2_000
const TOGETHER = 50
const KILLS = 4
/** Whoever opens a database first after a kill repairs it, and holds it meanwhile. */
const LOCK_TIMEOUT_MS = 5_000

const jobsOf = (index: number) => [
  enqueued({ queue: `queue ${index}` }),
  { _tag: "JobStarted", attempt: 1, worker: "w" },
  { _tag: "JobCompleted", attempt: 1, result: {} },
]

const writeJobs = Effect.gen(function* () {
  const journal = yield* Journal
  for (let first = 0; first < JOBS; first += TOGETHER)
    yield* journal.append(
      Array.from({ length: TOGETHER }, (_, i) => ({
        stream: `job_${first + i}`,
        expectedVersion: 0,
        events: jobsOf(first + i),
      })),
      START + first * 1_000,
    )
  const all = yield* journal.readAll({ afterPosition: 0, limit: 3 * JOBS })
  return [...Map.groupBy(all, ({ stream }) => stream).values()]
})

/** How far the projection has come. */
const positionIn = (filename: string): number => {
  const database = new DatabaseSync(filename, { readOnly: true, timeout: LOCK_TIMEOUT_MS })
  try {
    const row = database.prepare("SELECT position FROM projection_checkpoints").get()
    return (row?.["position"] as number | undefined) ?? 0
  } finally {
    database.close()
  }
}

/** Runs the program until the projection is beyond a position, and kills it without a word. */
const runBeyond = (filename: string, position: number) =>
  Effect.scoped(
    Effect.gen(function* () {
      const child = yield* Effect.acquireRelease(
        Effect.sync(() =>
          spawn(process.execPath, [PROGRAM, filename], { stdio: ["ignore", "inherit", "inherit"] }),
        ),
        (child) =>
          Effect.callback<void>((resume) => {
            child.once("close", () => resume(Effect.void))
            child.kill("SIGKILL")
          }),
      )
      yield* eventually(() => child.exitCode !== null || positionIn(filename) > position)
      assert.isNull(child.exitCode)
    }),
  )

describe("analytics whose process is killed", () => {
  it.live(
    "lose nothing and count nothing twice",
    () =>
      Effect.gen(function* () {
        const filename = join(yield* temporaryFolder, "test.db")
        const streams = yield* Effect.provide(writeJobs, journalAt(filename))
        const head = 3 * JOBS
        const stops: Array<number> = []
        for (let kill = 0; kill < KILLS; kill++) {
          yield* runBeyond(filename, Math.max(positionIn(filename), (head * kill) / (KILLS + 1)))
          stops.push(positionIn(filename))
          const { faults } = yield* verify({ filename, model })
          assert.deepStrictEqual(
            faults.filter(({ check }) => check === "table" || check === "projection"),
            [],
          )
        }
        // It was caught in the middle, and not after it was done.
        assert.isTrue(
          stops.some((position) => position > 0 && position < head),
          stops.join(),
        )
        yield* runBeyond(filename, head - 1)
        assert.deepStrictEqual(rowsOf(filename), referenceRows(streams))
      }).pipe(Effect.scoped),
    120_000,
  )
})
