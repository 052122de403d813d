/**
 * Defining a type of job: its name, the schemas of payload, result and error, and how it is retried. `toLayer` gives it
 * a handler and the right to run so many at a time; `Queue.enqueue` submits one, and `Queue.await` waits for what comes of it.
 */
import { Context, Duration, Effect, Layer, Logger, Schema } from "effect"
import { wholeMillis } from "./JobEvents.ts"
import type { JobContext } from "./JobContext.ts"
import type { JobType } from "./JobType.ts"
import { Queue } from "./Queue.ts"
import { DEFAULT_RETRY, type RetryPolicy } from "./Retry.ts"

/** The queue of jobs that name none. */
export const DEFAULT_QUEUE = "default"
const DEFAULT_TIMEOUT: Duration.Input = "5 minutes"

/** A type of job that can be given a handler. */
export interface Job<Type extends string, Payload, Success, Failure> extends JobType<
  Type,
  Payload,
  Success,
  Failure
> {
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

/**
 * Defines a type of job. Payload, success and error default to nothing; what they encode to must be JSON. An error may
 * carry `retryable: false` (no further attempt) or `retryAfter` (a duration: not before then).
 */
export const make = <const Type extends string, Payload = void, Success = void, Failure = never>(
  type: Type,
  options: {
    readonly payload?: Schema.Codec<Payload, unknown>
    readonly success?: Schema.Codec<Success, unknown>
    readonly error?: Schema.Codec<Failure, unknown>
    readonly queue?: string
    readonly description?: string
    readonly retry?: Partial<RetryPolicy>
    /** How long one attempt may take, from its start. Default: 5 minutes. */
    readonly timeout?: Duration.Input
    /** Only `Queue.enqueue` submits it, and never a caller of the API. Default: false. */
    readonly isInternal?: boolean
  },
): Job<Type, Payload, Success, Failure> => {
  const job: Job<Type, Payload, Success, Failure> = {
    type,
    queue: options.queue ?? DEFAULT_QUEUE,
    description: options.description,
    payload: options.payload ?? (Schema.Void as unknown as Schema.Codec<Payload, unknown>),
    success: options.success ?? (Schema.Void as unknown as Schema.Codec<Success, unknown>),
    error: options.error ?? (Schema.Never as unknown as Schema.Codec<Failure, unknown>),
    retry: { ...DEFAULT_RETRY, ...options.retry },
    timeoutMs: wholeMillis(Duration.toMillis(options.timeout ?? DEFAULT_TIMEOUT)),
    isInternal: options.isInternal ?? false,
    toLayer: (handler, handlerOptions) =>
      Layer.effectDiscard(
        Effect.gen(function* () {
          const queue = yield* Queue
          const context = yield* Effect.context<never>()
          const loggers = yield* Logger.CurrentLoggers
          yield* queue.register({
            job,
            run: (payload, jobContext) =>
              Effect.provideContext(
                handler(payload as Payload, jobContext),
                Context.add(context, Logger.CurrentLoggers, new Set([...loggers, jobContext.logger])),
              ) as Effect.Effect<unknown, unknown>,
            concurrency: handlerOptions?.concurrency,
          })
        }),
      ) as never,
  }
  return job
}
