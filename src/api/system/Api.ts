/**
 * Routes for operators and their tools: whether the process lives, whether it takes work, and how well it is. They need
 * no credentials.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { PROBES } from "../../http/rate-limits/Policy.ts"
import { limitedAs } from "../../http/rate-limits/RateLimited.ts"
import { ServiceUnavailableProblem } from "../../http/ServiceProblems.ts"

const CheckJson = Schema.Struct({
  name: Schema.String,
  critical: Schema.Boolean,
  status: Schema.Literals(["pass", "fail"]),
  detail: Schema.String,
  duration_ms: Schema.Int,
  /** Milliseconds since the check was made. */
  age_ms: Schema.Int,
})

const HealthJson = Schema.Struct({
  status: Schema.Literals(["healthy", "degraded", "unhealthy"]),
  checks: Schema.Array(CheckJson),
}).annotate({ identifier: "Health" })

/** The same as a media type of its own (draft-inadarei-api-health-check), unless plain JSON is preferred. */
const HealthDocument = HealthJson.pipe(HttpApiSchema.asJson({ contentType: "application/health+json" }))

export class SystemApi extends HttpApiGroup.make("system")
  .add(
    HttpApiEndpoint.get("live", "/live", {
      success: Schema.Struct({ status: Schema.Literal("live") }),
    }).annotate(OpenApi.Summary, "Whether the process runs"),
    HttpApiEndpoint.get("ready", "/ready", {
      success: Schema.Struct({ status: Schema.Literal("ready") }),
      error: ServiceUnavailableProblem,
    }).annotate(OpenApi.Summary, "Whether it takes requests"),
    HttpApiEndpoint.get("health", "/health", {
      success: [HealthDocument, HealthJson],
      // Not a problem: whoever asks how well it is gets the same answer in good times and in bad.
      error: [
        HealthDocument.pipe(HttpApiSchema.status(503)),
        HealthJson.pipe(HttpApiSchema.status(503)),
        ServiceUnavailableProblem,
      ],
    }).annotate(OpenApi.Summary, "How well it is, check by check"),
  )
  .annotateMerge(limitedAs(PROBES))
  .annotateMerge(OpenApi.annotations({ title: "System", description: "Health of this process" })) {}
