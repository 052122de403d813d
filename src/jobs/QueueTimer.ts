/**
 * The one timer of a queue: it rings at the earliest moment that anybody has asked for, and never before it.
 */
import { Clock, Effect, Fiber } from "effect"

/** It rings at least this often, whatever was asked for. */
const INTERVAL_MAX_MS = 3_600_000

export class QueueTimer {
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly #ring: () => void
  #set: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined

  constructor(fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>, ring: () => void) {
    this.#fork = fork
    this.#ring = ring
  }

  /** Rings at one of these moments at the latest. A timer that would ring earlier is left as it is. */
  arm(now: number, ...moments: ReadonlyArray<number>): void {
    const at = Math.min(now + INTERVAL_MAX_MS, ...moments)
    if (this.#set !== undefined) {
      if (this.#set.at <= at) return
      this.#set.fiber.interruptUnsafe()
    }
    const fiber = this.#fork(
      Effect.andThen(
        // From the moment at which it is set: the turn that asks for it began at `now`, and may have taken a while.
        Effect.flatMap(Clock.currentTimeMillis, (set) => Effect.sleep(Math.max(1, at - set))),
        Effect.sync(() => {
          this.#set = undefined
          this.#ring()
        }),
      ),
    )
    this.#set = { at, fiber }
  }
}
