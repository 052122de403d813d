/**
 * A test clock whose wall time can be stepped as an operator or NTP does it: what the time is said to be changes at once,
 * and whoever sleeps goes on sleeping for as long as before. `TestClock.adjust` remains the passing of time.
 */
import { Clock, Effect } from "effect"
import type { TestClock } from "effect/testing"

const MILLION = 1_000_000n

class SteppedClock {
  #offset = 0
  /** The test clock with the offset on top. */
  readonly clock: TestClock.TestClock
  readonly step: (millis: number) => void

  constructor(inner: TestClock.TestClock) {
    const millis = () => inner.currentTimeMillisUnsafe() + this.#offset
    const nanos = () => inner.currentTimeNanosUnsafe() + BigInt(this.#offset) * MILLION
    this.clock = {
      ...inner,
      currentTimeMillisUnsafe: millis,
      currentTimeMillis: Effect.sync(millis),
      currentTimeNanosUnsafe: nanos,
      currentTimeNanos: Effect.sync(nanos),
    }
    this.step = (by) => void (this.#offset += by)
  }
}

/** Runs a test whose clock can be stepped: `step` moves it by so many milliseconds, forward or back. */
export const withSteps = <A, E, R>(
  test: (step: (millis: number) => Effect.Effect<void>) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> =>
  Effect.withFiber((fiber) => {
    const { clock, step } = new SteppedClock(fiber.getRef(Clock.Clock) as TestClock.TestClock)
    return Effect.provideService(
      test((millis) => Effect.sync(() => step(millis))),
      Clock.Clock,
      clock,
    )
  })
