/**
 * Compositions over HTTP: what can be rendered, with which props, and what it looks like.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { COMPOSITIONS } from "../../CacheTags.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { NotFoundProblem } from "../../../http/RequestProblems.ts"
import { cached, ResponseCache } from "../../../http/ResponseCache.ts"
import { ServiceUnavailableProblem } from "../../../http/ServiceProblems.ts"

export const CompositionJson = Schema.Struct({
  id: Schema.String,
  title: Schema.String,
  description: Schema.String,
  /** JSON Schema (draft 2020-12). */
  props_schema: Schema.Json,
  /** Props that render as they are. */
  example_props: Schema.Json,
  default_width: Schema.Int,
  default_height: Schema.Int,
  default_fps: Schema.Int,
  /** Of the example, at the default speed. */
  example_frames: Schema.Int,
  thumbnail_url: Schema.String,
}).annotate({ identifier: "Composition" })

/** What a composition is, and what it looks like, changes only with the program. */
const untilTheNextRelease = cached({ ttl: "1 day", tags: () => [COMPOSITIONS] })

const CompositionId = Schema.String.pipe(
  Schema.check(Schema.isPattern(/^[A-Za-z][A-Za-z0-9]{0,63}$/u, { expected: "the id of a composition" })),
)

export class CompositionsApi extends HttpApiGroup.make("compositions")
  .add(
    HttpApiEndpoint.get("list", "/v1/compositions", {
      success: Schema.Struct({ data: Schema.Array(CompositionJson) }),
    })
      .annotate(OpenApi.Summary, "List compositions")
      .annotateMerge(requireScopes("renders:read"))
      .annotateMerge(untilTheNextRelease),
    HttpApiEndpoint.get("get", "/v1/compositions/:id", {
      params: { id: CompositionId },
      success: CompositionJson,
      error: NotFoundProblem,
    })
      .annotate(OpenApi.Summary, "Get a composition")
      .annotateMerge(requireScopes("renders:read"))
      .annotateMerge(untilTheNextRelease),
    HttpApiEndpoint.get("thumbnail", "/v1/compositions/:id/thumbnail", {
      params: { id: CompositionId },
      query: {
        width: Schema.optionalKey(
          Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 64, maximum: 1280 }))),
        ),
      },
      success: Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array({ contentType: "image/png" })),
      error: [NotFoundProblem, ServiceUnavailableProblem],
    })
      .annotate(OpenApi.Summary, "Draw a composition with its example")
      .annotateMerge(requireScopes("renders:read"))
      .annotateMerge(untilTheNextRelease),
  )
  .middleware(ResponseCache)
  .middleware(Authorization)
  .annotateMerge(OpenApi.annotations({ title: "Compositions", description: "What can be rendered" })) {}
