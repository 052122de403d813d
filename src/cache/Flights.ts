/**
 * Computations under way, one for each key: whoever asks for the same meanwhile waits for that one. Each carries tags, and
 * once one of them is invalidated the computation may have seen what was before: those who wait for it asked before that,
 * and may have it; whoever asks from then on does not join it.
 */
import { Cause, Effect, Exit } from "effect"

interface Flight {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  isOutdated: boolean
  /** Told how it ended; undefined: it never did, or each needs a value of its own. */
  readonly waiting: Set<(exit: Exit.Exit<unknown, unknown> | undefined) => void>
}

/** What is shared. */
export interface Shared<A, E, R> {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  readonly compute: Effect.Effect<A, E, R>
  /** Whether a value can be given to several. */
  readonly isShareable: (value: A) => boolean
  /** Told of a value that nothing has outdated meanwhile, before anybody gets it. */
  readonly onCurrent: (value: A) => void
  /** Told that somebody waits for another's computation. */
  readonly onJoin: () => void
}

export class Flights {
  readonly #flights = new Map<string, Flight>()
  readonly #byTag = new Map<string, Set<Flight>>()

  /** Computations that may be joined. */
  get size(): number {
    return this.#flights.size
  }

  /**
   * Joins the computation of the key, or does it: in the fiber of whoever comes first, so that it costs nothing when nobody
   * else does. If that fiber is interrupted, one of those who wait starts over.
   */
  share<A, E, R>(shared: Shared<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const flight = this.#flights.get(shared.key)
      if (flight !== undefined) {
        shared.onJoin()
        return this.#join(flight, shared)
      }
      const own = this.#begin(shared.key, shared.tags)
      return Effect.onExit(shared.compute, (exit) => Effect.sync(() => this.#land(own, exit, shared)))
    })
  }

  /** What has the tag and is computed now may be out of date. */
  outdate(tag: string): void {
    const tagged = this.#byTag.get(tag)
    if (tagged === undefined) return
    for (const flight of tagged) {
      flight.isOutdated = true
      this.#forget(flight)
    }
  }

  /** The same for all of them. */
  outdateAll(): void {
    for (const flight of this.#flights.values()) {
      flight.isOutdated = true
      this.#forget(flight)
    }
  }

  #join<A, E, R>(flight: Flight, shared: Shared<A, E, R>): Effect.Effect<A, E, R> {
    const landed = Effect.callback<Exit.Exit<unknown, unknown> | undefined>((resume) => {
      const land = (exit: Exit.Exit<unknown, unknown> | undefined) => resume(Effect.succeed(exit))
      flight.waiting.add(land)
      return Effect.sync(() => flight.waiting.delete(land))
    })
    return Effect.flatMap(landed, (exit) => {
      if (exit === undefined) return this.share(shared)
      if (Exit.isFailure(exit)) return exit as Exit.Exit<A, E>
      const value = exit.value as A
      return shared.isShareable(value) ? Effect.succeed(value) : shared.compute
    })
  }

  #begin(key: string, tags: ReadonlyArray<string>): Flight {
    const flight: Flight = { key, tags, isOutdated: false, waiting: new Set() }
    this.#flights.set(key, flight)
    for (const tag of tags) {
      const tagged = this.#byTag.get(tag)
      if (tagged === undefined) this.#byTag.set(tag, new Set([flight]))
      else tagged.add(flight)
    }
    return flight
  }

  #land<A, E, R>(flight: Flight, exit: Exit.Exit<A, E>, { onCurrent }: Shared<A, E, R>): void {
    if (!flight.isOutdated) {
      this.#forget(flight)
      if (Exit.isSuccess(exit)) onCurrent(exit.value)
    }
    const isAbandoned = Exit.isFailure(exit) && Cause.hasInterrupts(exit.cause)
    for (const land of flight.waiting) land(isAbandoned ? undefined : exit)
  }

  #forget(flight: Flight): void {
    this.#flights.delete(flight.key)
    for (const tag of flight.tags) {
      const tagged = this.#byTag.get(tag)
      tagged?.delete(flight)
      if (tagged?.size === 0) this.#byTag.delete(tag)
    }
  }
}
