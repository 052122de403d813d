/**
 * Dead letters over HTTP: jobs whose attempts are used up, and the way back for them.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { QueueName, Tag } from "../jobs/Api.ts"
import { JobJson } from "../jobs/JobJson.ts"
import { Timestamp } from "../Timestamp.ts"

/** Jobs that one request redrives at most. */
export const REDRIVE_MAX = 1_000

const filter = {
  queue: Schema.optionalKey(QueueName),
  type: Schema.optionalKey(Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(100)))),
  tag: Schema.optionalKey(Tag),
  created_after: Schema.optionalKey(Timestamp),
  created_before: Schema.optionalKey(Timestamp),
}

export class DeadLettersApi extends HttpApiGroup.make("deadLetters")
  .add(
    HttpApiEndpoint.get("list", "/v1/dead-letters", {
      query: { ...pageQuery, ...filter },
      success: Page(JobJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "List dead letters")
      .annotateMerge(requireScopes("jobs:read")),
    HttpApiEndpoint.post("redrive", "/v1/dead-letters/redrive", {
      payload: Schema.Struct({
        ...filter,
        limit: Schema.optionalKey(
          Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 1, maximum: REDRIVE_MAX }))),
        ),
      }),
      /** `remaining`: whether more dead letters fit the filter. */
      success: Schema.Struct({ redriven: Schema.Array(Schema.String), remaining: Schema.Boolean }),
      error: StoreProblems,
    })
      .annotate(OpenApi.Summary, "Give dead letters another chance")
      .annotateMerge(requireScopes("jobs:write")),
  )
  .middleware(Authorization)
  .annotateMerge(OpenApi.annotations({ title: "Dead letters", description: "Jobs that failed for good" })) {}
