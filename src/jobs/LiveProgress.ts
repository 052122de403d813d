/**
 * The newest progress of running jobs, at once and not from the journal, which hears of it only once a second. Followers
 * get the newest value; one that is slow skips those in between.
 */
import { Effect, Latch, Stream } from "effect"
import type { ProgressRecord } from "./JobState.ts"

/** Newest progress by job id, for jobs that run in this process. */
export class LiveProgress {
  readonly #newest = new Map<string, ProgressRecord>()
  readonly #followers = new Map<string, Set<Latch.Latch>>()

  /** The newest progress of a running job. */
  get(id: string): ProgressRecord | undefined {
    return this.#newest.get(id)
  }

  publish(id: string, progress: ProgressRecord): void {
    this.#newest.set(id, progress)
    this.#wake(id)
  }

  /** The attempt has ended: its progress is history. */
  clear(id: string): void {
    this.#newest.delete(id)
  }

  /** The newest progress, and each later one, without end. */
  follow(id: string): Stream.Stream<ProgressRecord> {
    const registered = Effect.acquireRelease(
      Effect.sync(() => {
        const latch = Latch.makeUnsafe(true)
        const latches = this.#followers.get(id) ?? new Set()
        this.#followers.set(id, latches.add(latch))
        return latch
      }),
      (latch) =>
        Effect.sync(() => {
          const latches = this.#followers.get(id)
          latches?.delete(latch)
          if (latches?.size === 0) this.#followers.delete(id)
        }),
    )
    return Stream.unwrap(
      Effect.map(registered, (latch) => {
        let seen: ProgressRecord | undefined
        const next: Effect.Effect<ProgressRecord> = Effect.suspend(() => {
          latch.closeUnsafe()
          const newest = this.#newest.get(id)
          if (newest === undefined || newest === seen) return Effect.andThen(latch.await, next)
          return Effect.succeed((seen = newest))
        })
        return Stream.fromEffectRepeat(next)
      }),
    )
  }

  #wake(id: string): void {
    const latches = this.#followers.get(id)
    if (latches !== undefined) for (const latch of latches) latch.openUnsafe()
  }
}
