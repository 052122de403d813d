/**
 * Renders over HTTP.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { OutputSettings } from "../../../domain/renders/OutputSettings.ts"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { InternalSignature } from "../../../http/InternalAuthorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import {
  ConflictProblem,
  GoneProblem,
  ProjectNotFoundProblem,
  RenderNotCancellableProblem,
  RenderNotCompleteProblem,
  RenderNotFoundProblem,
  StaleLeaseProblem,
} from "../../../http/ResourceProblems.ts"
import { EventStream } from "../../../http/ServerSentEvents.ts"
import { Priority } from "../../../jobs/JobEvents.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { BoundedJson } from "../../../security/BoundedJson.ts"
import { StoreProblems, SubmitProblems } from "../DomainProblems.ts"
import { AttemptNumber, JobEventJson, JobLogs } from "../jobs/Api.ts"
import { ProjectId } from "../projects/Api.ts"
import { RenderJson } from "./RenderJson.ts"

const RenderId = TypeId.schema("rnd").annotate({ identifier: "RenderId" })

/** Frames of one render, far more than there are. */
const PROGRESS_FRAMES_MAX = 1_000_000_000
const MESSAGE_CHARACTERS_MAX = 500

const NewRender = Schema.Struct({
  composition_id: Schema.String.pipe(Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(64))).annotate({
    examples: ["TitleCard"],
  }),
  input_props: Schema.optionalKey(BoundedJson),
  output_settings: Schema.optionalKey(OutputSettings),
  priority: Schema.optionalKey(Priority),
  engine: Schema.optionalKey(Schema.Literal("canvas")),
}).annotate({
  identifier: "NewRender",
  examples: [
    {
      composition_id: "TitleCard",
      input_props: { title: "Hello" },
      output_settings: { format: "png", width: 640, height: 360 },
    },
  ],
})

const Frames = Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: PROGRESS_FRAMES_MAX })))

/** What a renderer outside of this process tells of an attempt. */
const NewProgress = Schema.Struct({
  attempt: AttemptNumber.annotate({
    description: "The fencing token: the number of the attempt that it works on",
  }),
  percent: Schema.Finite.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 100 }))),
  current_frame: Schema.optionalKey(Frames),
  total_frames: Schema.optionalKey(Frames),
  message: Schema.optionalKey(Schema.String.pipe(Schema.check(Schema.isMaxLength(MESSAGE_CHARACTERS_MAX)))),
}).pipe(
  Schema.check(
    Schema.makeFilter(
      ({
        current_frame = 0,
        total_frames = PROGRESS_FRAMES_MAX,
      }: {
        readonly current_frame?: number
        readonly total_frames?: number
      }) =>
        current_frame <= total_frames ||
        ({ path: ["current_frame"], issue: "must not be more than total_frames" } as const),
    ),
  ),
  Schema.annotate({ identifier: "NewRenderProgress" }),
)

/** Any of the media types a render can be. */
const OutputBytes = Schema.Uint8Array.pipe(HttpApiSchema.asUint8Array({ contentType: "*/*" }))

export class RendersApi extends HttpApiGroup.make("renders")
  .add(
    HttpApiEndpoint.post("submit", "/v1/projects/:id/renders", {
      params: { id: ProjectId },
      payload: NewRender,
      success: HttpApiSchema.WithHeaders(RenderJson.pipe(HttpApiSchema.status(202)), {
        location: Schema.String,
      }),
      error: [ProjectNotFoundProblem, GoneProblem, ...SubmitProblems],
    })
      .annotate(OpenApi.Summary, "Submit a render")
      .annotateMerge(requireScopes("renders:write")),
    HttpApiEndpoint.get("list", "/v1/projects/:id/renders", {
      params: { id: ProjectId },
      query: pageQuery,
      success: Page(RenderJson),
      error: [ProjectNotFoundProblem, InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "List the renders of a project")
      .annotateMerge(requireScopes("renders:read")),
    HttpApiEndpoint.get("get", "/v1/renders/:id", {
      params: { id: RenderId },
      success: RenderJson,
      error: [RenderNotFoundProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Get a render")
      .annotateMerge(requireScopes("renders:read")),
    HttpApiEndpoint.post("cancel", "/v1/renders/:id/cancel", {
      params: { id: RenderId },
      success: RenderJson,
      error: [RenderNotFoundProblem, RenderNotCancellableProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Cancel a render")
      .annotateMerge(requireScopes("renders:write")),
    HttpApiEndpoint.post("retry", "/v1/renders/:id/retry", {
      params: { id: RenderId },
      success: RenderJson,
      error: [RenderNotFoundProblem, ConflictProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Give a render that has failed another chance")
      .annotateMerge(requireScopes("renders:write")),
    HttpApiEndpoint.get("output", "/v1/renders/:id/output", {
      params: { id: RenderId },
      success: OutputBytes,
      error: [RenderNotFoundProblem, RenderNotCompleteProblem, GoneProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Download what was rendered")
      .annotateMerge(requireScopes("renders:read")),
    HttpApiEndpoint.get("logs", "/v1/renders/:id/logs", {
      params: { id: RenderId },
      query: { attempt: Schema.optionalKey(AttemptNumber) },
      success: JobLogs,
      error: [RenderNotFoundProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Read what a render has logged")
      .annotateMerge(requireScopes("renders:read")),
    HttpApiEndpoint.get("events", "/v1/renders/:id/events", {
      params: { id: RenderId },
      success: [Schema.Struct({ data: Schema.Array(JobEventJson) }), EventStream],
      error: [RenderNotFoundProblem, InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Read or follow what happened to a render")
      .annotateMerge(requireScopes("renders:read")),
  )
  .middleware(Authorization)
  // Outside of what keys may do: renderers are the operator's.
  .add(
    HttpApiEndpoint.post("progress", "/v1/renders/:id/progress", {
      params: { id: RenderId },
      payload: NewProgress,
      success: RenderJson,
      error: [RenderNotFoundProblem, StaleLeaseProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Tell how far a renderer elsewhere has come")
      .annotateMerge(requireScopes("renders:write"))
      .middleware(InternalSignature),
  )
  .annotateMerge(
    OpenApi.annotations({ title: "Renders", description: "Videos and stills, rendered as jobs" }),
  ) {}
