/**
 * What everybody knows of a type of job: its name, its schemas and how it is retried. `Job.make` makes one that can also be
 * given a handler.
 */
import type { Schema } from "effect"
import type { RetryPolicy } from "./Retry.ts"

/** A type of job. */
export interface JobType<Type extends string, Payload, Success, Failure> {
  readonly type: Type
  readonly queue: string
  readonly description: string | undefined
  readonly payload: Schema.Codec<Payload, unknown>
  readonly success: Schema.Codec<Success, unknown>
  readonly error: Schema.Codec<Failure, unknown>
  readonly retry: RetryPolicy
  readonly timeoutMs: number
  /** Only the program itself submits it: by its name alone it is unknown. */
  readonly isInternal: boolean
}

/** A type of job whose schemas are not known to the caller. */
export type AnyJobType = JobType<string, unknown, unknown, unknown>
