/**
 * Queues over HTTP: how deep they are, how they are doing, and how they are run.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { ANY_EVENT } from "../../CacheTags.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { QueueNotFoundProblem } from "../../../http/ResourceProblems.ts"
import { cached, ResponseCache } from "../../../http/ResponseCache.ts"
import { QueueLimits } from "../../../jobs/QueueBehavior.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { QueueName } from "../jobs/Api.ts"

const Count = Schema.Int
const CONCURRENCY_MAX = 1_000
const RATE_STARTS_MAX = 10_000
/** A day. */
const RATE_PER_MS_MAX = 86_400_000

const between = (minimum: number, maximum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum })))

/** What may be set; what is left out has no limit, and one attempt at a time for each concurrency key. */
export const NewQueueLimits = Schema.Struct({
  /** Attempts under way at a time. */
  concurrency: Schema.optionalKey(Schema.NullOr(between(1, CONCURRENCY_MAX))),
  /** Of jobs with the same concurrency key. */
  key_concurrency: Schema.optionalKey(between(1, CONCURRENCY_MAX)),
  /** At most `starts` attempts start within any `per_ms` milliseconds. */
  rate_limit: Schema.optionalKey(
    Schema.NullOr(
      Schema.Struct({ starts: between(1, RATE_STARTS_MAX), per_ms: between(1, RATE_PER_MS_MAX) }),
    ),
  ),
}).annotate({ identifier: "NewQueueLimits" })

export const QueueJson = Schema.Struct({
  name: Schema.String,
  /** Paused: starts no attempt. Draining: takes no new job. Both survive a restart. */
  paused: Schema.Boolean,
  draining: Schema.Boolean,
  limits: QueueLimits,
  depth: Schema.Struct({
    scheduled: Count,
    pending: Count,
    processing: Count,
    completed: Count,
    dead_letter: Count,
    cancelled: Count,
  }),
  /** Scheduled and pending together. */
  waiting_by_priority: Schema.Struct({ urgent: Count, high: Count, normal: Count, low: Count }),
  /** How long the oldest ready job has been due. */
  oldest_pending_ms: Schema.NullOr(Schema.Int),
  /** Attempts that ended within the last minute, in this process. */
  throughput: Schema.Struct({ completed_per_minute: Count, failed_per_minute: Count }),
  /** Over the same attempts. */
  averages: Schema.Struct({ wait_ms: Count, processing_ms: Count }),
  /** Attempts under way in this process, by job type. */
  workers: Schema.Struct({ running: Count, running_by_type: Schema.Record(Schema.String, Count) }),
}).annotate({ identifier: "Queue" })

const governing = <const Name extends "pause" | "drain" | "resume">(name: Name, summary: string) =>
  HttpApiEndpoint.post(name, `/v1/queues/:name/${name}`, {
    params: { name: QueueName },
    success: QueueJson,
    error: [QueueNotFoundProblem, ...StoreProblems],
  })
    .annotate(OpenApi.Summary, summary)
    .annotateMerge(requireScopes("admin"))

export class QueuesApi extends HttpApiGroup.make("queues")
  .add(
    HttpApiEndpoint.get("list", "/v1/queues", {
      success: Schema.Struct({ data: Schema.Array(QueueJson) }),
      error: StoreProblems,
    })
      .annotate(OpenApi.Summary, "List queues")
      .annotateMerge(requireScopes("jobs:read"))
      .annotateMerge(cached({ tags: () => [ANY_EVENT] })),
    HttpApiEndpoint.get("get", "/v1/queues/:name", {
      params: { name: QueueName },
      success: QueueJson,
      error: [QueueNotFoundProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Get a queue")
      .annotateMerge(requireScopes("jobs:read"))
      .annotateMerge(cached({ tags: () => [ANY_EVENT] })),
    HttpApiEndpoint.put("setUp", "/v1/queues/:name", {
      params: { name: QueueName },
      payload: NewQueueLimits,
      success: QueueJson,
      error: StoreProblems,
    })
      .annotate(OpenApi.Summary, "Set the limits of a queue")
      .annotateMerge(requireScopes("admin")),
    governing("pause", "Start no more attempts"),
    governing("drain", "Take no more jobs"),
    governing("resume", "End a pause and a drain"),
  )
  .middleware(ResponseCache)
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Queues", description: "Depth, age, throughput and limits of the queues" }),
  ) {}
