/**
 * One frame as an image file: PNG, JPEG, WebP or AVIF, by the canvas itself.
 */
import { writeFile } from "node:fs/promises"
import type { Canvas } from "@napi-rs/canvas"
import type { RenderPlan } from "../RenderPlan.ts"
import type { EncoderTarget, SegmentEncoder } from "./SegmentEncoder.ts"

/** AVIF effort, 1 slowest to 10 fastest. */
const AVIF_SPEED = 8

/** Encodes the canvas in the plan's still format. */
export const encodeStill = (
  canvas: Canvas,
  plan: Pick<RenderPlan, "format" | "quality">,
): Promise<Buffer> => {
  switch (plan.format) {
    case "jpeg":
    case "webp":
      return canvas.encode(plan.format, plan.quality)
    case "avif":
      return canvas.encode("avif", { quality: plan.quality, speed: AVIF_SPEED })
    default:
      return canvas.encode("png")
  }
}

/** Opens a still "segment" of one frame. */
export const openStill = async ({ path, plan }: EncoderTarget): Promise<SegmentEncoder> => ({
  write: async (canvas) => writeFile(path, await encodeStill(canvas.canvas, plan)),
  finish: async () => {},
  abort: async () => {},
})
