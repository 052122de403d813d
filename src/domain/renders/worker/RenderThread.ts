/**
 * The entry of a render thread: takes a task, runs it, says how it went, waits for the next.
 *
 * Drawing and encoding both happen here, so frames never cross to the main thread. Between frames the event loop turns
 * once: that is when a cancel is noticed and when the last frame's pixel buffers are freed.
 */
import { Schema } from "effect"
import { readlinkSync } from "node:fs"
import { constants, setPriority } from "node:os"
import { parentPort, workerData } from "node:worker_threads"
import { importCompositions } from "../Compositions.ts"
import { EncoderFailed, RenderErrorReason } from "../RenderError.ts"
import { assemble } from "./AssembleRun.ts"
import type { FromThread, RenderTask, TaskResult, ThreadSetup, ToThread } from "./RenderTask.ts"
import { renderSegment } from "./SegmentRun.ts"
import { drawThumbnail } from "./ThumbnailRun.ts"

const port = parentPort
if (port === null) throw new Error("RenderThread.ts is the entry of a worker thread")

/** Renders yield to the thread that answers requests when both want the same core. Linux alone has priorities for threads. */
const yieldToRequests = (): void => {
  if (process.platform !== "linux") return
  const thread = Number(readlinkSync("/proc/thread-self").split("/").at(-1))
  setPriority(thread, constants.priority.PRIORITY_BELOW_NORMAL)
}
yieldToRequests()

const { modules } = workerData as ThreadSetup
const compositions = await importCompositions(modules)

const say = (message: FromThread): void => port.postMessage(message)
const encodeReason = Schema.encodeSync(RenderErrorReason)
const isReason = Schema.is(RenderErrorReason)

const run = (task: RenderTask, signal: AbortSignal): Promise<TaskResult> => {
  switch (task.kind) {
    case "segment":
      return renderSegment(compositions, task, signal, (done) => say({ type: "frames", done }))
    case "assemble":
      return assemble(task, signal)
    case "thumbnail":
      return drawThumbnail(compositions, task)
  }
}

let current: AbortController | undefined

const take = async (task: RenderTask): Promise<void> => {
  const controller = new AbortController()
  current = controller
  try {
    say({ type: "done", result: await run(task, controller.signal) })
  } catch (error) {
    if (controller.signal.aborted) say({ type: "cancelled" })
    else {
      const reason = isReason(error)
        ? error
        : new EncoderFailed({
            encoder: "plan" in task ? task.plan.encoder : "canvas",
            detail: error instanceof Error ? error.message : String(error),
          })
      say({ type: "failed", reason: encodeReason(reason) })
    }
  } finally {
    current = undefined
  }
}

port.on("message", (message: ToThread) => {
  if (message.type === "cancel") current?.abort()
  else void take(message.task)
})
say({ type: "ready" })
