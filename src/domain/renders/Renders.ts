/**
 * Renders as people know them: submitted to a project, listed, followed, cancelled. A render is the job of the same id
 * suffix (`rnd_X` is `job_X`), so there is nothing to keep in step.
 */
import { Clock, Context, Effect, Layer, Predicate, Schema } from "effect"
import type { Json } from "effect/Schema"
import type { ProgressUpdate } from "../../jobs/JobContext.ts"
import type { JobConflict, StaleLease } from "../../jobs/JobErrors.ts"
import { type CommandError, type JobSnapshot, Queue, type SubmitError } from "../../jobs/Queue.ts"
import { type EventMetadata, JournalError, StoreFailed } from "../../journal/Journal.ts"
import type { ActorError } from "../../actor/ActorSystem.ts"
import { idsOr } from "../../security/KeyedRequest.ts"
import * as TypeId from "../../security/TypeId.ts"
import { limitTo } from "../../sqlite/Limit.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import type { Priority } from "../../jobs/JobEvents.ts"
import {
  Project,
  ProjectIsArchived,
  type ProjectNotFound,
  type ProjectSettings,
} from "../projects/Project.ts"
import { Compositions } from "./Compositions.ts"
import type { OutputSettings } from "./OutputSettings.ts"
import { RenderEngine } from "./RenderEngine.ts"
import type { RenderError } from "./RenderError.ts"
import { RENDER_JOB_TYPE } from "./RenderProjection.ts"

/** Index: renders_of_project, backwards; each id costs one primary-key look-up. */
export const SELECT_RENDERS = `SELECT r.position, e.stream
  FROM renders r INDEXED BY renders_of_project CROSS JOIN events e ON e.position = r.position
  WHERE r.project = ? AND r.position < ? ORDER BY r.position DESC ${limitTo()}`

/** No render has this id. */
export class RenderNotFound extends Schema.TaggedError<RenderNotFound>()("RenderNotFound", {
  id: Schema.String,
}) {}

/** A render that is wanted. */
export interface NewRender {
  readonly composition_id: string
  readonly input_props: Json
  readonly output_settings?: OutputSettings | undefined
  readonly priority?: Priority | undefined
  readonly metadata?: EventMetadata | undefined
}

export type RenderId = TypeId.TypeId<"rnd">

const jobIdOf = (id: RenderId) => TypeId.withPrefix(id, "job")

export class Renders extends Context.Service<
  Renders,
  {
    /** Checks the whole request, fills in the project's settings, and queues the render. */
    readonly submit: (
      projectId: string,
      render: NewRender,
    ) => Effect.Effect<RenderId, ProjectNotFound | ProjectIsArchived | RenderError | SubmitError | ActorError>
    readonly get: (id: RenderId) => Effect.Effect<JobSnapshot, RenderNotFound | JournalError>
    /** At most `limit` renders of a project that were submitted before the one at `before`. */
    readonly page: (
      projectId: string,
      page: { readonly before: number; readonly limit: number },
    ) => Effect.Effect<ReadonlyArray<{ readonly id: RenderId; readonly position: number }>, JournalError>
    readonly cancel: (
      id: RenderId,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, RenderNotFound | CommandError>
    readonly retry: (
      id: RenderId,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, RenderNotFound | CommandError>
    /** How far a renderer elsewhere has come with an attempt; refused when that is no longer the one that runs. */
    readonly progress: (
      id: RenderId,
      attempt: number,
      update: ProgressUpdate,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, RenderNotFound | StaleLease | Exclude<CommandError, JobConflict>>
  }
>()("renderowl/domain/renders/Renders") {
  static readonly layer = Layer.effect(
    Renders,
    Effect.gen(function* () {
      const queue = yield* Queue
      const engine = yield* RenderEngine
      const compositions = yield* Compositions
      const project = yield* Project.client
      const { reader } = yield* SqliteClient
      const ids = yield* TypeId.Generator

      const get = Effect.fnUntraced(function* (id: RenderId) {
        // An error only where there is one: each takes a stack trace, which costs more than the rest of this.
        const job = yield* Effect.catchTag(
          queue.get(jobIdOf(id)),
          "JobNotFound",
          () => new RenderNotFound({ id }),
        )
        return job.state.type === RENDER_JOB_TYPE ? job : yield* new RenderNotFound({ id })
      })

      const submit = Effect.fnUntraced(function* (
        projectId: string,
        { metadata, priority, ...wanted }: NewRender,
      ) {
        const { settings, status } = yield* project(projectId).Get()
        if (status === "archived") return yield* new ProjectIsArchived({ id: projectId })
        const composition = yield* compositions.get(wanted.composition_id)
        const request = {
          composition_id: wanted.composition_id,
          input_props: withDuration(wanted.input_props, settings, composition.propsSchema),
          output_settings: withSize(wanted.output_settings ?? {}, settings),
        }
        yield* engine.plan(request)
        const id = (yield* idsOr(ids)).next("job", yield* Clock.currentTimeMillis)
        yield* queue.submit({
          id,
          type: RENDER_JOB_TYPE,
          payload: { project_id: projectId, ...request },
          priority,
          metadata,
        })
        return TypeId.withPrefix(id, "rnd")
      })

      return Renders.of({
        submit,
        get,
        page: (projectId, { before, limit }) =>
          Effect.try({
            try: () =>
              reader
                .prepare(SELECT_RENDERS)
                .all(projectId, before, limit)
                .map((row) => ({
                  id: TypeId.withPrefix(row["stream"] as string, "rnd"),
                  position: row["position"] as number,
                })),
            catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
          }),
        cancel: (id, metadata) => Effect.andThen(get(id), queue.cancel(jobIdOf(id), undefined, metadata)),
        retry: (id, metadata) => Effect.andThen(get(id), queue.retry(jobIdOf(id), metadata)),
        progress: (id, attempt, update, metadata) =>
          Effect.andThen(get(id), queue.progress(jobIdOf(id), attempt, update, metadata)),
      })
    }),
  )
}

/** The project's size and speed, where the request leaves both sides (or the speed) open. A GIF has its own. */
const withSize = (wanted: OutputSettings, settings: ProjectSettings): OutputSettings => {
  if (wanted.format === "gif") return wanted
  const size =
    wanted.width === undefined && wanted.height === undefined
      ? { width: settings.default_width, height: settings.default_height }
      : {}
  return { fps: settings.default_fps, ...size, ...wanted }
}

/** The project's length, where it has one and the composition takes one. */
const withDuration = (props: Json, settings: ProjectSettings, schema: Record<string, unknown>): Json => {
  const duration = settings.default_duration_sec
  const takesOne = Predicate.isObject(schema["properties"]) && "duration_sec" in schema["properties"]
  const isObject = typeof props === "object" && props !== null && !Array.isArray(props)
  if (duration === null || !takesOne || !isObject) return props
  return { duration_sec: duration, ...(props as { readonly [key: string]: Json }) }
}
