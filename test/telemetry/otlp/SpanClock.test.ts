import { describe, expect, it, vi } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { SpanClock } from "../../../src/telemetry/otlp/SpanClock.ts"

const START = 1_800_000_000_000_000_000n
const SECOND = 1_000_000_000n

describe("The clock of spans", () => {
  it.effect("says what Effect's says, which is asked for once a second and followed when it is set", () =>
    Effect.gen(function* () {
      const inner = yield* Clock.Clock
      let counted = 5_000.25
      let time = START
      let asked = 0
      const performanceNow = vi.spyOn(performance, "now").mockImplementation(() => counted)
      yield* Effect.addFinalizer(() => Effect.sync(() => performanceNow.mockRestore()))
      const clock = new SpanClock(
        Object.assign(Object.create(inner) as Clock.Clock, {
          currentTimeNanosUnsafe: () => {
            asked++
            return time
          },
        }),
      )
      expect(clock.nanosAt(counted)).toBe(Number(START))

      counted += 250
      expect(clock.nanosAt(counted)).toBe(Number(START + SECOND / 4n))
      counted += 749
      clock.nanosAt(counted)
      expect(asked).toBe(1)

      counted += 1
      time = START - 3_600n * SECOND
      expect(clock.nanosAt(counted)).toBe(Number(time))
      // What happened a moment ago.
      expect(clock.nanosAt(counted - 64)).toBe(Number(time) - 64_000_000)
      expect(asked).toBe(2)
    }),
  )
})
