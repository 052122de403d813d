/**
 * What the render routes do.
 */
import { join } from "node:path"
import { Clock, Effect, FileSystem, Schema, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { Project } from "../../../domain/projects/Project.ts"
import { RenderFolder } from "../../../domain/renders/RenderJob.ts"
import { type RenderId, Renders } from "../../../domain/renders/Renders.ts"
import { wantsEventStream } from "../../../http/Accept.ts"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import {
  GoneProblem,
  RenderNotCancellableProblem,
  RenderNotCompleteProblem,
} from "../../../http/ResourceProblems.ts"
import * as ServerSentEvents from "../../../http/ServerSentEvents.ts"
import type { JobEvent } from "../../../jobs/JobEvents.ts"
import type { JobUpdate } from "../../../jobs/JobFeed.ts"
import { Queue } from "../../../jobs/Queue.ts"
import { Journal } from "../../../journal/Journal.ts"
import * as TypeId from "../../../security/TypeId.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { toEventJson, toJobLogs, toServerSentEvent } from "../jobs/Handlers.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import { outputOf, renderStatusAt, toRenderJson, toRenderProgress } from "./RenderJson.ts"

const RendersCursor = Cursor.make("renders", Schema.Struct({ position: Schema.Int }))

/** Journaled events as they are; live progress in frames. */
const toRenderEvent = (update: JobUpdate): ServerSentEvents.ServerSentEvent =>
  update._tag === "Progress"
    ? { event: "progress", data: toRenderProgress(update.progress) }
    : toServerSentEvent(update)

export const RendersLive = HttpApiBuilder.group(
  ApiV1,
  "renders",
  Effect.fnUntraced(function* (handlers) {
    const renders = yield* Renders
    const project = yield* Project.client
    const queue = yield* Queue
    const journal = yield* Journal
    const files = yield* FileSystem.FileSystem
    const folder = yield* RenderFolder

    const show = Effect.fnUntraced(function* (id: RenderId) {
      return toRenderJson(yield* renders.get(id), yield* Clock.currentTimeMillis)
    })

    return handlers.handleAll({
      submit: ({ params, payload }) =>
        Effect.gen(function* () {
          const { engine: _, input_props = {}, ...wanted } = payload
          const metadata = yield* requestMetadata
          const id = yield* renders.submit(params.id, { ...wanted, input_props, metadata })
          return HttpApiSchema.withHeaders({
            body: yield* show(id),
            headers: { location: `/v1/renders/${id}` },
          })
        }).pipe(impossible("RenderNotFound", "IdempotencyKeyReused"), toProblem),

      list: ({ params, query: { cursor, limit }, request }) =>
        Effect.gen(function* () {
          yield* project(params.id).Get()
          const before = (yield* RendersCursor.decode(cursor))?.position ?? Number.MAX_SAFE_INTEGER
          const rows = yield* renders.page(params.id, { before, limit: limit + 1 })
          const positionOf = ({ position }: (typeof rows)[number]) => ({ position })
          const page = yield* Pagination.page({ request, rows, limit, cursor: RendersCursor, positionOf })
          const data = yield* Effect.forEach(page.body.data, ({ id }) => show(id))
          return HttpApiSchema.withHeaders({ body: { ...page.body, data }, headers: page.headers })
        }).pipe(impossible("RenderNotFound"), toProblem),

      get: ({ params: { id } }) => show(id).pipe(toProblem),

      cancel: ({ params: { id } }) =>
        Effect.gen(function* () {
          yield* renders.cancel(id, yield* requestMetadata)
          return yield* show(id)
        }).pipe(
          Effect.catchTag("JobConflict", ({ status }) =>
            Effect.fail(new RenderNotCancellableProblem({ current_status: status })),
          ),
          impossible("JobNotFound"),
          toProblem,
        ),

      retry: ({ params: { id } }) =>
        Effect.gen(function* () {
          yield* renders.retry(id, yield* requestMetadata)
          return yield* show(id)
        }).pipe(impossible("JobNotFound"), toProblem),

      progress: ({ params: { id }, payload: { attempt, message, percent, ...detail } }) =>
        Effect.gen(function* () {
          const update = { percent, detail, ...(message === undefined ? {} : { message }) }
          yield* renders.progress(id, attempt, update, yield* requestMetadata)
          return yield* show(id)
        }).pipe(impossible("JobNotFound"), toProblem),

      output: ({ params: { id } }) =>
        Effect.gen(function* () {
          const { state } = yield* renders.get(id)
          const output = outputOf(state)
          if (output === undefined) {
            const status = renderStatusAt(state, yield* Clock.currentTimeMillis)
            return yield* new RenderNotCompleteProblem({ current_status: status })
          }
          const path = join(folder, output.file)
          if (!(yield* Effect.orElseSucceed(files.exists(path), () => false))) {
            return yield* new GoneProblem({ detail: "The output of this render was removed." })
          }
          const response = yield* Effect.orDie(
            HttpServerResponse.file(path, { contentType: output.content_type }),
          )
          return HttpServerResponse.setHeaders(response, {
            etag: `"${output.sha256}"`,
            "cache-control": "private, max-age=3600",
            "content-disposition": `inline; filename="${output.file}"`,
          })
        }).pipe(toProblem),

      logs: ({ params: { id }, query: { attempt } }) =>
        Effect.gen(function* () {
          yield* renders.get(id)
          return toJobLogs(yield* journal.readStream(TypeId.withPrefix(id, "job")), attempt)
        }).pipe(toProblem),

      events: ({ params: { id }, request }) =>
        Effect.gen(function* () {
          yield* renders.get(id)
          const jobId = TypeId.withPrefix(id, "job")
          if (wantsEventStream(request.headers)) {
            const after = (yield* ServerSentEvents.lastEventId(request)) ?? 0
            return yield* ServerSentEvents.respond(Stream.map(queue.follow(jobId, after), toRenderEvent))
          }
          const events = yield* journal.readStream(jobId)
          return {
            data: events.map(({ version, recordedAt, event }) =>
              toEventJson({ version, at: recordedAt, event: event as JobEvent }),
            ),
          }
        }).pipe(toProblem),
    })
  }),
)
