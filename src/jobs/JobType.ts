/**
 * A type of job as everybody else knows it: what `Job.make` answers.
 */
import type { Effect, Layer, Schema } from "effect"
import type { JobContext } from "./JobContext.ts"
import type { Queue } from "./Queue.ts"
import type { RetryPolicy } from "./Retry.ts"

/** A type of job. */
export interface Job<Type extends string, Payload, Success, Failure> {
  readonly type: Type
  readonly queue: string
  readonly description: string | undefined
  readonly payload: Schema.Codec<Payload, unknown>
  readonly success: Schema.Codec<Success, unknown>
  readonly error: Schema.Codec<Failure, unknown>
  readonly retry: RetryPolicy
  readonly timeoutMs: number
  /**
   * Runs this type here: registers the handler with the queue for as long as the layer lives. When it goes, attempts
   * under way may finish within the queue's grace, and what is left is handed back.
   */
  readonly toLayer: <R>(
    handler: (payload: Payload, job: JobContext) => Effect.Effect<Success, Failure, R>,
    options?: {
      /** Attempts of this type at a time, in each queue. Default: the queue's. */
      readonly concurrency?: number | undefined
    },
  ) => Layer.Layer<never, never, Queue | R>
}

/** A type of job whose schemas are not known to the caller. */
export type AnyJob = Pick<
  Job<string, unknown, unknown, unknown>,
  "type" | "queue" | "description" | "payload" | "success" | "error" | "retry" | "timeoutMs"
>
