/**
 * Why a schedule is refused.
 */
import { Schema } from "effect"
import { FieldErrors } from "../../http/FieldError.ts"

/** No schedule has this id. */
export class ScheduleNotFound extends Schema.TaggedError<ScheduleNotFound>()("ScheduleNotFound", {
  id: Schema.String,
}) {}

/** The expression, the time zone or the job cannot be: every fault, by field. */
export class InvalidSchedule extends Schema.TaggedError<InvalidSchedule>()("InvalidSchedule", {
  errors: FieldErrors,
}) {
  override get message(): string {
    return this.errors.map(({ field, message }) => `${field} ${message}`).join("; ")
  }
}

/** There are as many schedules as there may be. */
export class TooManySchedules extends Schema.TaggedError<TooManySchedules>()("TooManySchedules", {
  max: Schema.Int,
}) {}
