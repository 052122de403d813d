/**
 * When messages had arrived before the event loop came to read them: requests at a server, answers at the load tester. All
 * that are read in one turn of the loop were there when it began to read; and unless the loop rested before that, they came at
 * some moment since it last looked. Without this, a server that is too busy to read finds itself quick, and a tester that is finds
 * the server slow. What a message waits in the network, and for this process to get a processor, is not seen from here.
 */
import { Effect, type Scope } from "effect"

/** The loop has waited for something to happen: what it then found had just come. */
const REST_MIN_MS = 0.01

const ANSWERED_AT = Symbol("renderowl/telemetry/Arrivals/answeredAt")

/** A socket, and when it was last answered: on itself, where that costs nothing. */
interface Connection {
  [ANSWERED_AT]?: number
}

/** A request of the connection has just been answered. */
export const answered = (connection: object, at: number): void => {
  ;(connection as Connection)[ANSWERED_AT] = at
}

export class Arrivals {
  /** When the loop last looked for something to read, and how long it had rested by then in all. */
  #lookedAt = performance.now()
  #restedMs = performance.nodeTiming.idleTime
  /** When the turn under way began. */
  #turnedAt = this.#lookedAt
  /** When it began to read messages, and since when those may have been there; undefined: it has read none yet. */
  #readAt: number | undefined
  #since = 0
  #immediate: NodeJS.Immediate | undefined

  /** Follows the turns of the loop for as long as the scope is open: about a microsecond each, and none while it rests. */
  static readonly make: Effect.Effect<Arrivals, never, Scope.Scope> = Effect.acquireRelease(
    Effect.sync(() => new Arrivals()),
    (arrivals) => Effect.sync(() => clearImmediate(arrivals.#immediate)),
  )

  private constructor() {
    this.#turn()
  }

  /**
   * By `performance.now()`, of a message that is being read now and that cannot have come before `earliest`: the middle of the
   * time in which it may have come.
   */
  now(earliest = Number.NEGATIVE_INFINITY): number {
    const readAt = this.#read()
    return (Math.max(this.#since, Math.min(earliest, readAt)) + readAt) / 2
  }

  /**
   * The same of a request. On a connection that was answered meanwhile it came with that answer: who has more to ask
   * mostly does so at once (measured: within 5 % of what callers see, where the middle is 10 to 20 % less than that).
   */
  ofRequest(connection: object): number {
    const readAt = this.#read()
    const answeredAt = (connection as Connection)[ANSWERED_AT]
    return answeredAt !== undefined && answeredAt > this.#since
      ? Math.min(answeredAt, readAt)
      : (this.#since + readAt) / 2
  }

  #read(): number {
    if (this.#readAt === undefined) {
      this.#readAt = performance.now()
      const hasRested = performance.nodeTiming.idleTime - this.#restedMs > REST_MIN_MS
      this.#since = hasRested ? this.#readAt : this.#lookedAt
    }
    return this.#readAt
  }

  /** Runs in each turn right after the reading, as immediates do; this one lets the loop rest all the same. */
  readonly #turn = (): void => {
    const now = performance.now()
    const rested = performance.nodeTiming.idleTime
    // Where no message says when it looked: whatever else the turn did may have been after that.
    this.#lookedAt = this.#readAt ?? this.#turnedAt + (rested - this.#restedMs)
    this.#restedMs = rested
    this.#turnedAt = now
    this.#readAt = undefined
    this.#immediate = setImmediate(this.#turn).unref()
  }
}
