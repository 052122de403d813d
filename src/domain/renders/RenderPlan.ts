/**
 * A render cut into segments: everything that was decided about it, small enough to be journaled.
 *
 * The props are not in it: they are stored once, with the request, and given along when a segment is rendered.
 */
import { Schema } from "effect"
import type { FieldError } from "../../http/FieldError.ts"
import type { Composition, OpenComposition } from "./Composition.ts"
import {
  FORMATS,
  FRAME_PIXELS_MAX,
  GIF_FPS_DEFAULT,
  GIF_FPS_MAX,
  GIF_FRAMES_MAX,
  GIF_SIDE_DEFAULT,
  GIF_SIDE_MAX,
  isStill,
  OutputFormat,
  type OutputSettings,
} from "./OutputSettings.ts"

/** Frames in a segment: what a crash can cost, and two seconds at 30 frames a second. */
const SEGMENT_FRAMES = { mp4: 60, gif: 30 } as const
const QUALITY_DEFAULT = 80

/** What turns frames into bytes: H.264 by ffmpeg or by WebAssembly, or the canvas itself for GIF and stills. */
export const Encoder = Schema.Literals(["ffmpeg", "wasm", "canvas"])
export type Encoder = typeof Encoder.Type

/** A run of consecutive frames that is encoded to a file of its own. */
export interface Segment {
  readonly index: number
  readonly firstFrame: number
  readonly frames: number
}

export class RenderPlan extends Schema.Class<RenderPlan>("RenderPlan")({
  composition_id: Schema.String,
  format: OutputFormat,
  codec: Schema.NullOr(Schema.Literals(["h264"])),
  encoder: Encoder,
  width: Schema.Int,
  height: Schema.Int,
  fps: Schema.Int,
  quality: Schema.Int,
  /** Length of the composition. */
  duration_in_frames: Schema.Int,
  /** The first frame of the output: 0, or the one frame of a still. */
  first_frame: Schema.Int,
  /** Frames of the output. */
  total_frames: Schema.Int,
  frames_per_segment: Schema.Int,
}) {
  get segments(): ReadonlyArray<Segment> {
    return Array.from({ length: Math.ceil(this.total_frames / this.frames_per_segment) }, (_, index) => {
      const done = index * this.frames_per_segment
      return {
        index,
        firstFrame: this.first_frame + done,
        frames: Math.min(this.frames_per_segment, this.total_frames - done),
      }
    })
  }

  get contentType(): string {
    return FORMATS[this.format].contentType
  }

  /** File name extension, without the dot. */
  get extension(): string {
    return FORMATS[this.format].extension
  }
}

const even = (value: number): number => Math.max(2, 2 * Math.round(value / 2))

/** The asked-for size, a missing side following the composition's shape. */
const sizeOf = (composition: Composition, settings: OutputSettings, format: OutputFormat) => {
  const shape = composition.defaultWidth / composition.defaultHeight
  const natural =
    format === "gif"
      ? Math.min(1, GIF_SIDE_DEFAULT / Math.max(composition.defaultWidth, composition.defaultHeight))
      : 1
  const width =
    settings.width ??
    (settings.height === undefined ? even(composition.defaultWidth * natural) : even(settings.height * shape))
  return { width, height: settings.height ?? even(width / shape) }
}

/** Decides a render. Answers the plan, or everything that stands against it. */
export const planRender = (
  composition: Composition,
  opened: OpenComposition,
  settings: OutputSettings,
  videoEncoder: Exclude<Encoder, "canvas">,
): RenderPlan | ReadonlyArray<FieldError> => {
  const format = settings.format ?? "mp4"
  const still = isStill(format)
  const { height, width } = sizeOf(composition, settings, format)
  const fps =
    settings.fps ??
    (format === "gif" ? Math.min(GIF_FPS_DEFAULT, composition.defaultFps) : composition.defaultFps)
  const duration = opened.durationInFrames(fps)
  const faults: Array<FieldError> = []
  const refuse = (when: boolean, field: string, message: string) => {
    if (when) faults.push({ field: `output_settings.${field}`, code: "invalid_value", message })
  }

  refuse(format === "mp4" && width % 2 !== 0, "width", "must be even for mp4")
  refuse(format === "mp4" && height % 2 !== 0, "height", "must be even for mp4")
  refuse(
    width * height > FRAME_PIXELS_MAX,
    "width",
    `times height must be at most ${FRAME_PIXELS_MAX} pixels`,
  )
  refuse(settings.codec !== undefined && format !== "mp4", "codec", `must be left out for ${format}`)
  refuse(settings.frame !== undefined && !still, "frame", `must be left out for ${format}`)
  refuse(still && (settings.frame ?? 0) >= duration, "frame", `must be from 0 to ${duration - 1}`)
  if (format === "gif") {
    refuse(
      Math.max(width, height) > GIF_SIDE_MAX,
      "width",
      `and height must be at most ${GIF_SIDE_MAX} for gif`,
    )
    refuse(fps > GIF_FPS_MAX, "fps", `must be at most ${GIF_FPS_MAX} for gif`)
    refuse(
      duration > GIF_FRAMES_MAX,
      "format",
      `gif takes at most ${GIF_FRAMES_MAX} frames, this is ${duration}`,
    )
  }
  if (faults.length > 0) return faults

  return new RenderPlan({
    composition_id: composition.id,
    format,
    codec: format === "mp4" ? "h264" : null,
    encoder: format === "mp4" ? videoEncoder : "canvas",
    width,
    height,
    fps,
    quality: settings.quality ?? QUALITY_DEFAULT,
    duration_in_frames: duration,
    first_frame: still ? (settings.frame ?? opened.posterFrame(fps)) : 0,
    total_frames: still ? 1 : duration,
    frames_per_segment: format === "gif" || format === "mp4" ? SEGMENT_FRAMES[format] : 1,
  })
}
