/**
 * Rate limits for operators: how many requests were refused, and who asked too often.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { requireScopes } from "../../../http/Authorization.ts"
import { InternalAuthorization } from "../../../http/InternalAuthorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { Instant } from "../../v1/Timestamp.ts"

export const RateLimitsJson = Schema.Struct({
  /** Requests since the start that were counted and answered. */
  allowed: Schema.Int,
  refused: Schema.Int,
  /** Beyond the limit, and answered all the same: administrators'. */
  exempt: Schema.Int,
  /** Keys and users whose rate is being counted. */
  callers: Schema.Int,
  /** The same of network addresses. */
  addresses: Schema.Int,
  /** Counts that made room for others while they mattered. */
  evictions: Schema.Int,
  /** `bypassed`: limits hold, and will not be remembered over a restart. */
  file: Schema.Literals(["in_use", "bypassed"]),
}).annotate({ identifier: "RateLimits" })

export const ViolationJson = Schema.Struct({
  /** The id of the key or user, or the network address. */
  caller: Schema.String,
  kind: Schema.Literals(["api_key", "user", "internal", "address"]),
  /** Such as `GET /v1/jobs/:id`. */
  route: Schema.String,
  /** As `RateLimit-Policy` names it, such as `free-key`. */
  policy: Schema.String,
  /** Refusals. */
  count: Schema.Int,
  first_at: Instant,
  last_at: Instant,
}).annotate({ identifier: "RateLimitViolation" })

export class RateLimitsApi extends HttpApiGroup.make("rate-limits")
  .add(
    HttpApiEndpoint.get("get", "/internal/rate-limits", { success: RateLimitsJson })
      .annotate(OpenApi.Summary, "How many requests were refused")
      .annotateMerge(requireScopes("admin")),
    HttpApiEndpoint.get("violations", "/internal/rate-limits/violations", {
      query: pageQuery,
      success: Page(ViolationJson),
      error: InvalidRequestProblem,
    })
      .annotate(OpenApi.Summary, "List who asked too often")
      .annotateMerge(requireScopes("admin")),
  )
  .middleware(InternalAuthorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Rate limits", description: "Who asked too often, newest first" }),
  ) {}
