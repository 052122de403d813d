/**
 * Draws and encodes one segment, in a render thread. Either the finished file appears under its final name, synced, or
 * nothing is left of it.
 */
import { Result, Schema } from "effect"
import { rm, stat } from "node:fs/promises"
import { setImmediate as nextTurn } from "node:timers/promises"
import type { Composition, OpenComposition, Painter } from "../Composition.ts"
import { FrameCanvas } from "../encoding/FrameCanvas.ts"
import { openEncoder } from "../encoding/OpenEncoder.ts"
import { DrawFailed, InvalidRequest, isFileError, storageReason, UnknownComposition } from "../RenderError.ts"
import { RenderPlan, type Segment } from "../RenderPlan.ts"
import { publish } from "../WorkFolder.ts"
import type { SegmentTask, TaskResults } from "./RenderTask.ts"

const decodePlan = Schema.decodeUnknownSync(RenderPlan)

/** The composition of a plan, opened with the request's props. Throws a `RenderErrorReason`. */
export const openComposition = (
  compositions: ReadonlyMap<string, Composition>,
  id: string,
  inputProps: (composition: Composition) => unknown,
): OpenComposition => {
  const composition = compositions.get(id)
  if (composition === undefined)
    throw new UnknownComposition({ composition_id: id, known: [...compositions.keys()] })
  const opened = composition.open(inputProps(composition))
  if (Result.isFailure(opened)) throw new InvalidRequest({ errors: opened.failure })
  return opened.success
}

const failedToDraw = (compositionId: string, frame: number | null, error: unknown): DrawFailed =>
  new DrawFailed({
    composition_id: compositionId,
    frame,
    detail: error instanceof Error ? error.message : String(error),
  })

/** Makes ready what the frames of `segment` show. */
export const painterFor = (
  opened: OpenComposition,
  plan: Pick<RenderPlan, "composition_id" | "duration_in_frames" | "fps" | "height" | "width">,
  segment: Segment,
): Promise<Painter> =>
  opened
    .painter({
      firstFrame: segment.firstFrame,
      frames: segment.frames,
      fps: plan.fps,
      width: plan.width,
      height: plan.height,
      durationInFrames: plan.duration_in_frames,
      duration: plan.duration_in_frames / plan.fps,
    })
    .catch((error: unknown) => Promise.reject(failedToDraw(plan.composition_id, null, error)))

/** Draws one frame. Throws `DrawFailed`. */
export const paintFrame = (
  canvas: FrameCanvas,
  painter: Painter,
  plan: Pick<RenderPlan, "composition_id" | "duration_in_frames" | "fps" | "height" | "width">,
  frame: number,
): void => {
  try {
    canvas.paint(painter, {
      frame,
      fps: plan.fps,
      width: plan.width,
      height: plan.height,
      durationInFrames: plan.duration_in_frames,
      time: frame / plan.fps,
      duration: plan.duration_in_frames / plan.fps,
    })
  } catch (error) {
    throw failedToDraw(plan.composition_id, frame, error)
  }
}

/** Renders a segment; `onFrames` hears how many frames are done. Rejects with a `RenderErrorReason`, or when aborted. */
export const renderSegment = async (
  compositions: ReadonlyMap<string, Composition>,
  task: SegmentTask,
  signal: AbortSignal,
  onFrames: (done: number) => void,
): Promise<TaskResults["segment"]> => {
  const plan = decodePlan(task.plan)
  const { segment } = task
  const painter = await painterFor(
    openComposition(compositions, plan.composition_id, () => task.inputProps),
    plan,
    segment,
  )
  const canvas = new FrameCanvas(plan.width, plan.height)
  try {
    const encoder = await openEncoder({
      plan,
      path: task.temporary,
      position: segment.firstFrame - plan.first_frame,
      ffmpeg: task.ffmpeg,
      signal,
    })
    try {
      for (let done = 0; done < segment.frames; done++) {
        signal.throwIfAborted()
        paintFrame(canvas, painter, plan, segment.firstFrame + done)
        await encoder.write(canvas)
        onFrames(done + 1)
        await nextTurn()
      }
      signal.throwIfAborted()
      await encoder.finish()
    } catch (error) {
      await encoder.abort()
      throw error
    }
    signal.throwIfAborted()
    await publish(task.temporary, task.path)
    return { bytes: (await stat(task.path)).size }
  } catch (error) {
    await rm(task.temporary, { force: true })
    throw isFileError(error) ? storageReason(error, task.path) : error
  }
}
