/**
 * Jobs over HTTP: submitting, looking at, following and commanding them.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { ANY_EVENT } from "../../CacheTags.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import {
  ConflictProblem,
  IdempotencyKeyReusedProblem,
  JobNotCancellableProblem,
  JobNotFoundProblem,
} from "../../../http/ResourceProblems.ts"
import { cached, ResponseCache } from "../../../http/ResponseCache.ts"
import { EventStream } from "../../../http/ServerSentEvents.ts"
import { DependencyFailurePolicy, LOG_LEVELS, Priority } from "../../../jobs/JobEvents.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { BoundedJson, StoredJson } from "../../../security/BoundedJson.ts"
import { StoreProblems, SubmitProblems } from "../DomainProblems.ts"
import { Instant, Timestamp } from "../Timestamp.ts"
import { JobJson, JobStatusName } from "./JobJson.ts"

/** Jobs in one batch. */
const BATCH_MAX = 1_000
const ATTEMPTS_MAX = 100
const TIMEOUT_MS_MIN = 100
const TIMEOUT_MS_MAX = 24 * 3_600_000
/** A year: a longer delay is more likely a mistake. */
const DELAY_MS_MAX = 365 * 24 * 3_600_000
const KEY_CHARACTERS_MAX = 255
const TAGS_MAX = 20
const TAG_CHARACTERS_MAX = 100
const REF_CHARACTERS_MAX = 100
const DEPENDENCIES_MAX = 100

export const JobId = TypeId.schema("job").annotate({ identifier: "JobId" })

export const QueueName = Schema.String.pipe(
  Schema.check(
    Schema.isPattern(/^[a-z0-9][a-z0-9._-]{0,63}$/u, {
      expected: "1 to 64 characters of a-z, 0-9, dot, dash and underscore, starting with a letter or digit",
    }),
  ),
  Schema.annotate({ identifier: "QueueName", examples: ["mail"] }),
)

const between = (minimum: number, maximum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum })))
const text = (maximum: number) =>
  Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(maximum)))

export const Tag = text(TAG_CHARACTERS_MAX)

const newJobFields = {
  type: text(100).annotate({ examples: ["system:echo", "system:sleep"] }),
  payload: Schema.optionalKey(BoundedJson),
  queue: Schema.optionalKey(QueueName),
  priority: Schema.optionalKey(Priority),
  delay_ms: Schema.optionalKey(between(0, DELAY_MS_MAX)),
  scheduled_at: Schema.optionalKey(Timestamp),
  max_attempts: Schema.optionalKey(between(1, ATTEMPTS_MAX)),
  timeout_ms: Schema.optionalKey(between(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX)),
  idempotency_key: Schema.optionalKey(text(KEY_CHARACTERS_MAX)),
  tags: Schema.optionalKey(Schema.Array(Tag).pipe(Schema.check(Schema.isMaxLength(TAGS_MAX)))),
  /** Jobs of the queue with the same key share its `key_concurrency`. */
  concurrency_key: Schema.optionalKey(text(KEY_CHARACTERS_MAX)),
  /** No attempt starts from then on: a job that has not started by then is cancelled. */
  expires_at: Schema.optionalKey(Timestamp),
  on_dependency_failure: Schema.optionalKey(DependencyFailurePolicy),
}

const dependsOn = (dependency: Schema.Codec<string>) =>
  Schema.optionalKey(
    Schema.Array(dependency).pipe(Schema.check(Schema.isMinLength(1), Schema.isMaxLength(DEPENDENCIES_MAX))),
  )

/** What says the same thing in two ways, or means nothing alone. */
const consistent = Schema.makeFilter(
  (job: {
    readonly delay_ms?: number
    readonly scheduled_at?: number
    readonly depends_on?: ReadonlyArray<string>
    readonly on_dependency_failure?: string
  }) => {
    if (job.delay_ms !== undefined && job.scheduled_at !== undefined)
      return { path: ["scheduled_at"], issue: "cannot be given together with delay_ms" }
    if (job.on_dependency_failure !== undefined && job.depends_on === undefined)
      return { path: ["on_dependency_failure"], issue: "means nothing without depends_on" }
    return undefined
  },
)

export const NewJob = Schema.Struct({ ...newJobFields, depends_on: dependsOn(JobId) }).pipe(
  Schema.annotate({
    examples: [
      { type: "system:echo", payload: "hello" },
      { type: "system:sleep", payload: { ms: 3_000 }, priority: "high", tags: ["example"] },
      { type: "system:echo", payload: "later", delay_ms: 3_600_000 },
    ],
  }),
  Schema.check(consistent),
  Schema.annotate({ identifier: "NewJob" }),
)

/** Within a batch, a job may have a `ref`, and others may depend on it by that. */
const NewJobOfBatch = Schema.Struct({
  ...newJobFields,
  ref: Schema.optionalKey(text(REF_CHARACTERS_MAX)),
  depends_on: dependsOn(text(REF_CHARACTERS_MAX)),
}).pipe(Schema.check(consistent), Schema.annotate({ identifier: "NewJobOfBatch" }))

const submitted = (status: 200 | 202) =>
  HttpApiSchema.WithHeaders(JobJson.pipe(HttpApiSchema.status(status)), {
    location: Schema.String,
    "preference-applied": Schema.optionalKey(Schema.String),
  })

const commandErrors = [JobNotFoundProblem, ConflictProblem, ...StoreProblems] as const

/** One event of a job's history. */
export const JobEventJson = Schema.Struct({
  version: Schema.Int,
  type: Schema.String,
  recorded_at: Instant,
  data: StoredJson,
}).annotate({ identifier: "JobEvent" })

export const AttemptNumber = between(1, Number.MAX_SAFE_INTEGER)

/** What the handler has logged, oldest first. */
export const JobLogs = Schema.Struct({
  data: Schema.Array(
    Schema.Struct({
      attempt: Schema.Int,
      at: Instant,
      level: Schema.Literals(LOG_LEVELS),
      message: Schema.String,
      data: StoredJson,
    }),
  ),
  /** Lines that were too many to be kept. */
  dropped: Schema.Int,
}).annotate({ identifier: "JobLogs" })

export class JobsApi extends HttpApiGroup.make("jobs")
  .add(
    HttpApiEndpoint.post("submit", "/v1/jobs", {
      payload: NewJob,
      // 202: taken in, to be followed at Location. 200: ended within `Prefer: wait`, or had the idempotency key already.
      success: [submitted(202), submitted(200)],
      error: [IdempotencyKeyReusedProblem, ...SubmitProblems],
    })
      .annotate(OpenApi.Summary, "Submit a job")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("submitBatch", "/v1/jobs/batch", {
      payload: Schema.Struct({
        jobs: Schema.Array(NewJobOfBatch).pipe(
          Schema.check(Schema.isMinLength(1), Schema.isMaxLength(BATCH_MAX)),
        ),
      }),
      success: Schema.Struct({
        data: Schema.Array(Schema.Struct({ id: Schema.String, deduplicated: Schema.Boolean })),
      }).pipe(HttpApiSchema.status(202)),
      error: [IdempotencyKeyReusedProblem, ...SubmitProblems],
    })
      .annotate(OpenApi.Summary, "Submit up to 1,000 jobs, all or none")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.get("list", "/v1/jobs", {
      query: {
        ...pageQuery,
        queue: Schema.optionalKey(QueueName),
        type: Schema.optionalKey(text(100)),
        status: Schema.optionalKey(JobStatusName),
        tag: Schema.optionalKey(Tag),
        created_after: Schema.optionalKey(Timestamp),
        created_before: Schema.optionalKey(Timestamp),
      },
      success: Page(JobJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "List jobs, newest first")
      .annotateMerge(requireScopes("jobs:read"))
      .annotateMerge(cached({ tags: () => [ANY_EVENT] })),
    HttpApiEndpoint.get("get", "/v1/jobs/:id", {
      params: { id: JobId },
      // The job as it was: at a version of its stream, or at a moment.
      query: {
        version: Schema.optionalKey(between(1, Number.MAX_SAFE_INTEGER)),
        at: Schema.optionalKey(Timestamp),
      },
      success: JobJson,
      error: [JobNotFoundProblem, InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Get a job, as it is or as it was")
      .annotateMerge(requireScopes("jobs:read"))
      // A job that has ended stays as it is until it is redriven; the tag of any other is weak, and it is not kept.
      .annotateMerge(cached({ ttl: "1 hour", tags: ({ id }) => [id!] })),
    HttpApiEndpoint.get("events", "/v1/jobs/:id/events", {
      params: { id: JobId },
      success: [Schema.Struct({ data: Schema.Array(JobEventJson) }), EventStream],
      error: [JobNotFoundProblem, InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Read or follow what happened to a job")
      .annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.get("logs", "/v1/jobs/:id/logs", {
      params: { id: JobId },
      query: { attempt: Schema.optionalKey(AttemptNumber) },
      success: JobLogs,
      error: [JobNotFoundProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Read what a job has logged")
      .annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.post("cancel", "/v1/jobs/:id/cancel", {
      params: { id: JobId },
      success: JobJson,
      error: [JobNotCancellableProblem, ...commandErrors],
    })
      .annotate(OpenApi.Summary, "Cancel a job")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("retry", "/v1/jobs/:id/retry", {
      params: { id: JobId },
      success: JobJson,
      error: commandErrors,
    })
      .annotate(OpenApi.Summary, "Give a job that has died another chance")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("reschedule", "/v1/jobs/:id/reschedule", {
      params: { id: JobId },
      payload: Schema.Struct({ scheduled_at: Timestamp }),
      success: JobJson,
      error: commandErrors,
    })
      .annotate(OpenApi.Summary, "Change when a job is due")
      .annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("prioritize", "/v1/jobs/:id/prioritize", {
      params: { id: JobId },
      payload: Schema.Struct({ priority: Priority }),
      success: JobJson,
      error: commandErrors,
    })
      .annotate(OpenApi.Summary, "Change the priority of a job")
      .annotateMerge(requireScopes("jobs:write")),
  )
  .middleware(ResponseCache)
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Jobs", description: "Durable units of work and their whole history" }),
  ) {}
