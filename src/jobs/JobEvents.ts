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

const Attempt = Schema.Int
const Millis = Schema.Int

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
})

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

export const JobDeadLettered = Schema.TaggedStruct("JobDeadLettered", {
  reason: Schema.Literals(["attempts_used_up", "not_retryable"]),
})

export const JobCancelled = Schema.TaggedStruct("JobCancelled", { reason: Schema.optionalKey(Schema.String) })

export const JobRedriven = Schema.TaggedStruct("JobRedriven", { due_at: Millis })

export const JobRescheduled = Schema.TaggedStruct("JobRescheduled", { due_at: Millis })

export const JobReprioritized = Schema.TaggedStruct("JobReprioritized", { priority: Priority })

export type JobEvent =
  | typeof JobEnqueued.Type
  | typeof JobStarted.Type
  | typeof JobProgressed.Type
  | typeof JobStepCompleted.Type
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
  eventType(JobStarted),
  eventType(JobProgressed),
  eventType(JobStepCompleted),
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
