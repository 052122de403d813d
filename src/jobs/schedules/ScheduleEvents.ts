/**
 * What can happen to a schedule, as the journal stores it. Each event that moves the next tick carries it
 * (`next_tick_at`), so that a replay gives the same ticks even after the time zone rules have changed.
 */
import { Schema } from "effect"
import { eventType } from "../../journal/DomainEvent.ts"
import { Priority } from "../JobEvents.ts"
import { CatchUp } from "./CatchUp.ts"

const Millis = Schema.Int
/** Null: there is none any more. */
const NextTick = Schema.NullOr(Millis)

/** The job that every tick submits. What is absent is the type's. */
export const ScheduledJob = Schema.Struct({
  type: Schema.String,
  payload: Schema.Json,
  queue: Schema.optionalKey(Schema.String),
  priority: Schema.optionalKey(Priority),
  max_attempts: Schema.optionalKey(Schema.Int),
  timeout_ms: Schema.optionalKey(Schema.Int),
  concurrency_key: Schema.optionalKey(Schema.String),
  tags: Schema.optionalKey(Schema.Array(Schema.String)),
})
export type ScheduledJob = typeof ScheduledJob.Type

/** What a schedule is made of. */
export const scheduleFields = {
  name: Schema.String,
  /** 5 fields, minute first, or 6, second first. */
  cron: Schema.String,
  /** IANA name. */
  time_zone: Schema.String,
  job: ScheduledJob,
  catch_up: CatchUp,
}

/** Any of them. */
export const scheduleChanges = {
  name: Schema.optionalKey(scheduleFields.name),
  cron: Schema.optionalKey(scheduleFields.cron),
  time_zone: Schema.optionalKey(scheduleFields.time_zone),
  job: Schema.optionalKey(scheduleFields.job),
  catch_up: Schema.optionalKey(scheduleFields.catch_up),
}

const ScheduleCreated = Schema.TaggedStruct("ScheduleCreated", { ...scheduleFields, next_tick_at: NextTick })

const ScheduleUpdated = Schema.TaggedStruct("ScheduleUpdated", { ...scheduleChanges, next_tick_at: NextTick })

const SchedulePaused = Schema.TaggedStruct("SchedulePaused", {})

const ScheduleResumed = Schema.TaggedStruct("ScheduleResumed", { next_tick_at: NextTick })

/** The tick was due, and the job `job_id` is its one job. */
const ScheduleTicked = Schema.TaggedStruct("ScheduleTicked", {
  tick_at: Millis,
  job_id: Schema.String,
  next_tick_at: NextTick,
  /** Missed ticks up to here are being caught up on, one job each. */
  missed_through: Schema.optionalKey(Millis),
})

/** The ticks from `from` on, up to and without `next_tick_at`, get no job. */
const ScheduleTicksSkipped = Schema.TaggedStruct("ScheduleTicksSkipped", {
  from: Millis,
  catch_up: CatchUp,
  next_tick_at: NextTick,
})

/** Why a tick's job could not be submitted and never will be. */
export const RefusalReason = Schema.Literals(["unknown_job_type", "invalid_payload", "too_many_queues"])
export type RefusalReason = typeof RefusalReason.Type

/** The job of the last tick was refused for good, so the tick has none. */
const ScheduleJobRefused = Schema.TaggedStruct("ScheduleJobRefused", {
  tick_at: Millis,
  job_id: Schema.String,
  reason: RefusalReason,
})

const ScheduleDeleted = Schema.TaggedStruct("ScheduleDeleted", {})

export type ScheduleEvent =
  | typeof ScheduleCreated.Type
  | typeof ScheduleUpdated.Type
  | typeof SchedulePaused.Type
  | typeof ScheduleResumed.Type
  | typeof ScheduleTicked.Type
  | typeof ScheduleTicksSkipped.Type
  | typeof ScheduleJobRefused.Type
  | typeof ScheduleDeleted.Type

/** For the journal's catalogue. */
export const scheduleEventTypes = [
  eventType(ScheduleCreated),
  eventType(ScheduleUpdated),
  eventType(SchedulePaused),
  eventType(ScheduleResumed),
  eventType(ScheduleTicked),
  eventType(ScheduleTicksSkipped),
  eventType(ScheduleJobRefused),
  eventType(ScheduleDeleted),
]
