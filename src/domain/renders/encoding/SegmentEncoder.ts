/**
 * What turns the frames of one segment into one file, whichever encoder does it.
 *
 * All encoders of a plan produce segments that join without re-encoding: same size, same parameter sets, the first
 * frame independent of what came before, no frame referring to a later one.
 */
import type { RenderPlan } from "../RenderPlan.ts"
import type { FrameCanvas } from "./FrameCanvas.ts"

export interface SegmentEncoder {
  /** Takes the frame that is on the canvas; the canvas may be drawn on again once this resolves. */
  readonly write: (canvas: FrameCanvas) => Promise<void>
  /** Completes the file. */
  readonly finish: () => Promise<void>
  /** Stops at once and lets go of everything but the file, which is the caller's to remove. */
  readonly abort: () => Promise<void>
}

/** What an encoder is opened with. */
export interface EncoderTarget {
  readonly plan: RenderPlan
  /** Where to write. */
  readonly path: string
  /** Frames before this segment in the output. */
  readonly position: number
  /** Path of the ffmpeg executable, for plans that use it. */
  readonly ffmpeg: string | undefined
  readonly signal: AbortSignal
}
