/**
 * What the composition routes do.
 */
import { Effect, Result } from "effect"
import type { Json } from "effect/Schema"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import type { Composition } from "../../../domain/renders/Composition.ts"
import { Compositions } from "../../../domain/renders/Compositions.ts"
import { RenderEngine } from "../../../domain/renders/RenderEngine.ts"
import type { RenderError } from "../../../domain/renders/RenderError.ts"
import { NotFoundProblem } from "../../../http/RequestProblems.ts"
import { ServiceUnavailableProblem } from "../../../http/ServiceProblems.ts"
import { ApiV1 } from "../ApiV1.ts"
import type { CompositionJson } from "./Api.ts"

/** Thumbnails change only with a new release. */
const THUMBNAIL_CACHE_CONTROL = "private, max-age=3600"

const toCompositionJson = (composition: Composition): typeof CompositionJson.Type => ({
  id: composition.id,
  title: composition.title,
  description: composition.description,
  props_schema: composition.propsSchema as Json,
  example_props: composition.exampleProps as Json,
  default_width: composition.defaultWidth,
  default_height: composition.defaultHeight,
  default_fps: composition.defaultFps,
  example_frames: Result.match(composition.open(composition.exampleProps), {
    onSuccess: (opened) => opened.durationInFrames(composition.defaultFps),
    onFailure: () => 0,
  }),
  thumbnail_url: `/v1/compositions/${composition.id}/thumbnail`,
})

const toProblem = ({ reason }: RenderError) =>
  reason._tag === "UnknownComposition"
    ? new NotFoundProblem({
        detail: `There is no composition of this id; there are ${reason.known.join(", ")}.`,
      })
    : new ServiceUnavailableProblem({ detail: "The thumbnail cannot be drawn right now." })

export const CompositionsLive = HttpApiBuilder.group(
  ApiV1,
  "compositions",
  Effect.fnUntraced(function* (handlers) {
    const compositions = yield* Compositions
    const engine = yield* RenderEngine

    return handlers.handleAll({
      list: () => Effect.sync(() => ({ data: compositions.list.map(toCompositionJson) })),
      get: ({ params: { id } }) =>
        compositions.get(id).pipe(
          Effect.map(toCompositionJson),
          Effect.mapError(() => new NotFoundProblem({ detail: `There is no composition of the id ${id}.` })),
        ),
      thumbnail: ({ params: { id }, query: { width } }) =>
        engine.thumbnail(id, width === undefined ? {} : { width }).pipe(
          Effect.map((png) =>
            HttpServerResponse.uint8Array(png, {
              contentType: "image/png",
              headers: { "cache-control": THUMBNAIL_CACHE_CONTROL },
            }),
          ),
          Effect.mapError(toProblem),
        ),
    })
  }),
)
