/**
 * How a job has ended, for whoever waits for it in a program: the value that its handler succeeded with or the error that it
 * died of, decoded by the schemas of its type; everything else that can have become of it is an error of its own.
 */
import { Duration, Effect, Exit, Option, Result, Schema, Stream } from "effect"
import type { JournalError } from "../journal/Journal.ts"
import type { JobNotFound } from "./JobErrors.ts"
import { CancelCause, DeadLetterReason, JobFailure } from "./JobEvents.ts"
import type { JobUpdate } from "./JobFeed.ts"
import { isFinished, type JobState } from "./JobState.ts"
import type { JobType } from "./JobType.ts"
import { decodeStored } from "./StoredValue.ts"

/**
 * The job is a dead letter, and not for an error of its type: its last attempt timed out, threw, or stalled, or there was no
 * time for another one. It can be redriven.
 */
export class JobDied extends Schema.TaggedError<JobDied>()("JobDied", {
  id: Schema.String,
  reason: DeadLetterReason,
  /** Attempts that were started, in all. */
  attempts: Schema.Int,
  /** What went wrong in the last attempt that said so. */
  error: Schema.NullOr(JobFailure),
}) {
  override get message(): string {
    const error = this.error === null ? "" : `: ${this.error.name}: ${this.error.message}`
    return `${this.id} died after ${this.attempts} attempts (${this.reason})${error}`
  }
}

/** The job was cancelled. */
export class JobWasCancelled extends Schema.TaggedError<JobWasCancelled>()("JobWasCancelled", {
  id: Schema.String,
  /** Null: somebody wanted it. */
  cause: Schema.NullOr(CancelCause),
  reason: Schema.NullOr(Schema.String),
}) {
  override get message(): string {
    return `${this.id} was cancelled: ${this.reason ?? this.cause ?? "somebody wanted it"}`
  }
}

/** The job is one of another type. */
export class WrongJobType extends Schema.TaggedError<WrongJobType>()("WrongJobType", {
  id: Schema.String,
  expected: Schema.String,
  actual: Schema.String,
}) {
  override get message(): string {
    return `${this.id} is a job of the type ${this.actual}, not ${this.expected}`
  }
}

/** The job has not ended within the time that somebody would wait. It goes on. */
export class JobStillRunning extends Schema.TaggedError<JobStillRunning>()("JobStillRunning", {
  id: Schema.String,
  waitedMs: Schema.Finite,
}) {
  override get message(): string {
    return `${this.id} has not ended within ${this.waitedMs} ms`
  }
}

/** The job has completed with something that its type's schema does not take: the schema has changed since. */
export class ResultUnreadable extends Schema.TaggedError<ResultUnreadable>()("ResultUnreadable", {
  id: Schema.String,
  /** The schema's error. */
  cause: Schema.Defect(),
}) {}

/** Why waiting for a job brings no value, beside the errors of its type. */
export type AwaitError =
  | JobDied
  | JobWasCancelled
  | WrongJobType
  | JobStillRunning
  | ResultUnreadable
  | JobNotFound
  | JournalError

/** A job as it stands. */
interface Job {
  readonly id: string
  readonly version: number
  readonly state: JobState
}

/** The queue, as far as waiting for a job needs it. */
interface Jobs {
  readonly get: (id: string) => Effect.Effect<Job, JobNotFound | JournalError>
  readonly await: (id: string) => Effect.Effect<Job, JobNotFound | JournalError>
  readonly follow: (id: string, afterVersion?: number) => Stream.Stream<JobUpdate, JobNotFound | JournalError>
}

/** Waits until a job of a type has ended, at most so long, and answers what has come of it. */
export const awaitResult = Effect.fnUntraced(function* <Type extends string, Payload, Success, Failure>(
  jobs: Jobs,
  job: JobType<Type, Payload, Success, Failure>,
  id: string,
  { timeout }: { readonly timeout?: Duration.Input | undefined },
): Effect.fn.Return<Success, Failure | AwaitError> {
  const { state } = yield* jobs.get(id)
  if (state.type !== job.type) return yield* new WrongJobType({ id, expected: job.type, actual: state.type })
  const ended =
    timeout === undefined
      ? yield* untilEnded(jobs, id)
      : yield* Effect.timeoutOrElse(untilEnded(jobs, id), {
          duration: timeout,
          orElse: () => Effect.fail(new JobStillRunning({ id, waitedMs: Duration.toMillis(timeout) })),
        })
  return yield* resultOf(jobs, job, ended)
})

/** The job once it has ended. One that was redriven before anybody has looked at it has not. */
const untilEnded = (jobs: Jobs, id: string): Effect.Effect<Job, JobNotFound | JournalError> =>
  Effect.flatMap(jobs.await(id), (job) =>
    isFinished(job.state) ? Effect.succeed(job) : untilEnded(jobs, id),
  )

/** What a job that has ended has come to. */
const resultOf = <Type extends string, Payload, Success, Failure>(
  jobs: Jobs,
  job: JobType<Type, Payload, Success, Failure>,
  { id, state, version }: Job,
): Effect.Effect<Success, Failure | AwaitError> => {
  if (state.status === "completed")
    return Effect.mapError(
      decodeStored(job.success, state.result),
      (cause) => new ResultUnreadable({ id, cause }),
    )
  if (state.status === "cancelled") {
    const { cause = null, reason = null } = state.cancelled ?? {}
    return Effect.fail(new JobWasCancelled({ id, cause, reason }))
  }
  return Effect.flatMap(
    deathOf(jobs.follow(id, version - 1)),
    (reason): Effect.Effect<never, Failure | JobDied> => {
      const failure = reason === "expired" ? undefined : typedErrorOf(job, state)
      return Effect.fail(
        failure === undefined
          ? new JobDied({ id, reason, attempts: state.attempt, error: state.error ?? null })
          : failure.error,
      )
    },
  )
}

/** Why a job became a dead letter: the first of these updates of it says so. */
const deathOf = (updates: Stream.Stream<JobUpdate, JobNotFound | JournalError>) =>
  updates.pipe(
    Stream.filterMap((update) =>
      update._tag === "Event" && update.event._tag === "JobDeadLettered"
        ? Result.succeed(update.event.reason)
        : Result.failVoid,
    ),
    Stream.runHead,
    Effect.map(Option.getOrThrow),
  )

/** The error that the handler itself failed with in the last attempt, if its type's schema knows it. */
const typedErrorOf = <Failure>(
  job: Pick<JobType<string, unknown, unknown, Failure>, "error">,
  { attempts }: JobState,
): { readonly error: Failure } | undefined => {
  const data = attempts.at(-1)?.error?.data
  if (data === undefined) return undefined
  const decoded = Schema.decodeUnknownExit(job.error)(data)
  return Exit.isSuccess(decoded) ? { error: decoded.value } : undefined
}
