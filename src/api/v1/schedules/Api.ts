/**
 * Schedules over HTTP: jobs that are submitted by the clock.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { unconditional } from "../../../http/Conditional.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem, ValidationFailedProblem } from "../../../http/RequestProblems.ts"
import { ConflictProblem, ScheduleNotFoundProblem } from "../../../http/ResourceProblems.ts"
import { Priority } from "../../../jobs/JobEvents.ts"
import { CatchUp } from "../../../jobs/schedules/CatchUp.ts"
import { RefusalReason } from "../../../jobs/schedules/ScheduleEvents.ts"
import { CRON_CHARACTERS_MAX } from "../../../jobs/schedules/Schedules.ts"
import { StoredJson } from "../../../security/BoundedJson.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { StoreProblems, SubmitProblems } from "../DomainProblems.ts"
import { NewJob } from "../jobs/Api.ts"
import { JobJson } from "../jobs/JobJson.ts"
import { Instant } from "../Timestamp.ts"

const NAME_CHARACTERS_MAX = 200
const TIME_ZONE_CHARACTERS_MAX = 100

const ScheduleId = TypeId.schema("sched").annotate({ identifier: "ScheduleId" })

const text = (maximum: number) =>
  Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(maximum)))

const { concurrency_key, max_attempts, payload, priority, queue, tags, timeout_ms, type } = NewJob.fields

/** Of a new job, all that is not about when it runs: the schedule says that. */
const ScheduledJob = Schema.Struct({
  type,
  payload,
  queue,
  priority,
  max_attempts,
  timeout_ms,
  concurrency_key,
  tags,
}).annotate({ identifier: "ScheduledJob", examples: [{ type: "system:echo", payload: "good morning" }] })

const fields = {
  name: text(NAME_CHARACTERS_MAX),
  cron: text(CRON_CHARACTERS_MAX).annotate({ examples: ["30 9 * * mon", "*/20 * * * *"] }),
  time_zone: text(TIME_ZONE_CHARACTERS_MAX).annotate({ examples: ["Europe/Berlin"] }),
  job: ScheduledJob,
  catch_up: CatchUp,
}

const LastTick = Schema.Struct({
  at: Instant,
  /** Null: it was refused. */
  job_id: Schema.NullOr(Schema.String),
  refused: Schema.NullOr(RefusalReason),
})

export const ScheduleJson = Schema.Struct({
  id: Schema.String,
  name: Schema.String,
  cron: Schema.String,
  time_zone: Schema.String,
  job: Schema.Struct({
    type: Schema.String,
    payload: StoredJson,
    queue: Schema.NullOr(Schema.String),
    priority: Schema.NullOr(Priority),
    max_attempts: Schema.NullOr(Schema.Int),
    timeout_ms: Schema.NullOr(Schema.Int),
    concurrency_key: Schema.NullOr(Schema.String),
    tags: Schema.Array(Schema.String),
  }),
  catch_up: CatchUp,
  paused: Schema.Boolean,
  /** Null while paused, and when there is none any more. */
  next_tick_at: Schema.NullOr(Instant),
  /** The next few, `next_tick_at` first. */
  upcoming: Schema.Array(Instant),
  last_tick: Schema.NullOr(LastTick),
  created_at: Instant,
  updated_at: Instant,
}).annotate({ identifier: "Schedule" })

const params = { id: ScheduleId }
const knownErrors = [ScheduleNotFoundProblem, ...StoreProblems] as const

const ticking = unconditional("every tick is a new version of a schedule, whatever its owner has seen")

export class SchedulesApi extends HttpApiGroup.make("schedules")
  .add(
    HttpApiEndpoint.post("create", "/v1/schedules", {
      payload: Schema.Struct({
        name: fields.name,
        cron: fields.cron,
        time_zone: Schema.optionalKey(fields.time_zone),
        job: fields.job,
        catch_up: Schema.optionalKey(fields.catch_up),
      }),
      success: HttpApiSchema.WithHeaders(ScheduleJson.pipe(HttpApiSchema.status(201)), {
        location: Schema.String,
      }),
      error: [ValidationFailedProblem, ConflictProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Create a schedule")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.get("list", "/v1/schedules", {
      query: pageQuery,
      success: Page(ScheduleJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "List schedules")
      .annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.get("get", "/v1/schedules/:id", {
      params,
      success: ScheduleJson,
      error: knownErrors,
    })
      .annotate(OpenApi.Summary, "Get a schedule")
      .annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.patch("update", "/v1/schedules/:id", {
      params,
      payload: Schema.Struct({
        name: Schema.optionalKey(fields.name),
        cron: Schema.optionalKey(fields.cron),
        time_zone: Schema.optionalKey(fields.time_zone),
        // As a whole: what it leaves out goes back to the type's own.
        job: Schema.optionalKey(fields.job),
        catch_up: Schema.optionalKey(fields.catch_up),
      }),
      success: ScheduleJson,
      error: [ValidationFailedProblem, ...knownErrors],
    })
      .annotate(OpenApi.Summary, "Change a schedule")
      .annotateMerge(requireScopes("jobs:write"))
      .annotateMerge(ticking),
    HttpApiEndpoint.delete("delete", "/v1/schedules/:id", {
      params,
      success: HttpApiSchema.NoContent,
      error: knownErrors,
    })
      .annotate(OpenApi.Summary, "Delete a schedule")
      .annotateMerge(requireScopes("jobs:write"))
      .annotateMerge(ticking),
    HttpApiEndpoint.post("pause", "/v1/schedules/:id/pause", {
      params,
      success: ScheduleJson,
      error: knownErrors,
    })
      .annotate(OpenApi.Summary, "Pause a schedule")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("resume", "/v1/schedules/:id/resume", {
      params,
      success: ScheduleJson,
      error: knownErrors,
    })
      .annotate(OpenApi.Summary, "Resume a schedule")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("trigger", "/v1/schedules/:id/trigger", {
      params,
      success: HttpApiSchema.WithHeaders(JobJson.pipe(HttpApiSchema.status(202)), {
        location: Schema.String,
      }),
      error: [ScheduleNotFoundProblem, ...SubmitProblems],
    })
      .annotate(OpenApi.Summary, "Submit its job now")
      .annotateMerge(requireScopes("jobs:write")),
  )
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Schedules", description: "Jobs that are submitted by the clock" }),
  ) {}
