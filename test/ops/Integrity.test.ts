import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rmSync, statSync } from "node:fs"
import { archiveBeside } from "../../src/journal/SqliteJournal.ts"
import { integrity } from "../../src/ops/Integrity.ts"
import {
  archiveJob,
  countsOf,
  damage,
  damageEvents,
  damages,
  damageTags,
  namesOf,
  overwrite,
  sample,
  withDatabase,
  writeSnapshot,
} from "./SampleJournal.ts"

/** Tables whose rows can be told to be of nothing without folding the journal. */
const ANCHORED = [
  "jobs",
  "job_keys",
  "job_tags",
  "job_counts",
  "job_dependencies",
  "schedules",
  "projects",
  "renders",
  "api_keys",
  "issued_keys",
]

const look = (filename: string) => integrity({ filename, archive: archiveBeside(filename) })

/** `check subject count` of every fault. */
const faultsOf = (filename: string) => Effect.map(look(filename), ({ faults }) => namesOf(faults))

describe("the integrity of a database", () => {
  it.effect("is found in one that only the journal has written to, with an archive and without", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* writeSnapshot(filename)
      assert.deepStrictEqual(yield* faultsOf(filename), [])
      yield* archiveJob(filename)
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("is not found where a row stands for no event", () =>
    Effect.gen(function* () {
      for (const table of ANCHORED) {
        const filename = yield* sample
        damages.extra(filename, table)
        assert.isNotEmpty(yield* faultsOf(filename), table)
      }
    }).pipe(Effect.scoped),
  )

  it.effect("is not found where an event is missing, at whichever place", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damageEvents(filename, "DELETE FROM events WHERE type = 'JobAttemptFailed'")
      const { head } = withDatabase(filename, (db) =>
        db.prepare("SELECT max(position) AS head FROM events").get()!,
      )
      const { faults } = yield* look(filename)
      assert.deepStrictEqual(
        faults.map(({ examples }) => examples),
        [
          [
            "job_01k8w3e5r7fm2vx9q4ztd6yhb0 has 4 events, of versions 1 to 5",
            `of ${head} positions ${Number(head) - 1} are there and 0 were archived`,
          ],
        ].flatMap(([versions, positions]) => [[versions!], [positions!]]),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("counts what breaks a rule, and spells out a few", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damageTags(filename, 100)
      const { faults } = yield* look(filename)
      assert.deepStrictEqual(countsOf(faults), [["invariant", "job_tags", 100, 5]])
      assert.strictEqual(faults[0]!.examples[0], "position 1000 is of no job")
    }).pipe(Effect.scoped),
  )

  it.effect("is not found where counts differ, jobs end without an end, or a permit is left", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      damage(
        filename,
        `UPDATE jobs SET finished_at = 1 WHERE status = 0;
         UPDATE job_counts SET jobs = jobs + 1 WHERE status = 2;
         PRAGMA foreign_keys = OFF;
         INSERT INTO archiving (stream) VALUES ('job_x')`,
      )
      assert.deepStrictEqual(yield* faultsOf(filename), [
        "foreign_key archiving 1",
        "invariant archiving 1",
        "invariant jobs 2",
        "invariant job_counts 1",
      ])
    }).pipe(Effect.scoped),
  )

  it.effect("is not found where pages are torn, in the database or in the archive", () =>
    Effect.gen(function* () {
      const filename = yield* sample
      yield* archiveJob(filename)
      const archive = archiveBeside(filename)
      tear(archive)
      assert.match((yield* faultsOf(filename)).join(), /^archive archive \d+$/)
      rmSync(archive)
      assert.deepStrictEqual(yield* faultsOf(filename), ["archive archive 1"])
      tear(filename)
      assert.match((yield* faultsOf(filename)).join(), /^file file \d+$/)
    }).pipe(Effect.scoped),
  )
})

/** Spoils the second half of a file. */
const tear = (filename: string): void => {
  const half = Math.floor(statSync(filename).size / 2)
  overwrite(filename, half, half)
}
