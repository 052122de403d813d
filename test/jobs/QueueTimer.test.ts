import { expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { QueueTimer } from "../../src/jobs/QueueTimer.ts"

it.effect("a timer that is set at the end of a long turn is not late by the turn", () =>
  Effect.gen(function* () {
    let rings = 0
    const timer = new QueueTimer(Effect.runForkWith(yield* Effect.context<never>()), () => rings++)
    const began = 0
    yield* TestClock.setTime(300)
    timer.arm(began, 1_000)
    yield* TestClock.adjust(699)
    expect(rings).toBe(0)
    yield* TestClock.adjust(1)
    expect(rings).toBe(1)
  }),
)
