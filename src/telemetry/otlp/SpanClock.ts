/**
 * The time for spans that happen all the time. It is that of Effect's clock, as all other spans have it, but asked for once a second
 * and counted on from there: to ask means several BigInts, which cost about a microsecond for each request (measured).
 */
import type { Clock } from "effect"

const ASK_AGAIN_MS = 1_000
const NANOS_PER_MILLI = 1_000_000

export class SpanClock {
  readonly #clock: Clock.Clock
  #askedAt = Number.NEGATIVE_INFINITY
  /** What is to be added to what this process counts. */
  #offsetNanos = 0

  constructor(clock: Clock.Clock) {
    this.#clock = clock
  }

  /** What `performance.now()` was a moment ago, in nanoseconds since 1970. */
  nanosAt(counted: number): number {
    if (counted - this.#askedAt >= ASK_AGAIN_MS) {
      this.#askedAt = performance.now()
      this.#offsetNanos = Number(this.#clock.currentTimeNanosUnsafe()) - this.#askedAt * NANOS_PER_MILLI
    }
    return Math.round(this.#offsetNanos + counted * NANOS_PER_MILLI)
  }
}
