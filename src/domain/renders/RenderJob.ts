/**
 * A render as a job: plan, segments, and the joined output, each a step. After a crash the next attempt renders only the
 * segments that no attempt finished, because a step that is journaled has its file on disk.
 */
import { join } from "node:path"
import { readdir, rm } from "node:fs/promises"
import { Clock, Context, Effect, Layer, Schema } from "effect"
import type { Json } from "effect/Schema"
import * as Job from "../../jobs/Job.ts"
import type { JobContext } from "../../jobs/JobContext.ts"
import { isFinished } from "../../jobs/JobState.ts"
import { Queue } from "../../jobs/Queue.ts"
import { BoundedJson } from "../../security/BoundedJson.ts"
import * as TypeId from "../../security/TypeId.ts"
import { FORMATS, OutputSettings } from "./OutputSettings.ts"
import { ProgressEstimate } from "./ProgressEstimate.ts"
import { RenderEngine, RenderOutput, SegmentResult } from "./RenderEngine.ts"
import { RenderError } from "./RenderError.ts"
import { RenderPlan } from "./RenderPlan.ts"
import { RENDER_JOB_TYPE } from "./RenderProjection.ts"
import { prepareWorkFolder, removeWorkFolder } from "./WorkFolder.ts"

/** Renders at a time: drawing and encoding fill a core each. */
const RENDER_CONCURRENCY = 2
/** Followers hear of finished frames at most this often. */
const PROGRESS_INTERVAL_MS = 100
/** Work of unfinished renders, beside the finished ones. */
const WORK_FOLDER = ".work"

/** What to render; `project_id` is absent for a render that belongs to no project. */
export const RenderPayload = Schema.Struct({
  project_id: Schema.optionalKey(TypeId.schema("proj")),
  composition_id: Schema.String,
  input_props: BoundedJson,
  output_settings: Schema.optionalKey(OutputSettings),
})
export type RenderPayload = typeof RenderPayload.Type

const { path: _, ...outputFields } = RenderOutput.fields

/** A finished render; `file` is its name in the render folder, which may move. */
export const RenderedFile = Schema.Struct({ file: Schema.String, ...outputFields })
export type RenderedFile = typeof RenderedFile.Type

export const RenderVideo = Job.make(RENDER_JOB_TYPE, {
  queue: "renders",
  description: "Renders a composition to a video or a still",
  payload: RenderPayload,
  success: RenderedFile,
  error: RenderError,
  retry: { maxAttempts: 5 },
  timeout: "1 hour",
})

/** Where finished renders are kept: a folder. */
export class RenderFolder extends Context.Service<RenderFolder, string>()(
  "renderowl/domain/renders/RenderFolder",
) {
  static readonly layer = (path: string) => Layer.succeed(RenderFolder, path)
}

const outputFile = (jobId: string, extension: string) => `${TypeId.withPrefix(jobId, "rnd")}.${extension}`

const workFolderOf = (folder: string, jobId: string) => join(folder, WORK_FOLDER, jobId)

const segmentStep = (index: number) => `segment-${index}`

/** Renders the segments that are not done yet, in order. */
const renderSegments = Effect.fnUntraced(function* (
  payload: RenderPayload,
  plan: RenderPlan,
  job: JobContext,
  workDir: string,
) {
  const engine = yield* RenderEngine
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  const finished = new Map(
    plan.segments
      .filter(({ index }) => job.hasStep(segmentStep(index)))
      .map(({ index, frames }) => [index, frames]),
  )
  let estimate = ProgressEstimate.start(plan.total_frames, yield* Clock.currentTimeMillis, finished)
  let toldAt = 0

  const onFrames = (segment: number, frames: number) =>
    Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      estimate = ProgressEstimate.report(estimate, segment, frames, now)
      if (now - toldAt < PROGRESS_INTERVAL_MS && estimate.framesDone < estimate.total) return
      toldAt = now
      const { percent, ...detail } = ProgressEstimate.progress(estimate, now)
      yield* job.progress({ percent, message: "rendering", detail })
    })

  for (const { index } of plan.segments) {
    const onProgress = (frames: number) => void runFork(onFrames(index, frames))
    const segment = engine.renderSegment(
      { plan, input_props: payload.input_props, index },
      { workDir, onProgress },
    )
    yield* job.step(
      segmentStep(index),
      segment,
      SegmentResult as unknown as Schema.Codec<SegmentResult, Json>,
    )
  }
})

/** Joins the segments. One whose file was lost or damaged after its step is rendered again first. */
const assemble = (
  payload: RenderPayload,
  plan: RenderPlan,
  paths: { readonly workDir: string; readonly output: string },
  mendable = plan.segments.length,
): Effect.Effect<RenderOutput, RenderError, RenderEngine> =>
  Effect.gen(function* () {
    const engine = yield* RenderEngine
    return yield* Effect.catch(engine.assemble(plan, paths), (error) => {
      if (error.reason._tag !== "SegmentUnusable" || mendable === 0) return Effect.fail(error)
      const { index } = error.reason
      return Effect.logWarning(`segment ${index} was lost or damaged: it is rendered again`).pipe(
        Effect.andThen(
          engine.renderSegment({ plan, input_props: payload.input_props, index }, { workDir: paths.workDir }),
        ),
        Effect.andThen(assemble(payload, plan, paths, mendable - 1)),
      )
    })
  })

const render = Effect.fn("RenderVideo")(function* (payload: RenderPayload, job: JobContext) {
  const engine = yield* RenderEngine
  const folder = yield* RenderFolder
  const workDir = workFolderOf(folder, job.id)
  const plan = yield* job.step(
    "plan",
    engine.plan(payload),
    RenderPlan as unknown as Schema.Codec<RenderPlan, Json>,
  )
  yield* prepareWorkFolder(workDir)
  const done = plan.segments.filter(({ index }) => job.hasStep(segmentStep(index))).length
  yield* job.log(`${plan.total_frames} frames in ${plan.segments.length} segments, of which ${done} are done`)
  yield* renderSegments(payload, plan, job, workDir)
  const file = outputFile(job.id, plan.extension)
  const rendered = yield* job.step(
    "output",
    assemble(payload, plan, { workDir, output: join(folder, file) }).pipe(
      Effect.map(({ path: _, ...output }): RenderedFile => ({ file, ...output })),
    ),
  )
  yield* removeWorkFolder(workDir)
  yield* job.log(`wrote ${rendered.file}, ${rendered.bytes} bytes`)
  return rendered
})

/** Removes what a render that will not go on has no more use for: its work, and an output that came too late to count. */
const forgetEnded = Effect.fnUntraced(function* (folder: string, jobId: string) {
  const queue = yield* Queue
  const ended = yield* Effect.match(queue.get(jobId), {
    onSuccess: ({ state }) => (isFinished(state) ? state.status : undefined),
    onFailure: ({ _tag }) => (_tag === "JobNotFound" ? "absent" : undefined),
  })
  if (ended === undefined) return
  yield* Effect.ignore(removeWorkFolder(workFolderOf(folder, jobId)))
  if (ended === "completed") return
  const files = Object.values(FORMATS).map(({ extension }) => outputFile(jobId, extension))
  yield* Effect.promise(() => Promise.all(files.map((file) => rm(join(folder, file), { force: true }))))
})

/** What a process left behind that died between a render's end and its cleaning up. */
const sweep = Layer.effectDiscard(
  Effect.gen(function* () {
    const folder = yield* RenderFolder
    const ids = yield* Effect.promise(() => readdir(join(folder, WORK_FOLDER)).catch(() => []))
    yield* Effect.forEach(ids, (id) => forgetEnded(folder, id))
  }),
)

/** The handler of renders. */
export const RenderVideoLive = RenderVideo.toLayer(
  (payload, job) =>
    render(payload, job).pipe(
      // By then the journal says how the attempt ended: a cancelled render leaves nothing, one that is handed back
      // keeps its segments.
      Effect.onExit(() => Effect.flatMap(RenderFolder, (folder) => forgetEnded(folder, job.id))),
    ),
  { concurrency: RENDER_CONCURRENCY },
).pipe(Layer.provideMerge(sweep))
