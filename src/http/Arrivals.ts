/**
 * When requests had arrived before the event loop came to read them. All that are read in one turn of the loop were there when it
 * began to read; and unless the loop rested before that, they came at some moment since it last looked, which is taken to be the
 * middle of that time. Without this, a server that is too busy to read finds itself quick. What a request waits in the network,
 * and for this process to get a processor, is not seen from here.
 */
import { Effect, type Scope } from "effect"

/** The loop has waited for something to happen: what it then found had just come. */
const REST_MIN_MS = 0.01

export class Arrivals {
  /** When the loop last looked for something to read, and how long it had rested by then in all. */
  #lookedAt = performance.now()
  #restedMs = performance.nodeTiming.idleTime
  /** When the turn under way began. */
  #turnedAt = this.#lookedAt
  /** When it began to read requests, and when those had arrived; undefined: it has read none yet. */
  #readAt: number | undefined
  #arrivedAt = 0
  #immediate: NodeJS.Immediate | undefined

  /** Follows the turns of the loop for as long as the scope is open: about a microsecond each, and none while it rests. */
  static readonly make: Effect.Effect<Arrivals, never, Scope.Scope> = Effect.acquireRelease(
    Effect.sync(() => new Arrivals()),
    (arrivals) => Effect.sync(() => clearImmediate(arrivals.#immediate)),
  )

  private constructor() {
    this.#turn()
  }

  /** By `performance.now()`, of a request that is being read now. */
  now(): number {
    if (this.#readAt !== undefined) return this.#arrivedAt
    const now = performance.now()
    const hasRested = performance.nodeTiming.idleTime - this.#restedMs > REST_MIN_MS
    this.#readAt = now
    return (this.#arrivedAt = hasRested ? now : (this.#lookedAt + now) / 2)
  }

  /** Runs in each turn right after the reading, as immediates do; this one lets the loop rest all the same. */
  readonly #turn = (): void => {
    const now = performance.now()
    const rested = performance.nodeTiming.idleTime
    // Where no request says when it looked: whatever else the turn did may have been after that.
    this.#lookedAt = this.#readAt ?? this.#turnedAt + (rested - this.#restedMs)
    this.#restedMs = rested
    this.#turnedAt = now
    this.#readAt = undefined
    this.#immediate = setImmediate(this.#turn).unref()
  }
}
