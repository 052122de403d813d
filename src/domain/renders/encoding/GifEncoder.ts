/**
 * Animated GIF, one frame at a time: the canvas quantises each frame, and its image block is appended to the segment's
 * file, so memory holds one frame.
 */
import { GifEncoder } from "@napi-rs/canvas"
import { open } from "node:fs/promises"
import { gifHeader, gifImages, GIF_TRAILER } from "./GifBlocks.ts"
import type { EncoderTarget, SegmentEncoder } from "./SegmentEncoder.ts"

/** NeuQuant sampling, 1 best to 30 fastest. */
const samplingFor = (quality: number): number => Math.max(1, Math.round(1 + (100 - quality) * 0.29))

/** A GIF delay is whole hundredths of a second; rounding the running total keeps the speed right on average. */
export const gifDelay = (frame: number, fps: number): number =>
  Math.round(((frame + 1) * 100) / fps) - Math.round((frame * 100) / fps)

/** Opens a GIF segment. */
export const openGif = async ({ path, plan, position }: EncoderTarget): Promise<SegmentEncoder> => {
  const { height, width } = plan
  const file = await open(path, "w")
  let frames = 0
  return {
    write: async (canvas) => {
      using encoder = new GifEncoder(width, height, { repeat: 0, quality: samplingFor(plan.quality) })
      encoder.addFrame(canvas.pixels(), width, height, { delay: gifDelay(position + frames, plan.fps) * 10 })
      const single = encoder.finish()
      if (frames === 0) await file.write(gifHeader(single))
      await file.write(gifImages(single))
      frames += 1
    },
    finish: async () => {
      await file.write(GIF_TRAILER)
      await file.close()
    },
    abort: () => file.close(),
  }
}
