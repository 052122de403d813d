/**
 * A render as clients see it, made from its job.
 */
import { Schema } from "effect"
import type { Json } from "effect/Schema"
import { RenderedFile, type RenderPayload } from "../../../domain/renders/RenderJob.ts"
import { Priority } from "../../../jobs/JobEvents.ts"
import { type JobState, type JobStatus, type ProgressRecord, statusAt } from "../../../jobs/JobState.ts"
import type { JobSnapshot } from "../../../jobs/Queue.ts"
import { StoredJson } from "../../../security/BoundedJson.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { Instant, toInstant, toInstantOrNull } from "../Timestamp.ts"

const RENDER_STATUSES = ["pending", "queued", "rendering", "completed", "failed", "cancelled"] as const
type RenderStatus = (typeof RENDER_STATUSES)[number]

/** `pending` waits for its time (a retry, for instance), `queued` for a free renderer. */
const STATUS_OF: Readonly<Record<JobStatus, RenderStatus>> = {
  scheduled: "pending",
  pending: "queued",
  processing: "rendering",
  completed: "completed",
  dead_letter: "failed",
  cancelled: "cancelled",
}

export const RenderProgress = Schema.Struct({
  percent: Schema.Finite,
  current_frame: Schema.Int,
  total_frames: Schema.NullOr(Schema.Int),
  estimated_remaining_sec: Schema.NullOr(Schema.Finite),
}).annotate({ identifier: "RenderProgress" })

const Output = Schema.Struct({
  url: Schema.String,
  content_type: Schema.String,
  bytes: Schema.Int,
  sha256: Schema.String,
  width: Schema.Int,
  height: Schema.Int,
  fps: Schema.Int,
  frames: Schema.Int,
  duration_sec: Schema.Finite,
})

export const RenderJson = Schema.Struct({
  id: Schema.String,
  project_id: Schema.NullOr(Schema.String),
  /** The same work as a job, with attempts, steps and the whole history. */
  job_id: Schema.String,
  status: Schema.Literals(RENDER_STATUSES).annotate({ identifier: "RenderStatus" }),
  priority: Priority,
  composition_id: Schema.String,
  input_props: StoredJson,
  output_settings: StoredJson,
  engine: Schema.Literal("canvas"),
  progress: RenderProgress,
  output: Schema.NullOr(Output),
  error: Schema.NullOr(Schema.Struct({ name: Schema.String, message: Schema.String })),
  attempt: Schema.Int,
  created_at: Instant,
  started_at: Schema.NullOr(Instant),
  finished_at: Schema.NullOr(Instant),
}).annotate({ identifier: "Render" })

/** The stored result; undefined before the render has completed. */
export const outputOf = (state: JobState): RenderedFile | undefined =>
  state.status === "completed" && isRenderedFile(state.result) ? state.result : undefined

const isRenderedFile = Schema.is(RenderedFile)

export const renderStatusAt = (state: JobState, now: number): RenderStatus => STATUS_OF[statusAt(state, now)]

interface ProgressDetail {
  readonly current_frame?: number
  readonly total_frames?: number
  readonly estimated_remaining_sec?: number | null
}

export const toRenderProgress = (progress: ProgressRecord | undefined): typeof RenderProgress.Type => {
  const detail = (progress?.detail ?? {}) as ProgressDetail
  return {
    percent: progress?.percent ?? 0,
    current_frame: detail.current_frame ?? 0,
    total_frames: detail.total_frames ?? null,
    estimated_remaining_sec: detail.estimated_remaining_sec ?? null,
  }
}

/** The render at the moment `now`. */
export const toRenderJson = (
  { id, state, liveProgress }: JobSnapshot,
  now: number,
): typeof RenderJson.Type => {
  const payload = state.payload as unknown as RenderPayload
  const renderId = TypeId.withPrefix(id, "rnd")
  const output = outputOf(state)
  return {
    id: renderId,
    project_id: payload.project_id ?? null,
    job_id: id,
    status: renderStatusAt(state, now),
    priority: state.priority,
    composition_id: payload.composition_id,
    input_props: payload.input_props,
    output_settings: (payload.output_settings ?? {}) as Json,
    engine: "canvas",
    progress:
      output === undefined
        ? toRenderProgress(liveProgress ?? state.progress)
        : {
            percent: 100,
            current_frame: output.frames,
            total_frames: output.frames,
            estimated_remaining_sec: 0,
          },
    output: output === undefined ? null : shownOutput(renderId, output),
    error: state.error === undefined ? null : { name: state.error.name, message: state.error.message },
    attempt: state.attempt,
    created_at: toInstant(state.enqueuedAt),
    started_at: toInstantOrNull(state.attempts[0]?.startedAt),
    finished_at: toInstantOrNull(state.finishedAt),
  }
}

const shownOutput = (id: string, { file: _, ...output }: RenderedFile) => ({
  url: `/v1/renders/${id}/output`,
  ...output,
})
