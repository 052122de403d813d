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

/** More queues than one process keeps. */
export class TooManyQueues extends Schema.TaggedError<TooManyQueues>()("TooManyQueues", {
  max: Schema.Number,
}) {}
