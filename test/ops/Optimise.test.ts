import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { readFileSync, readdirSync, statSync } from "node:fs"
import { dirname, join } from "node:path"
import { optimise } from "../../src/ops/Optimise.ts"
import { verify } from "../../src/ops/Verify.ts"
import { Ownership } from "../../src/sqlite/Ownership.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { damage, model, rowsOf, withDatabase, writeSample } from "./SampleJournal.ts"

/** A database of which more than a megabyte is free pages. */
const withHoles = (prepare = "") =>
  Effect.gen(function* () {
    const filename = join(yield* temporaryFolder, "sample.db")
    if (prepare !== "") damage(filename, prepare)
    yield* writeSample(filename)
    damage(
      filename,
      `CREATE TABLE filler (bytes BLOB) STRICT;
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
         INSERT INTO filler SELECT zeroblob(4096) FROM n;
       DROP TABLE filler`,
    )
    return filename
  })

const run = (filename: string, options: { vacuum?: boolean; dryRun?: boolean } = {}) =>
  Effect.scoped(optimise({ filename, vacuum: false, dryRun: false, ...options }))

const isAnalysed = (filename: string) =>
  withDatabase(
    filename,
    (db) => db.prepare("SELECT 1 FROM sqlite_schema WHERE name = 'sqlite_stat1'").get() !== undefined,
  )

describe("optimising a database", () => {
  it.effect("analyses it and writes its log back, and keeps every row and the size of the file", () =>
    Effect.gen(function* () {
      const filename = yield* withHoles()
      const rows = rowsOf(filename)
      const { after, before, vacuum } = yield* run(filename)
      assert.strictEqual(vacuum, "none")
      assert.isAbove(before.freeBytes, 1_000_000)
      assert.isAtLeast(after.bytes, before.bytes)
      assert.strictEqual(after.walBytes, 0)
      assert.isTrue(isAnalysed(filename))
      assert.deepStrictEqual(rowsOf(filename), rows)
      assert.deepStrictEqual((yield* verify({ filename, model })).faults, [])
    }).pipe(Effect.scoped),
  )

  it.effect("makes the file smaller when that is asked for, and leaves nothing beside it", () =>
    Effect.gen(function* () {
      const filename = yield* withHoles()
      const rows = rowsOf(filename)
      const { after, before } = yield* run(filename, { vacuum: true })
      assert.strictEqual(after.freeBytes, 0)
      assert.isBelow(after.bytes, before.bytes / 2)
      assert.strictEqual(statSync(filename).size, after.bytes)
      assert.deepStrictEqual(
        readdirSync(dirname(filename)).filter((name) => !name.endsWith(".lock")),
        ["sample.db"],
      )
      assert.deepStrictEqual(rowsOf(filename), rows)
      assert.deepStrictEqual((yield* verify({ filename, model })).faults, [])
    }).pipe(Effect.scoped),
  )

  it.effect("gives free pages back where the file was made for it", () =>
    Effect.gen(function* () {
      const filename = yield* withHoles(
        "PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE made (id INTEGER) STRICT",
      )
      const { after, before, vacuum } = yield* run(filename)
      assert.strictEqual(vacuum, "incremental")
      assert.isAbove(before.freeBytes, 1_000_000)
      assert.strictEqual(after.freeBytes, 0)
      assert.isBelow(statSync(filename).size, before.bytes / 2)
    }).pipe(Effect.scoped),
  )

  it.effect("changes nothing when it is only tried, and is refused while somebody owns the file", () =>
    Effect.gen(function* () {
      const filename = yield* withHoles()
      const before = readFileSync(filename)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Ownership.acquire(filename)
          assert.strictEqual((yield* Effect.flip(run(filename, { vacuum: true })))._tag, "DatabaseOwned")
          const plan = yield* run(filename, { vacuum: true, dryRun: true })
          assert.deepStrictEqual(plan.after, plan.before)
          assert.strictEqual(plan.vacuumNeedsBytes, 2 * (plan.before.bytes - plan.before.freeBytes))
        }),
      )
      assert.isTrue(before.equals(readFileSync(filename)))
    }).pipe(Effect.scoped),
  )
})
