/**
 * H.264 by the WebAssembly build of minih264: no system package, several times slower than ffmpeg.
 *
 * The encoder keeps the segment's file in its own memory until it is finished, so memory is bounded by one segment.
 */
import { randomUUID } from "node:crypto"
import { writeFile } from "node:fs/promises"
import { wasmQuantizer } from "./Quality.ts"
import type { EncoderTarget, SegmentEncoder } from "./SegmentEncoder.ts"
import { toYuv420, yuv420Size } from "./Yuv420.ts"

/** 0 is best, 10 fastest: 10 takes 70 ms for a frame of 1080×1920 against 140 ms at 5, at the same size on type and
 * flat colour (measured). */
const SPEED = 10

/** Opens the encoder for one segment. */
export const openWasm = async ({ path, plan }: EncoderTarget): Promise<SegmentEncoder> => {
  const { height, width } = plan
  // Loaded when first needed: its module is 1 MB with the WASM inside, and it installs handlers on its `process`.
  const { default: h264 } = await import("h264-mp4-encoder")
  const encoder = await h264.createH264MP4Encoder()
  // Encoders share one virtual file system.
  encoder.outputFilename = `${randomUUID()}.mp4`
  encoder.width = width
  encoder.height = height
  encoder.frameRate = plan.fps
  encoder.quantizationParameter = wasmQuantizer(plan.quality)
  encoder.speed = SPEED
  encoder.groupOfPictures = plan.frames_per_segment
  encoder.initialize()
  const frame = new Uint8Array(yuv420Size(width, height))

  let open = true
  const close = (): Uint8Array => {
    open = false
    encoder.finalize()
    const name = encoder.outputFilename
    const bytes = encoder.FS.readFile(name)
    encoder.FS.unlink(name)
    encoder.delete()
    return bytes
  }
  return {
    write: async (canvas) => {
      toYuv420(canvas.pixels(), width, height, frame)
      encoder.addFrameYuv(frame)
    },
    finish: () => writeFile(path, close()),
    abort: async () => {
      if (open) close()
    },
  }
}
