/**
 * Tells jobs that those they wait for have ended. What there is to tell stands in a table that is part of the journal's own
 * transactions, so nothing is forgotten when a process dies in between: whoever starts next tells it.
 */
import { Effect, Latch } from "effect"
import type { EndedDependency, JobStore } from "./JobStore.ts"

/** After a refusal: until it is told again. */
const RETRY_AFTER = "500 millis"

export class DependencyTeller {
  readonly #store: JobStore["Service"]
  readonly #changed = Latch.makeUnsafe(true)
  /** False only while no job waits for another one: then jobs that end cost nothing here. */
  #mayHave = true
  /** Whether a job was blocked since the last look at whether any is. */
  #blockedSince = false

  constructor(store: JobStore["Service"]) {
    this.#store = store
  }

  /** A job waits for others, some of which may have ended. */
  blocked(): void {
    this.#mayHave = true
    this.#blockedSince = true
    this.#changed.openUnsafe()
  }

  /** A job has ended. */
  ended(): void {
    if (this.#mayHave) this.#changed.openUnsafe()
  }

  /** Tells them, one page after the other, for ever. `tell` must make what it tells durable, or fail. */
  run(tell: (ended: EndedDependency) => Effect.Effect<unknown, unknown>): Effect.Effect<never> {
    const round = Effect.suspend(() => {
      this.#changed.closeUnsafe()
      return Effect.flatMap(this.#store.endedDependencies, (page) =>
        page.length === 0
          ? this.#rest
          : Effect.forEach(page, tell, { concurrency: "unbounded", discard: true }),
      )
    })
    return round.pipe(
      Effect.catchCause((cause) =>
        Effect.andThen(
          Effect.logWarning("jobs could not be told that those they wait for have ended", cause),
          Effect.sleep(RETRY_AFTER),
        ),
      ),
      Effect.forever,
    )
  }

  /** Nothing to tell: waits until there may be. */
  get #rest(): Effect.Effect<void, unknown> {
    return Effect.suspend(() => {
      // Until it is known that there are none there may be some: a job that ends during the look must not be overheard.
      this.#blockedSince = false
      return Effect.flatMap(this.#store.hasDependencies, (has) => {
        this.#mayHave = has || this.#blockedSince
        return this.#changed.await
      })
    })
  }
}
