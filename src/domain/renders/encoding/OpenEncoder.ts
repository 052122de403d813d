/**
 * Opens the encoder that a plan names.
 */
import { openFfmpeg } from "./FfmpegEncoder.ts"
import { openGif } from "./GifEncoder.ts"
import type { EncoderTarget, SegmentEncoder } from "./SegmentEncoder.ts"
import { openStill } from "./StillEncoder.ts"
import { openWasm } from "./WasmEncoder.ts"

/** Opens the encoder for one segment. Rejects with a `RenderErrorReason`. */
export const openEncoder = (target: EncoderTarget): Promise<SegmentEncoder> => {
  switch (target.plan.encoder) {
    case "ffmpeg":
      return openFfmpeg(target)
    case "wasm":
      return openWasm(target)
    case "canvas":
      return target.plan.format === "gif" ? openGif(target) : openStill(target)
  }
}
