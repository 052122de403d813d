import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { isApiUseRecorded } from "../../../src/domain/analytics/ApiUseEvents.ts"
import * as ApiUseLog from "../../../src/domain/analytics/ApiUseLog.ts"
import { ApiUse } from "../../../src/http/ApiUse.ts"
import { Journal } from "../../../src/journal/Journal.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { advance } from "../../support/Turns.ts"
import { HOUR, journalAt, START } from "./AnalyticsFixture.ts"

const HALF_HOUR = HOUR / 2

/** So many requests, now. */
const use = (requests: number) =>
  Effect.gen(function* () {
    const { record } = yield* ApiUse
    const now = yield* Clock.currentTimeMillis
    for (let n = 0; n < requests; n++) record("user_1", "jobs", now)
  })

/** How many requests each event of a stream tells of. */
const told = (stream: string) =>
  Effect.map(
    Effect.flatMap(Journal, ({ readStream }) => readStream(stream)),
    (events) =>
      events.map(({ event }) =>
        isApiUseRecorded(event) ? event.uses.reduce((sum, { requests }) => sum + requests, 0) : 0,
      ),
  )

describe("the log of the API's use", () => {
  it.effect("has a stream for each hour, so that a write never reads more than what an hour has had", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      yield* TestClock.setTime(START)
      yield* Effect.gen(function* () {
        yield* Effect.gen(function* () {
          yield* use(1)
          yield* advance(HALF_HOUR)
          yield* use(2)
          yield* advance(HALF_HOUR)
          yield* use(3)
        }).pipe(Effect.provide(ApiUseLog.layer, { local: true }))
        assert.deepStrictEqual(yield* told("api-use/2026-01-01T21"), [1, 2])
        // Written at the stop.
        assert.deepStrictEqual(yield* told("api-use/2026-01-01T22"), [3])
      }).pipe(Effect.provide(journalAt(filename)))
    }),
  )

  it.effect("goes on, at the next start, where the hour's stream has been left", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      yield* TestClock.setTime(START)
      yield* Effect.gen(function* () {
        yield* Effect.provide(use(4), ApiUseLog.layer, { local: true })
        yield* Effect.provide(use(5), ApiUseLog.layer, { local: true })
        assert.deepStrictEqual(yield* told("api-use/2026-01-01T21"), [4, 5])
      }).pipe(Effect.provide(journalAt(filename)))
    }),
  )
})
