import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { sweep } from "../../../src/domain/analytics/AnalyticsRetention.ts"
import { Journal } from "../../../src/journal/Journal.ts"
import * as DatabaseFile from "../../../src/ops/DatabaseFile.ts"
import { rebuild } from "../../../src/ops/Rebuild.ts"
import { enqueued } from "../../jobs/JobHistories.ts"
import { faultsOf, model } from "../../ops/SampleJournal.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { caughtUp, DAY, HOUR, journalAt, projector, rowsOf, START } from "./AnalyticsFixture.ts"

const NOW = START + 1_000 * DAY

/** A job for each of so many queues, some time ago. */
const enqueue = (ago: number, queues: number) =>
  Effect.flatMap(Journal, (journal) =>
    journal.append(
      Array.from({ length: queues }, (_, n) => ({
        stream: `job_${ago}_${n}`,
        expectedVersion: 0,
        events: [enqueued({ queue: `queue ${n}` })],
      })),
      NOW - ago,
    ),
  )

/** How long ago the rows of a table begin, each once, the oldest first. */
const ages = (filename: string, table: string) => [
  ...new Set(rowsOf(filename)[table]!.map(({ start }) => Math.round((NOW - (start as number)) / DAY))),
]

describe("old analytics", () => {
  it.effect("go, hours before days, and neither a rebuild nor a late projection brings them back", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      yield* TestClock.setTime(NOW)
      yield* Effect.gen(function* () {
        yield* enqueue(900 * DAY, 700)
        yield* enqueue(100 * DAY, 700)
        yield* enqueue(HOUR, 3)
        yield* Effect.provide(caughtUp, projector)
        assert.deepStrictEqual(ages(filename, "analytics_hourly"), [900, 100, 0])
        assert.deepStrictEqual(ages(filename, "analytics_daily").length, 3)

        // More than one sweep takes at once: 702 rows of hours twice, and of days once.
        assert.strictEqual(yield* sweep, 3 * 702)
        assert.deepStrictEqual(ages(filename, "analytics_hourly"), [0])
        assert.deepStrictEqual(ages(filename, "analytics_daily").length, 2)
        assert.deepStrictEqual(yield* faultsOf(filename), [])
        assert.strictEqual(yield* sweep, 0)
      }).pipe(Effect.provide(journalAt(filename)))

      const kept = rowsOf(filename)
      yield* Effect.flatMap(DatabaseFile.openOwned(filename), (database) => rebuild(database, model)).pipe(
        Effect.scoped,
      )
      assert.deepStrictEqual(rowsOf(filename), kept)
      assert.deepStrictEqual(yield* faultsOf(filename), [])

      yield* Effect.gen(function* () {
        yield* enqueue(200 * DAY, 2)
        yield* Effect.provide(caughtUp, projector)
        assert.deepStrictEqual(ages(filename, "analytics_hourly"), [0])
        assert.deepStrictEqual(yield* faultsOf(filename), [])
      }).pipe(Effect.provide(journalAt(filename)))
    }).pipe(Effect.scoped),
  )

  it.effect("that were not swept yet are no fault", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      yield* Effect.gen(function* () {
        yield* enqueue(100 * DAY, 2)
        yield* Effect.provide(caughtUp, projector)
        const database = yield* DatabaseFile.open({ filename })
        database.exec(`UPDATE analytics_retention SET hourly_from = ${NOW}`)
        assert.isNotEmpty(rowsOf(filename)["analytics_hourly"])
        assert.deepStrictEqual(yield* faultsOf(filename), [])
      }).pipe(Effect.provide(journalAt(filename)))
    }).pipe(Effect.scoped),
  )
})
