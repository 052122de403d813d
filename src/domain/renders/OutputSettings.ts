/**
 * What a render should come out as: format, size, speed and quality, with every limit in one place.
 */
import { Schema } from "effect"

/** Least and greatest side of a frame in pixels. */
export const SIDE_MIN = 64
export const SIDE_MAX = 3_840
/** Most pixels of a video frame: 4K UHD, in any shape. */
export const FRAME_PIXELS_MAX = 3_840 * 2_160
export const FPS_MAX = 60
/** An animated GIF is bulky and its delays are hundredths of a second: smaller, slower, shorter. */
export const GIF_SIDE_MAX = 960
export const GIF_FPS_MAX = 30
export const GIF_FRAMES_MAX = 900
/** Longer side of a GIF when no size is asked for, and its frames a second. */
export const GIF_SIDE_DEFAULT = 640
export const GIF_FPS_DEFAULT = 15

/** The files a render can produce: `mp4` and `gif` move, the others are one frame. */
export const OutputFormat = Schema.Literals(["mp4", "gif", "png", "jpeg", "webp", "avif"])
export type OutputFormat = typeof OutputFormat.Type

/** Media type and file name extension of each format. */
export const FORMATS = {
  mp4: { contentType: "video/mp4", extension: "mp4" },
  gif: { contentType: "image/gif", extension: "gif" },
  png: { contentType: "image/png", extension: "png" },
  jpeg: { contentType: "image/jpeg", extension: "jpg" },
  webp: { contentType: "image/webp", extension: "webp" },
  avif: { contentType: "image/avif", extension: "avif" },
} as const

export const isStill = (format: OutputFormat): boolean => format !== "mp4" && format !== "gif"

const Side = Schema.Int.check(Schema.isBetween({ minimum: SIDE_MIN, maximum: SIDE_MAX }))

/** The caller's wishes; what is left out comes from the composition. */
export const OutputSettings = Schema.Struct({
  format: Schema.optionalKey(OutputFormat.annotate({ description: "Default mp4." })),
  codec: Schema.optionalKey(Schema.Literal("h264").annotate({ description: "For mp4 (default h264)." })),
  width: Schema.optionalKey(Side.annotate({ description: "Pixels; even for mp4." })),
  height: Schema.optionalKey(Side.annotate({ description: "Pixels; even for mp4." })),
  fps: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: FPS_MAX }))),
  quality: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 })).annotate({
      description: "Of lossy formats: 1 smallest to 100 best (default 80).",
    }),
  ),
  frame: Schema.optionalKey(
    Schema.Int.check(Schema.isGreaterThanOrEqualTo(0)).annotate({
      description: "For stills: which frame (default: the one that stands for the whole).",
    }),
  ),
})
export type OutputSettings = typeof OutputSettings.Type
