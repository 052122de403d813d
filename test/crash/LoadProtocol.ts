/**
 * What `LoadProcess.ts` tells the test that watches it, a line of JSON each on file descriptor 3. A line is written
 * synchronously, after the answer that it reports and before whoever got that answer goes on; the test holds it from then
 * on, outside of the database and of the process.
 */
import type { Priority } from "../../src/jobs/JobEvents.ts"

/** A job that somebody was told of: it must be there, with this payload. */
export interface Promised {
  readonly id: string
  readonly tag: string
  readonly key?: string | undefined
}

/** How a job can end. */
export const ENDS = ["JobCompleted", "JobDeadLettered", "JobCancelled"] as const

/** One line. */
export type Told =
  /** The first line: the database is about to be opened. */
  | { readonly _tag: "Opening" }
  /** The system is up, and the load begins. */
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Accepted"; readonly jobs: ReadonlyArray<Promised> }
  /** Refused by the store, with the reason's tag. Nothing of it may ever be there in part. */
  | { readonly _tag: "Refused"; readonly what: string; readonly reason: string }
  | { readonly _tag: "Cancelled"; readonly id: string }
  | { readonly _tag: "Rescheduled"; readonly id: string; readonly dueAt: number }
  | { readonly _tag: "Reprioritized"; readonly id: string; readonly priority: Priority }
  /** The queue's own stream has this event, as `<stream> <event> <data>`. */
  | { readonly _tag: "Governed"; readonly fact: string }
  /** After a command: the job as it was then read has this version. */
  | { readonly _tag: "Seen"; readonly id: string; readonly version: number }
  /** Somebody who follows the journal saw how a job ended. */
  | {
      readonly _tag: "Ended"
      readonly id: string
      readonly version: number
      readonly event: (typeof ENDS)[number]
    }
  /** The write-ahead log is about to be copied into the database. */
  | { readonly _tag: "Checkpoint" }

/** `checkpoint` is `load` with a checkpoint every few milliseconds. `drain` runs what there is and ends. */
export type Mode = "load" | "checkpoint" | "drain"

/** In the process's folder. Lines are `run <job> <attempt>` and `step <job> <attempt> <name>`. */
export const RUNS_LOG = "runs.log"
export const DATABASE = "queue.db"
