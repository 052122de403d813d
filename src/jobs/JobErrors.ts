/**
 * Why the queue refuses. Each carries the data that a caller needs to understand it; what HTTP makes of them is decided
 * elsewhere.
 */
import { Schema } from "effect"

/** No job has this id. */
export class JobNotFound extends Schema.TaggedError<JobNotFound>()("JobNotFound", { id: Schema.String }) {}

/** No job type of this name is registered. */
export class UnknownJobType extends Schema.TaggedError<UnknownJobType>()("UnknownJobType", {
  type: Schema.String,
  known: Schema.Array(Schema.String),
  /** Which job of a batch. */
  index: Schema.optionalKey(Schema.Int),
}) {}

/** The payload does not fit its type's schema. */
export class InvalidPayload extends Schema.TaggedError<InvalidPayload>()("InvalidPayload", {
  type: Schema.String,
  /** The schema's error. */
  cause: Schema.Defect(),
  /** Which job of a batch. */
  index: Schema.optionalKey(Schema.Int),
}) {}

/** What the job is doing now does not allow this command. */
export class JobConflict extends Schema.TaggedError<JobConflict>()("JobConflict", {
  id: Schema.String,
  command: Schema.String,
  status: Schema.String,
}) {}

/** The answer came from an attempt that no longer holds the lease. */
export class StaleLease extends Schema.TaggedError<StaleLease>()("StaleLease", {
  id: Schema.String,
  attempt: Schema.Number,
}) {}

/** The idempotency key was used before, for another request. */
export class IdempotencyKeyReused extends Schema.TaggedError<IdempotencyKeyReused>()("IdempotencyKeyReused", {
  key: Schema.String,
  /** The job that the key belongs to. */
  id: Schema.String,
}) {}

/** The queue works off what it has and takes no new job. */
export class QueueDraining extends Schema.TaggedError<QueueDraining>()("QueueDraining", {
  queue: Schema.String,
}) {}

/** The queue never had a job, and nobody has set it up. */
export class QueueNotFound extends Schema.TaggedError<QueueNotFound>()("QueueNotFound", {
  name: Schema.String,
}) {}

/** A job cannot depend on what is not there, on itself by way of others, or on one of two of the same name. */
export class InvalidDependency extends Schema.TaggedError<InvalidDependency>()("InvalidDependency", {
  fault: Schema.Literals(["unknown", "cycle", "ambiguous"]),
  /** The id or the reference that was given. */
  dependency: Schema.String,
  /** Which job of a batch. */
  index: Schema.optionalKey(Schema.Int),
}) {}

/** The job would expire before it could start. */
export class AlreadyExpired extends Schema.TaggedError<AlreadyExpired>()("AlreadyExpired", {
  expiresAt: Schema.Number,
  /** When it could start. */
  dueAt: Schema.Number,
  /** Which job of a batch. */
  index: Schema.optionalKey(Schema.Int),
}) {}

/** More queues than one process keeps. */
export class TooManyQueues extends Schema.TaggedError<TooManyQueues>()("TooManyQueues", {
  max: Schema.Number,
}) {}
