/**
 * What the main thread and a render thread say to each other: plain data, one task at a time.
 */
import type { RenderErrorReason } from "../RenderError.ts"
import type { Segment, RenderPlan } from "../RenderPlan.ts"

/** A plan without its methods, as it crosses the boundary. */
type PlanData = typeof RenderPlan.Encoded

/** Draws and encodes one segment into `temporary`, then publishes it as `path`. */
export interface SegmentTask {
  readonly kind: "segment"
  readonly plan: PlanData
  readonly inputProps: unknown
  readonly segment: Segment
  readonly ffmpeg: string | undefined
  readonly temporary: string
  readonly path: string
}

/** Joins segments into `temporary`, then publishes it as `path`. */
export interface AssembleTask {
  readonly kind: "assemble"
  readonly plan: PlanData
  readonly segments: ReadonlyArray<Segment & { readonly path: string }>
  readonly temporary: string
  readonly path: string
}

/** Draws one composition's example at its poster frame, reduced to `width` pixels, as PNG. */
export interface ThumbnailTask {
  readonly kind: "thumbnail"
  readonly compositionId: string
  readonly width: number
}

export type RenderTask = SegmentTask | AssembleTask | ThumbnailTask

/** What each kind of task answers. */
export interface TaskResults {
  readonly segment: { readonly bytes: number }
  readonly assemble: { readonly bytes: number; readonly sha256: string }
  readonly thumbnail: Uint8Array<ArrayBuffer>
}
export type TaskResult = TaskResults[RenderTask["kind"]]

export type ToThread = { readonly type: "run"; readonly task: RenderTask } | { readonly type: "cancel" }

/** A reason as data: its tag and fields. */
export type ReasonData = { readonly _tag: RenderErrorReason["_tag"] }

export type FromThread =
  | { readonly type: "ready" }
  /** Frames of the segment that are drawn and handed to the encoder. */
  | { readonly type: "frames"; readonly done: number }
  | { readonly type: "done"; readonly result: TaskResult }
  | { readonly type: "failed"; readonly reason: ReasonData }
  | { readonly type: "cancelled" }

/** What a thread is started with: URLs of the composition modules. */
export interface ThreadSetup {
  readonly modules: ReadonlyArray<string>
}
