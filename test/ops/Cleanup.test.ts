import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { existsSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { snapshotKinds } from "../../src/EventModel.ts"
import { type CleanupOptions, cleanUp } from "../../src/ops/Cleanup.ts"
import { verify } from "../../src/ops/Verify.ts"
import { Ownership } from "../../src/sqlite/Ownership.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { damage, model, START, withDatabase, writeSample, writeSnapshot } from "./SampleJournal.ts"

const NOW = START + Duration.toMillis("10 days")

/** A database with a job that ended ten days ago, a snapshot that is used, and two that are not. */
const sample = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const filename = join(folder, "sample.db")
  yield* writeSample(filename)
  yield* writeSnapshot(filename)
  damage(
    filename,
    `INSERT INTO snapshots SELECT 'proj_gone', version, revision, state FROM snapshots;
     INSERT INTO snapshots SELECT 'queue/mail', 1, 1, '{}'`,
  )
  yield* TestClock.setTime(NOW)
  return { folder, filename }
})

type Sample = Effect.Success<typeof sample>

const run = ({ filename, folder }: Sample, options: Partial<CleanupOptions> = {}) =>
  cleanUp({
    filename,
    archive: join(folder, "archive.db"),
    backups: join(folder, "backups"),
    cache: join(folder, "cache.db"),
    olderThan: Duration.days(7),
    snapshotKinds,
    dryRun: false,
    ...options,
  })

/** A draft of a backup that was last written to so long ago. */
const draft = ({ folder }: Sample, name: string, age: Duration.Input): string => {
  const path = join(folder, "backups", name)
  mkdirSync(path, { recursive: true })
  writeFileSync(join(path, "queue.db"), "1234")
  const when = (NOW - Duration.toMillis(age)) / 1_000
  utimesSync(join(path, "queue.db"), when, when)
  utimesSync(path, when, when)
  return path
}

describe("cleaning up", () => {
  it.effect("archives jobs that are old enough, and drops snapshots that nobody can load", () =>
    Effect.gen(function* () {
      const one = yield* sample
      const { jobs, snapshots } = yield* run(one)
      assert.deepStrictEqual(jobs, { ripe: 1, archived: 1, stayed: 0, unreadable: 0 })
      assert.strictEqual(snapshots.found, 2)
      const left = withDatabase(one.filename, (db) => db.prepare("SELECT stream FROM snapshots").all())
      assert.strictEqual(left.length, 1)
      const archive = join(one.folder, "archive.db")
      assert.deepStrictEqual((yield* verify({ filename: one.filename, archive, model })).faults, [])
      assert.deepInclude(yield* run(one), { jobs: { ripe: 0, archived: 0, stayed: 0, unreadable: 0 } })
    }).pipe(Effect.scoped),
  )

  it.effect("leaves jobs alone that are younger, or when no age is set", () =>
    Effect.gen(function* () {
      const one = yield* sample
      assert.deepInclude((yield* run(one, { olderThan: Duration.days(11) })).jobs, { ripe: 0, archived: 0 })
      assert.deepInclude((yield* run(one, { olderThan: undefined })).jobs, { ripe: null, archived: 0 })
    }).pipe(Effect.scoped),
  )

  it.effect("removes drafts that were left a day ago, and nothing that may be in use or is complete", () =>
    Effect.gen(function* () {
      const one = yield* sample
      const old = draft(one, "first.partial-aB3", "25 hours")
      const young = draft(one, "second.partial-aB3", "1 hour")
      const complete = draft(one, "20260101T000000Z", "9 days")
      const { leftovers } = yield* run(one)
      assert.deepStrictEqual(leftovers, [{ path: old, bytes: 4 }])
      assert.deepStrictEqual([old, young, complete].map(existsSync), [false, true, true])
    }).pipe(Effect.scoped),
  )

  it.effect("only counts with a dry run, also while somebody owns the database, and is refused then", () =>
    Effect.gen(function* () {
      const one = yield* sample
      const old = draft(one, "first.partial-aB3", "25 hours")
      const before = readFileSync(one.filename)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Ownership.acquire(one.filename)
          assert.strictEqual((yield* Effect.flip(run(one)))._tag, "DatabaseOwned")
          const plan = yield* run(one, { dryRun: true })
          assert.deepInclude(plan.jobs, { ripe: 1, archived: 0 })
          assert.strictEqual(plan.snapshots.found, 2)
          assert.strictEqual(plan.leftovers.length, 1)
        }),
      )
      assert.isTrue(existsSync(old))
      assert.isTrue(before.equals(readFileSync(one.filename)))
    }).pipe(Effect.scoped),
  )
})
