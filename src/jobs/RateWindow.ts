/**
 * How many attempts a queue may still start: at most so many within any span of time, however that span lies. Starts from
 * before a process had the limit count from its next start on, when they are read from the journal. It remembers the moments
 * of the newest starts, no more of them than the limit allows in one span.
 */
import type { RateLimit } from "./QueueBehavior.ts"

export class RateWindow {
  readonly limit: RateLimit
  /** Moments of starts, oldest first. */
  readonly #starts: Array<number>

  /** `starts`: the moments of earlier starts, oldest first. */
  constructor(limit: RateLimit, starts: ReadonlyArray<number>) {
    this.limit = limit
    this.#starts = starts.slice(-limit.starts)
  }

  /** Starts that are allowed at this moment. */
  available(now: number): number {
    const starts = this.#starts
    // A clock that was set back must not keep the queue waiting for the time in which it was wrong.
    for (let at = starts.length - 1; at >= 0 && starts[at]! > now; at--) starts[at] = now
    let gone = 0
    while (gone < starts.length && now - starts[gone]! >= this.limit.per_ms) gone++
    if (gone > 0) starts.splice(0, gone)
    return Math.max(0, this.limit.starts - starts.length)
  }

  /** When the next start is allowed, while none is. */
  get nextAt(): number {
    const oldest = this.#starts[Math.max(0, this.#starts.length - this.limit.starts)]
    return oldest === undefined ? Number.NEGATIVE_INFINITY : oldest + this.limit.per_ms
  }

  /** An attempt has started. */
  record(at: number): void {
    this.#starts.push(at)
  }

  /** The same starts under another limit. */
  under(limit: RateLimit): RateWindow {
    return new RateWindow(limit, this.#starts)
  }
}
