/**
 * Jobs over HTTP: submitting, looking at, following and commanding them.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem, ValidationFailedProblem } from "../../../http/RequestProblems.ts"
import {
  ConflictProblem,
  IdempotencyKeyReusedProblem,
  JobNotCancellableProblem,
  JobNotFoundProblem,
} from "../../../http/ResourceProblems.ts"
import { EventStream } from "../../../http/ServerSentEvents.ts"
import { Priority } from "../../../jobs/JobEvents.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { BoundedJson, StoredJson } from "../../../security/BoundedJson.ts"
import { StoreProblems } from "../DomainProblems.ts"
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

export const JobId = TypeId.schema("job").annotate({ identifier: "JobId" })

export const QueueName = Schema.String.pipe(
  Schema.check(
    Schema.isPattern(/^[a-z0-9][a-z0-9._-]{0,63}$/, {
      expected: "1 to 64 characters of a-z, 0-9, dot, dash and underscore, starting with a letter or digit",
    }),
  ),
  Schema.annotate({ identifier: "QueueName" }),
)

const between = (minimum: number, maximum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum })))
const text = (maximum: number) =>
  Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(maximum)))

/** `delay_ms` and `scheduled_at` say the same thing in two ways, so only one may be given. */
export const NewJob = Schema.Struct({
  type: text(100),
  payload: Schema.optionalKey(BoundedJson),
  queue: Schema.optionalKey(QueueName),
  priority: Schema.optionalKey(Priority),
  delay_ms: Schema.optionalKey(between(0, DELAY_MS_MAX)),
  scheduled_at: Schema.optionalKey(Timestamp),
  max_attempts: Schema.optionalKey(between(1, ATTEMPTS_MAX)),
  timeout_ms: Schema.optionalKey(between(TIMEOUT_MS_MIN, TIMEOUT_MS_MAX)),
  idempotency_key: Schema.optionalKey(text(KEY_CHARACTERS_MAX)),
  tags: Schema.optionalKey(
    Schema.Array(text(TAG_CHARACTERS_MAX)).pipe(Schema.check(Schema.isMaxLength(TAGS_MAX))),
  ),
}).pipe(
  Schema.check(
    Schema.makeFilter(
      ({ delay_ms, scheduled_at }: { readonly delay_ms?: number; readonly scheduled_at?: number }) =>
        delay_ms === undefined || scheduled_at === undefined
          ? undefined
          : { path: ["scheduled_at"], issue: "cannot be given together with delay_ms" },
    ),
  ),
  Schema.annotate({ identifier: "NewJob" }),
)

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

export class JobsApi extends HttpApiGroup.make("jobs")
  .add(
    HttpApiEndpoint.post("submit", "/v1/jobs", {
      payload: NewJob,
      // 202: taken in, to be followed at Location. 200: ended within `Prefer: wait`, or had the idempotency key already.
      success: [submitted(202), submitted(200)],
      error: [ValidationFailedProblem, IdempotencyKeyReusedProblem, ...StoreProblems],
    }).annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("submitBatch", "/v1/jobs/batch", {
      payload: Schema.Struct({
        jobs: Schema.Array(NewJob).pipe(Schema.check(Schema.isMinLength(1), Schema.isMaxLength(BATCH_MAX))),
      }),
      success: Schema.Struct({
        data: Schema.Array(Schema.Struct({ id: Schema.String, deduplicated: Schema.Boolean })),
      }).pipe(HttpApiSchema.status(202)),
      error: [ValidationFailedProblem, IdempotencyKeyReusedProblem, ...StoreProblems],
    }).annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.get("list", "/v1/jobs", {
      query: {
        ...pageQuery,
        queue: Schema.optionalKey(QueueName),
        type: Schema.optionalKey(text(100)),
        status: Schema.optionalKey(JobStatusName),
        tag: Schema.optionalKey(text(TAG_CHARACTERS_MAX)),
        created_after: Schema.optionalKey(Timestamp),
        created_before: Schema.optionalKey(Timestamp),
      },
      success: Page(JobJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    }).annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.get("get", "/v1/jobs/:id", {
      params: { id: JobId },
      query: { version: Schema.optionalKey(between(1, Number.MAX_SAFE_INTEGER)) },
      success: JobJson,
      error: [JobNotFoundProblem, ...StoreProblems],
    }).annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.get("events", "/v1/jobs/:id/events", {
      params: { id: JobId },
      success: [Schema.Struct({ data: Schema.Array(JobEventJson) }), EventStream],
      error: [JobNotFoundProblem, InvalidRequestProblem, ...StoreProblems],
    }).annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.post("cancel", "/v1/jobs/:id/cancel", {
      params: { id: JobId },
      success: JobJson,
      error: [JobNotCancellableProblem, ...commandErrors],
    }).annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("retry", "/v1/jobs/:id/retry", {
      params: { id: JobId },
      success: JobJson,
      error: commandErrors,
    }).annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("reschedule", "/v1/jobs/:id/reschedule", {
      params: { id: JobId },
      payload: Schema.Struct({ scheduled_at: Timestamp }),
      success: JobJson,
      error: commandErrors,
    }).annotateMerge(requireScopes("jobs:write")),
    HttpApiEndpoint.post("prioritize", "/v1/jobs/:id/prioritize", {
      params: { id: JobId },
      payload: Schema.Struct({ priority: Priority }),
      success: JobJson,
      error: commandErrors,
    }).annotateMerge(requireScopes("jobs:write")),
  )
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Jobs", description: "Durable units of work and their whole history" }),
  ) {}
