/**
 * The render engine: decides a render, renders its segments, joins them, and draws stills and thumbnails.
 *
 * It knows nothing of jobs: a handler journals each finished segment as a step and gives the engine what is left. All
 * drawing and encoding happens in render threads; on the main thread nothing here takes longer than a decode.
 */
import { Cache, Context, Effect, Layer, Result, Schema, Struct } from "effect"
import { mkdir } from "node:fs/promises"
import { dirname, join } from "node:path"
import { type FieldError, fieldErrors } from "../../http/FieldError.ts"
import { Compositions } from "./Compositions.ts"
import { findFfmpeg } from "./Ffmpeg.ts"
import { isStill, OutputSettings } from "./OutputSettings.ts"
import { EncoderUnavailable, InvalidRequest, RenderError, storageReason } from "./RenderError.ts"
import { planRender, RenderPlan } from "./RenderPlan.ts"
import { prepareWorkFolder, removeWorkFolder, segmentFile, temporaryFor } from "./WorkFolder.ts"
import { RenderThreads } from "./worker/RenderThreads.ts"

/** Width of thumbnails in pixels. */
const THUMBNAIL_WIDTH_DEFAULT = 320
const THUMBNAIL_WIDTH_MIN = 64
const THUMBNAIL_WIDTH_MAX = 1_280
const THUMBNAILS_KEPT = 64

/** A request as it comes in; everything in it is validated by `plan`. */
export interface RawRenderRequest {
  readonly composition_id: string
  readonly input_props: unknown
  readonly output_settings?: unknown
}

/** A finished segment: JSON, to be journaled. The file is in the work folder under `file`. */
export const SegmentResult = Schema.Struct({
  index: Schema.Int,
  file: Schema.String,
  frames: Schema.Int,
  bytes: Schema.Int,
})
export type SegmentResult = typeof SegmentResult.Type

/** The finished output: JSON, to be journaled. */
export const RenderOutput = Schema.Struct({
  path: Schema.String,
  bytes: Schema.Int,
  sha256: Schema.String,
  content_type: Schema.String,
  width: Schema.Int,
  height: Schema.Int,
  fps: Schema.Int,
  frames: Schema.Int,
  duration_sec: Schema.Finite,
})
export type RenderOutput = typeof RenderOutput.Type

export interface RenderEngineConfig {
  /** `auto` takes ffmpeg when a usable one is on the PATH, else WASM (default `auto`). */
  readonly encoder?: "auto" | "ffmpeg" | "wasm"
  /** Render threads (default: one, or two where that leaves a core for HTTP). */
  readonly workers?: number
  /** Modules with further compositions. */
  readonly compositions?: ReadonlyArray<URL>
  /** Where to look for ffmpeg (default: the process's PATH). */
  readonly searchPath?: string
}

const encodePlan = Schema.encodeSync(RenderPlan)
const decodeSettings = Schema.decodeUnknownResult(OutputSettings, {
  errors: "all",
  onExcessProperty: "error",
})

const invalid = (errors: ReadonlyArray<FieldError>): RenderError =>
  new RenderError({ reason: new InvalidRequest({ errors }) })

const make = Effect.fnUntraced(function* (config: RenderEngineConfig) {
  const compositions = yield* Compositions
  const threads = yield* RenderThreads
  const ffmpeg = yield* Effect.cached(
    config.encoder === "wasm"
      ? Effect.succeed(undefined)
      : findFfmpeg(config.searchPath ?? process.env["PATH"] ?? ""),
  )

  const videoEncoder = Effect.gen(function* () {
    const found = yield* ffmpeg
    if (found !== undefined) return "ffmpeg" as const
    if (config.encoder === "ffmpeg") {
      return yield* new RenderError({ reason: new EncoderUnavailable({ encoder: "ffmpeg" }) })
    }
    return "wasm" as const
  })

  const plan = Effect.fn("RenderEngine.plan")(function* (request: RawRenderRequest) {
    const composition = yield* compositions.get(request.composition_id)
    const settings = decodeSettings(request.output_settings ?? {})
    const opened = composition.open(request.input_props)
    if (Result.isFailure(opened) || Result.isFailure(settings)) {
      return yield* invalid([
        ...(Result.isFailure(opened) ? opened.failure : []),
        ...(Result.isFailure(settings) ? fieldErrors(settings.failure.issue, ["output_settings"]) : []),
      ])
    }
    const moves = !isStill(settings.success.format ?? "mp4")
    const decided = planRender(
      composition,
      opened.success,
      settings.success,
      moves ? yield* videoEncoder : "wasm",
    )
    return decided instanceof RenderPlan ? decided : yield* invalid(decided)
  })

  const renderSegment = Effect.fn("RenderEngine.renderSegment")(function* (
    {
      index,
      input_props,
      plan,
    }: { readonly plan: RenderPlan; readonly input_props: unknown; readonly index: number },
    options: { readonly workDir: string; readonly onProgress?: (framesDone: number) => void },
  ) {
    const segment = plan.segments[index]
    if (segment === undefined) return yield* Effect.die(new RangeError(`The plan has no segment ${index}`))
    const file = segmentFile(index, plan.extension)
    const path = join(options.workDir, file)
    const { bytes } = yield* threads.run<"segment">(
      {
        kind: "segment",
        plan: encodePlan(plan),
        inputProps: input_props,
        segment,
        ffmpeg: plan.encoder === "ffmpeg" ? yield* ffmpeg : undefined,
        temporary: temporaryFor(path),
        path,
      },
      options.onProgress,
    )
    return { index, file, frames: segment.frames, bytes } satisfies SegmentResult
  })

  const assemble = Effect.fn("RenderEngine.assemble")(function* (
    plan: RenderPlan,
    options: { readonly workDir: string; readonly output: string },
  ) {
    yield* Effect.tryPromise({
      try: () => mkdir(dirname(options.output), { recursive: true }),
      catch: (error) => new RenderError({ reason: storageReason(error, options.output) }),
    })
    const { bytes, sha256 } = yield* threads.run<"assemble">({
      kind: "assemble",
      plan: encodePlan(plan),
      segments: plan.segments.map((segment) => ({
        ...segment,
        path: join(options.workDir, segmentFile(segment.index, plan.extension)),
      })),
      temporary: temporaryFor(options.output),
      path: options.output,
    })
    return {
      path: options.output,
      bytes,
      sha256,
      content_type: plan.contentType,
      ...Struct.pick(plan, ["width", "height", "fps"]),
      frames: plan.total_frames,
      duration_sec: isStill(plan.format) ? 0 : plan.total_frames / plan.fps,
    } satisfies RenderOutput
  })

  const still = Effect.fn("RenderEngine.still")(function* (request: RawRenderRequest, output: string) {
    const decided = yield* plan(request)
    if (!isStill(decided.format)) {
      const message = "must be a still format, such as png"
      return yield* invalid([{ field: "output_settings.format", code: "invalid_value", message }])
    }
    const workDir = temporaryFor(output)
    return yield* prepareWorkFolder(workDir).pipe(
      Effect.andThen(
        renderSegment({ plan: decided, input_props: request.input_props, index: 0 }, { workDir }),
      ),
      Effect.andThen(assemble(decided, { workDir, output })),
      Effect.ensuring(Effect.ignore(removeWorkFolder(workDir))),
    )
  })

  const thumbnails = yield* Cache.make({
    capacity: THUMBNAILS_KEPT,
    lookup: (key: string) => {
      const [compositionId = "", width] = key.split(" ")
      return threads.run<"thumbnail">({ kind: "thumbnail", compositionId, width: Number(width) })
    },
  })
  const thumbnail = Effect.fn("RenderEngine.thumbnail")(function* (
    compositionId: string,
    options: { readonly width?: number } = {},
  ) {
    const { id } = yield* compositions.get(compositionId)
    const wanted = Math.round(options.width ?? THUMBNAIL_WIDTH_DEFAULT)
    const width = Math.min(THUMBNAIL_WIDTH_MAX, Math.max(THUMBNAIL_WIDTH_MIN, wanted))
    return yield* Cache.get(thumbnails, `${id} ${width}`)
  })

  return { plan, renderSegment, assemble, still, thumbnail }
})

export class RenderEngine extends Context.Service<
  RenderEngine,
  {
    /** Validates a request and decides the render: `UnknownComposition`, or `InvalidRequest` with every issue. */
    readonly plan: (request: RawRenderRequest) => Effect.Effect<RenderPlan, RenderError>
    /** Renders segment `index` of a plan into the work folder, complete and synced. Interruption stops it within a frame
     * and leaves nothing. `onProgress` hears how many of the segment's frames are done. */
    readonly renderSegment: (
      segment: { readonly plan: RenderPlan; readonly input_props: unknown; readonly index: number },
      options: { readonly workDir: string; readonly onProgress?: (framesDone: number) => void },
    ) => Effect.Effect<SegmentResult, RenderError>
    /** Joins the plan's segments into `output`, which appears complete or not at all. Fails with `SegmentUnusable` when a
     * segment's file is gone or damaged. Leaves the work folder as it is. */
    readonly assemble: (
      plan: RenderPlan,
      options: { readonly workDir: string; readonly output: string },
    ) => Effect.Effect<RenderOutput, RenderError>
    /** Renders one frame to `output` in a still format. */
    readonly still: (request: RawRenderRequest, output: string) => Effect.Effect<RenderOutput, RenderError>
    /** A PNG of a composition's example; `width` in pixels, 64 to 1280 (default 320). Kept in memory. */
    readonly thumbnail: (
      compositionId: string,
      options?: { readonly width?: number },
    ) => Effect.Effect<Uint8Array<ArrayBuffer>, RenderError>
  }
>()("renderowl/domain/renders/RenderEngine") {
  /** The engine with its threads and compositions. Building it starts nothing; closing it ends the threads. */
  static readonly layer = (config: RenderEngineConfig = {}): Layer.Layer<RenderEngine | Compositions> =>
    Layer.effect(RenderEngine, make(config)).pipe(
      Layer.provide(RenderThreads.layer(config)),
      Layer.provideMerge(Compositions.layer(config.compositions)),
    )
}
