/**
 * The metrics of this process, as Prometheus reads them.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { requireScopes } from "../../http/Authorization.ts"
import { InternalAuthorization } from "../../http/InternalAuthorization.ts"

export class MetricsApi extends HttpApiGroup.make("metrics")
  .add(
    HttpApiEndpoint.get("scrape", "/metrics", {
      success: Schema.String.pipe(HttpApiSchema.asText({ contentType: "text/plain" })),
    })
      .annotate(OpenApi.Summary, "What is measured, in the text format of Prometheus")
      .annotateMerge(requireScopes("admin")),
  )
  .middleware(InternalAuthorization)
  .annotateMerge(
    OpenApi.annotations({
      title: "Metrics",
      description: "What is measured, in the text format of Prometheus",
    }),
  ) {}
