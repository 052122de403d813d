/**
 * How a queue has been doing lately: attempts that ended in the last minute, and how long jobs waited and ran. Sixty
 * buckets of a second each, so it costs the same however busy the queue is.
 */

const WINDOW_SECONDS = 60

interface Bucket {
  second: number
  completed: number
  failed: number
  waitMs: number
  processingMs: number
}

/** Figures of the last minute. Averages are in milliseconds, over the attempts that ended; 0 without any. */
export interface QueueThroughput {
  readonly completedPerMinute: number
  readonly failedPerMinute: number
  readonly waitMsAverage: number
  readonly processingMsAverage: number
}

export class QueueMeter {
  readonly #buckets: ReadonlyArray<Bucket> = Array.from({ length: WINDOW_SECONDS }, () => ({
    second: -1,
    completed: 0,
    failed: 0,
    waitMs: 0,
    processingMs: 0,
  }))

  /** An attempt has ended at `at` (milliseconds since 1970). */
  record(at: number, succeeded: boolean, waitMs: number, processingMs: number): void {
    const second = Math.floor(at / 1000)
    const bucket = this.#buckets[second % WINDOW_SECONDS]!
    if (bucket.second !== second)
      Object.assign(bucket, { second, completed: 0, failed: 0, waitMs: 0, processingMs: 0 })
    if (succeeded) bucket.completed++
    else bucket.failed++
    bucket.waitMs += waitMs
    bucket.processingMs += processingMs
  }

  /** The minute before `now`. */
  lastMinute(now: number): QueueThroughput {
    const oldest = Math.floor(now / 1000) - WINDOW_SECONDS
    let completed = 0
    let failed = 0
    let waitMs = 0
    let processingMs = 0
    for (const bucket of this.#buckets) {
      if (bucket.second <= oldest) continue
      completed += bucket.completed
      failed += bucket.failed
      waitMs += bucket.waitMs
      processingMs += bucket.processingMs
    }
    const attempts = completed + failed
    return {
      completedPerMinute: completed,
      failedPerMinute: failed,
      waitMsAverage: attempts === 0 ? 0 : Math.round(waitMs / attempts),
      processingMsAverage: attempts === 0 ? 0 : Math.round(processingMs / attempts),
    }
  }
}
