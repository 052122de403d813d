import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { Journal } from "../../../src/journal/Journal.ts"
import * as DatabaseFile from "../../../src/ops/DatabaseFile.ts"
import { rebuild } from "../../../src/ops/Rebuild.ts"
import { faultsOf, model } from "../../ops/SampleJournal.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { forAll } from "../../support/Property.ts"
import {
  archive,
  caughtUp,
  journalAt,
  journals,
  projector,
  type RandomJournal,
  referenceRows,
  rowsOf,
  write,
} from "./AnalyticsFixture.ts"

const rebuildFile = (filename: string) =>
  Effect.flatMap(DatabaseFile.openOwned(filename), (database) => rebuild(database, model)).pipe(Effect.scoped)

const databaseFile = Effect.map(temporaryFolder, (folder) => join(folder, "test.db"))

/** Now and then, by the number of times it was asked. */
const everyNth = <E, R>(n: number, effect: Effect.Effect<unknown, E, R>) => {
  let times = 0
  return Effect.suspend(() => (++times % n === 0 ? effect : Effect.void) as Effect.Effect<unknown, E, R>)
}

const readStreams = (streams: ReadonlyArray<string>) =>
  Effect.flatMap(Journal, (journal) => Effect.forEach(streams, (stream) => journal.readStream(stream)))

describe("the analytics of any journal", () => {
  it.effect(
    "are what its streams say one by one, however often the process ended, and stay so in the archive",
    () =>
      forAll(
        journals,
        (random: RandomJournal) =>
          Effect.gen(function* () {
            const filename = yield* databaseFile
            yield* Effect.gen(function* () {
              // Every few events a process begins, sees what is new, and is gone.
              const life = Effect.provide(caughtUp, projector)
              const { finished, streams } = yield* write(random, everyNth(11, life))
              yield* life
              const expected = referenceRows(yield* readStreams(streams))
              assert.deepStrictEqual(rowsOf(filename), expected)
              assert.deepStrictEqual(yield* faultsOf(filename), [])

              yield* archive(finished)
              yield* life
              assert.deepStrictEqual(rowsOf(filename), expected)
              assert.deepStrictEqual(yield* faultsOf(filename), [])
            }).pipe(Effect.provide(journalAt(filename)))

            const before = rowsOf(filename)
            yield* rebuildFile(filename)
            assert.deepStrictEqual(rowsOf(filename), before)
            assert.deepStrictEqual(yield* faultsOf(filename), [])
          }).pipe(Effect.scoped, Effect.provide(TestClock.layer())),
        { runs: 40 },
      ),
  )
})
