/**
 * Queues over HTTP: how deep they are and how they are doing.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { NotFoundProblem } from "../../../http/RequestProblems.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { QueueName } from "../jobs/Api.ts"

const Count = Schema.Int

export const QueueJson = Schema.Struct({
  name: Schema.String,
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

export class QueuesApi extends HttpApiGroup.make("queues")
  .add(
    HttpApiEndpoint.get("list", "/v1/queues", {
      success: Schema.Struct({ data: Schema.Array(QueueJson) }),
      error: StoreProblems,
    }).annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.get("get", "/v1/queues/:name", {
      params: { name: QueueName },
      success: QueueJson,
      error: [NotFoundProblem, ...StoreProblems],
    }).annotateMerge(requireScopes("jobs:read")),
  )
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Queues", description: "Depth, age and throughput of the queues" }),
  ) {}
