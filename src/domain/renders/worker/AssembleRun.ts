/**
 * Joins a render's segments into its output file, in a render thread, and makes it durable under its final name.
 */
import { Schema } from "effect"
import { createHash } from "node:crypto"
import { createReadStream } from "node:fs"
import { access, rm, stat } from "node:fs/promises"
import { pipeline } from "node:stream/promises"
import { joinSegments } from "../encoding/SegmentJoiner.ts"
import { isFileError, SegmentUnusable, storageReason } from "../RenderError.ts"
import { RenderPlan } from "../RenderPlan.ts"
import { publish } from "../WorkFolder.ts"
import type { AssembleTask, TaskResults } from "./RenderTask.ts"

const decodePlan = Schema.decodeUnknownSync(RenderPlan)

const sha256Of = async (path: string, signal: AbortSignal): Promise<string> => {
  const hash = createHash("sha256")
  await pipeline(createReadStream(path), hash, { signal })
  return hash.digest("hex")
}

/** Assembles the output. Rejects with a `RenderErrorReason`, or when aborted. */
export const assemble = async (task: AssembleTask, signal: AbortSignal): Promise<TaskResults["assemble"]> => {
  try {
    for (const segment of task.segments) {
      await access(segment.path).catch(() =>
        Promise.reject(new SegmentUnusable({ index: segment.index, detail: "its file is not there" })),
      )
    }
    await joinSegments({ plan: decodePlan(task.plan), segments: task.segments, path: task.temporary, signal })
    const sha256 = await sha256Of(task.temporary, signal)
    signal.throwIfAborted()
    await publish(task.temporary, task.path)
    return { bytes: (await stat(task.path)).size, sha256 }
  } catch (error) {
    await rm(task.temporary, { force: true })
    throw isFileError(error) ? storageReason(error, task.path) : error
  }
}
