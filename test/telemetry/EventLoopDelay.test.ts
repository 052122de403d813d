import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { letOthersRun } from "../../src/sqlite/EventLoop.ts"
import { loopDelayMonitor } from "../../src/telemetry/EventLoopDelay.ts"

const BUSY_MS = 100

const keepBusy = Effect.sync(() => {
  const until = performance.now() + BUSY_MS
  while (performance.now() < until);
})

describe("the delay of the event loop", () => {
  it.live("is seen by everybody who looks, once each, whoever else has taken it", () =>
    Effect.gen(function* () {
      const one = yield* loopDelayMonitor
      const other = yield* loopDelayMonitor
      // The first look of each is what the next is held against.
      yield* Effect.repeat(Effect.andThen(keepBusy, letOthersRun), {
        until: () => one.look().max > BUSY_MS / 2 && other.look().max > BUSY_MS / 2,
      })
      assert.isAbove(one.take().max, BUSY_MS / 2)
      assert.deepStrictEqual(one.look(), { p50: 0, p90: 0, p99: 0, max: 0 })
      assert.isAbove(other.take().max, BUSY_MS / 2)
    }),
  )
})
