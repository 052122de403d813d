/**
 * What can happen to a job, as the journal stores it. Times that are decisions (`due_at`, `retry_at`) are in the data,
 * in milliseconds since 1970; when a thing happened is the event's own `recordedAt`.
 */
import { Schema } from "effect"
import { type DomainEvent, eventType } from "../journal/DomainEvent.ts"

/** Most urgent first. */
export const PRIORITIES = ["urgent", "high", "normal", "low"] as const
export const Priority = Schema.Literals(PRIORITIES)
export type Priority = typeof Priority.Type

/** What went wrong in an attempt, in words for people and a name for programs. */
export const JobFailure = Schema.Struct({
  name: Schema.String,
  message: Schema.String,
  /** The handler's typed error, encoded by its schema. */
  data: Schema.optionalKey(Schema.Json),
})
export type JobFailure = typeof JobFailure.Type

/** Least serious first. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const

const Attempt = Schema.Int
const Millis = Schema.Int

/** How a job can end. */
export const JobOutcome = Schema.Literals(["completed", "dead_letter", "cancelled"])
export type JobOutcome = typeof JobOutcome.Type

/**
 * What becomes of a job when one that it depends on is dead or cancelled: it is cancelled too (the default), runs all the
 * same, or waits for somebody to redrive the other one.
 */
export const DependencyFailurePolicy = Schema.Literals(["cancel", "run", "wait"])
export type DependencyFailurePolicy = typeof DependencyFailurePolicy.Type

/** Why a job was cancelled that nobody has cancelled. */
export const CancelCause = Schema.Literals(["expired", "dependency_failed"])
export type CancelCause = typeof CancelCause.Type

/** A line that a handler has logged. */
export const LogLine = Schema.Struct({
  at: Millis,
  level: Schema.Literals(LOG_LEVELS),
  message: Schema.String,
  data: Schema.optionalKey(Schema.Json),
})
export type LogLine = typeof LogLine.Type

/** The last moment that a `Date` can be, in milliseconds since 1970. */
const LATEST_MOMENT_MS = 8_640_000_000_000_000

/** A moment or a length of time as events keep it: whole milliseconds, never early, and finite. */
export const wholeMillis = (millis: number): number => Math.min(Math.ceil(millis), LATEST_MOMENT_MS)

export const JobEnqueued = Schema.TaggedStruct("JobEnqueued", {
  queue: Schema.String,
  type: Schema.String,
  priority: Priority,
  payload: Schema.Json,
  max_attempts: Schema.Int,
  timeout_ms: Schema.Int,
  /** Absent: due when it was enqueued. */
  due_at: Schema.optionalKey(Millis),
  idempotency_key: Schema.optionalKey(Schema.String),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Jobs of a queue with the same key share its `key_concurrency`. */
  concurrency_key: Schema.optionalKey(Schema.String),
  /** No attempt starts from then on. */
  expires_at: Schema.optionalKey(Millis),
  /** Ids of the jobs that must end first, each once; never empty. */
  depends_on: Schema.optionalKey(Schema.Array(Schema.String)),
  /** Only with `depends_on`. */
  on_dependency_failure: Schema.optionalKey(DependencyFailurePolicy),
})

/** One of the jobs that this one depends on has ended. */
export const JobDependencyEnded = Schema.TaggedStruct("JobDependencyEnded", {
  job: Schema.String,
  outcome: JobOutcome,
  /** False: it failed, and this job waits until it has been redriven and completes. */
  settled: Schema.Boolean,
})

/** Nothing that the job depends on is outstanding any more. */
export const JobReleased = Schema.TaggedStruct("JobReleased", { due_at: Millis })

export const JobStarted = Schema.TaggedStruct("JobStarted", { attempt: Attempt, worker: Schema.String })

export const JobProgressed = Schema.TaggedStruct("JobProgressed", {
  attempt: Attempt,
  percent: Schema.Number,
  message: Schema.optionalKey(Schema.String),
  /** What the handler adds for its own kind of work: frames, bytes, time left. */
  detail: Schema.optionalKey(Schema.Json),
})

export const JobStepCompleted = Schema.TaggedStruct("JobStepCompleted", {
  attempt: Attempt,
  name: Schema.String,
  result: Schema.Json,
})

/** What an attempt has logged since the last such event. */
export const JobLogged = Schema.TaggedStruct("JobLogged", {
  attempt: Attempt,
  lines: Schema.Array(LogLine),
  /** Lines of the attempt that were too many to be kept, so far. */
  dropped: Schema.optionalKey(Schema.Int),
})

export const JobCompleted = Schema.TaggedStruct("JobCompleted", { attempt: Attempt, result: Schema.Json })

export const JobAttemptFailed = Schema.TaggedStruct("JobAttemptFailed", {
  attempt: Attempt,
  error: JobFailure,
  /** Null: there is no next attempt. */
  retry_at: Schema.NullOr(Millis),
})

/** Why a lease ended without an answer from its worker. */
export const StallReason = Schema.Literals(["lease_expired", "process_lost", "handed_back"])
export type StallReason = typeof StallReason.Type

export const JobStalled = Schema.TaggedStruct("JobStalled", {
  attempt: Attempt,
  reason: StallReason,
  retry_at: Schema.NullOr(Millis),
})

/** Why there is no further attempt. `expired`: the next one would have started too late. */
export const DeadLetterReason = Schema.Literals(["attempts_used_up", "not_retryable", "expired"])

export const JobDeadLettered = Schema.TaggedStruct("JobDeadLettered", { reason: DeadLetterReason })

export const JobCancelled = Schema.TaggedStruct("JobCancelled", {
  reason: Schema.optionalKey(Schema.String),
  /** Absent: somebody wanted it. */
  cause: Schema.optionalKey(CancelCause),
})

export const JobRedriven = Schema.TaggedStruct("JobRedriven", { due_at: Millis })

export const JobRescheduled = Schema.TaggedStruct("JobRescheduled", { due_at: Millis })

export const JobReprioritized = Schema.TaggedStruct("JobReprioritized", { priority: Priority })

export type JobEvent =
  | typeof JobEnqueued.Type
  | typeof JobDependencyEnded.Type
  | typeof JobReleased.Type
  | typeof JobStarted.Type
  | typeof JobProgressed.Type
  | typeof JobStepCompleted.Type
  | typeof JobLogged.Type
  | typeof JobCompleted.Type
  | typeof JobAttemptFailed.Type
  | typeof JobStalled.Type
  | typeof JobDeadLettered.Type
  | typeof JobCancelled.Type
  | typeof JobRedriven.Type
  | typeof JobRescheduled.Type
  | typeof JobReprioritized.Type

/** For the journal's catalogue. */
export const jobEventTypes = [
  eventType(JobEnqueued),
  eventType(JobDependencyEnded),
  eventType(JobReleased),
  eventType(JobStarted),
  eventType(JobProgressed),
  eventType(JobStepCompleted),
  eventType(JobLogged),
  eventType(JobCompleted),
  eventType(JobAttemptFailed),
  eventType(JobStalled),
  eventType(JobDeadLettered),
  eventType(JobCancelled),
  eventType(JobRedriven),
  eventType(JobRescheduled),
  eventType(JobReprioritized),
]

const tags: ReadonlySet<string> = new Set(jobEventTypes.map((type) => type.tag))

/** Whether an event belongs to a job's stream. */
export const isJobEvent = (event: DomainEvent): event is JobEvent => tags.has(event._tag)
