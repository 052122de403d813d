/** What `EnqueueProcess.ts` tells the test that watches it. */

/** A job that somebody was told of: it must be there, with this payload. */
export interface Promised {
  readonly id: string
  readonly tag: string
  readonly key?: string | undefined
}

/** One answer of the queue. */
export interface Acknowledgement {
  readonly jobs: ReadonlyArray<Promised>
  /** A job that is cancelled for good. */
  readonly cancelled?: string
}

export const RUNS_LOG = "runs.log"
export const DATABASE = "queue.db"
