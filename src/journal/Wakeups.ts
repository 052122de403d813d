/**
 * Who waits for new events: one latch a subscriber, of one stream or of all. A commit opens the latches it concerns;
 * the subscriber then reads from the store at its own pace, so a slow one holds no events in memory.
 */
import { Effect, Latch, type Scope } from "effect"
import type { RecordedEvent } from "./Journal.ts"

/** The latches of live subscriptions. */
export class Wakeups {
  readonly #all = new Set<Latch.Latch>()
  readonly #streams = new Map<string, Set<Latch.Latch>>()

  /** How many subscriptions are live. */
  get size(): number {
    let size = this.#all.size
    for (const latches of this.#streams.values()) size += latches.size
    return size
  }

  /** Opens the latches of everyone whom these events concern. */
  notify(events: ReadonlyArray<RecordedEvent>): void {
    for (const latch of this.#all) latch.openUnsafe()
    if (this.#streams.size === 0) return
    for (const { stream } of events) {
      const latches = this.#streams.get(stream)
      if (latches !== undefined) for (const latch of latches) latch.openUnsafe()
    }
  }

  /** A latch that opens at each commit (of `stream`, when given), for as long as the scope is open. */
  register(stream?: string): Effect.Effect<Latch.Latch, never, Scope.Scope> {
    return Effect.acquireRelease(
      Effect.sync(() => {
        const latch = Latch.makeUnsafe(false)
        if (stream === undefined) this.#all.add(latch)
        else {
          const latches = this.#streams.get(stream) ?? new Set()
          this.#streams.set(stream, latches.add(latch))
        }
        return latch
      }),
      (latch) =>
        Effect.sync(() => {
          if (stream === undefined) return void this.#all.delete(latch)
          const latches = this.#streams.get(stream)
          latches?.delete(latch)
          if (latches?.size === 0) this.#streams.delete(stream)
        }),
    )
  }
}
