/**
 * Draws the picture that stands for a composition in a list: its example at its poster frame, at full size and then
 * reduced, so that fine strokes survive.
 */
import { createCanvas } from "@napi-rs/canvas"
import type { Composition } from "../Composition.ts"
import { encodeStill } from "../encoding/StillEncoder.ts"
import { FrameCanvas } from "../encoding/FrameCanvas.ts"
import type { TaskResults, ThumbnailTask } from "./RenderTask.ts"
import { openComposition, paintFrame, painterFor } from "./SegmentRun.ts"

/** Draws a thumbnail as PNG. Rejects with a `RenderErrorReason`. */
export const drawThumbnail = async (
  compositions: ReadonlyMap<string, Composition>,
  task: ThumbnailTask,
): Promise<TaskResults["thumbnail"]> => {
  let defaults = { width: task.width, height: task.width, fps: 30 }
  const opened = openComposition(compositions, task.compositionId, (composition) => {
    defaults = {
      width: composition.defaultWidth,
      height: composition.defaultHeight,
      fps: composition.defaultFps,
    }
    return composition.exampleProps
  })
  const plan = {
    composition_id: task.compositionId,
    ...defaults,
    duration_in_frames: opened.durationInFrames(defaults.fps),
  }
  const firstFrame = opened.posterFrame(defaults.fps)
  const painter = await painterFor(opened, plan, { index: 0, firstFrame, frames: 1 })
  const full = new FrameCanvas(plan.width, plan.height)
  paintFrame(full, painter, plan, firstFrame)

  const small = createCanvas(task.width, Math.max(1, Math.round((task.width * plan.height) / plan.width)))
  const ctx = small.getContext("2d")
  ctx.imageSmoothingQuality = "high"
  ctx.drawImage(full.canvas, 0, 0, small.width, small.height)
  return Uint8Array.from(await encodeStill(small, { format: "png", quality: 100 }))
}
