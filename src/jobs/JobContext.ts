/**
 * What a handler knows of the attempt it runs, and what it may tell: steps, whose results are journaled so that a later
 * attempt skips them, and progress.
 */
import type { Effect, Logger } from "effect"
import type { Codec, Json } from "effect/Schema"
import type { LogLine } from "./JobEvents.ts"

/** How far an attempt has come. */
export interface ProgressUpdate {
  /** 0 to 100. */
  readonly percent: number
  readonly message?: string
  /** Whatever helps to follow this kind of work: frames, bytes, time left. */
  readonly detail?: Json
}

/** The attempt as its handler sees it. */
export interface JobContext {
  readonly id: string
  readonly type: string
  readonly queue: string
  /** The fencing token: hand it to whatever must refuse an attempt that is no longer the latest. */
  readonly attempt: number
  readonly maxAttempts: number
  readonly tags: ReadonlyArray<string>
  /**
   * Runs an effect once for the whole job: its result is durable before this returns, and a later attempt gets it
   * without running the effect. The result must be JSON, or have a schema that makes it so. Names are unique in a job.
   */
  readonly step: {
    <A extends Json, E, R>(name: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R>
    <A, I extends Json, E, R>(
      name: string,
      effect: Effect.Effect<A, E, R>,
      schema: Codec<A, I>,
    ): Effect.Effect<A, E, R>
  }
  /** Whether a step of that name was completed, by this attempt or an earlier one. */
  readonly hasStep: (name: string) => boolean
  /**
   * Tells how far the attempt has come: at once to whoever follows the job live, and to the journal at most once a
   * second. Never waits for the journal and never fails.
   */
  readonly progress: (update: ProgressUpdate) => Effect.Effect<void>
  /**
   * Keeps a line with the attempt, to be read at `GET /v1/jobs/{id}/logs`; so is whatever the handler logs with
   * `Effect.log`. At most 1,000 lines an attempt are kept. Never waits for the journal and never fails.
   */
  readonly log: (
    message: string,
    options?: { readonly level?: LogLine["level"]; readonly data?: Json },
  ) => Effect.Effect<void>
  /** What `Effect.log` goes to, beside the loggers of the process. */
  readonly logger: Logger.Logger<unknown, void>
}
