/**
 * What the schedule routes do.
 */
import { Clock, Effect, Schema } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import { Queue } from "../../../jobs/Queue.ts"
import { nextTicks, parseKnown } from "../../../jobs/schedules/CronTime.ts"
import type { ScheduledJob } from "../../../jobs/schedules/ScheduleEvents.ts"
import { Schedules, type ScheduleSnapshot } from "../../../jobs/schedules/Schedules.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { toJobJson } from "../jobs/JobJson.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import { toInstant, toInstantOrNull } from "../Timestamp.ts"
import type { ScheduleJson } from "./Api.ts"

/** Ticks that a schedule shows in advance. */
const UPCOMING = 3

const SchedulesCursor = Cursor.make("schedules", Schema.Struct({ position: Schema.Int }))

const toScheduleJson = ({ id, state }: ScheduleSnapshot): typeof ScheduleJson.Type => {
  const { job, lastTick } = state
  const isPaused = state.status === "paused"
  const next = isPaused ? null : state.nextTickAt
  const cron = parseKnown(state.cron, state.time_zone)
  return {
    id,
    name: state.name,
    cron: state.cron,
    time_zone: state.time_zone,
    job: {
      type: job.type,
      payload: job.payload,
      queue: job.queue ?? null,
      priority: job.priority ?? null,
      max_attempts: job.max_attempts ?? null,
      timeout_ms: job.timeout_ms ?? null,
      concurrency_key: job.concurrency_key ?? null,
      tags: job.tags ?? [],
    },
    catch_up: state.catch_up,
    paused: isPaused,
    next_tick_at: toInstantOrNull(next),
    upcoming: (next === null ? [] : [next, ...nextTicks(cron, next, UPCOMING - 1)]).map(toInstant),
    last_tick:
      lastTick === undefined
        ? null
        : {
            at: toInstant(lastTick.at),
            job_id: lastTick.refused === undefined ? lastTick.job_id : null,
            refused: lastTick.refused ?? null,
          },
    created_at: toInstant(state.createdAt),
    updated_at: toInstant(state.updatedAt),
  }
}

/** A job without a payload has the payload null. */
const withPayload = ({
  payload = null,
  ...job
}: Omit<ScheduledJob, "payload"> & Partial<Pick<ScheduledJob, "payload">>): ScheduledJob => ({
  ...job,
  payload,
})

export const SchedulesLive = HttpApiBuilder.group(
  ApiV1,
  "schedules",
  Effect.fnUntraced(function* (handlers) {
    const schedules = yield* Schedules
    const queue = yield* Queue

    return handlers.handleAll({
      create: ({ payload: { job, ...wanted } }) =>
        Effect.gen(function* () {
          const created = yield* schedules.create(
            { ...wanted, job: withPayload(job) },
            yield* requestMetadata,
          )
          return HttpApiSchema.withHeaders({
            body: toScheduleJson(created),
            headers: { location: `/v1/schedules/${created.id}` },
          })
        }).pipe(toProblem),

      list: ({ query: { cursor, limit }, request }) =>
        Effect.gen(function* () {
          const before = (yield* SchedulesCursor.decode(cursor))?.position ?? Number.MAX_SAFE_INTEGER
          const rows = yield* schedules.page({ before, limit: limit + 1 })
          const positionOf = ({ position }: (typeof rows)[number]) => ({ position })
          const page = yield* Pagination.page({ request, rows, limit, cursor: SchedulesCursor, positionOf })
          const found = yield* Effect.forEach(page.body.data, ({ id }) =>
            schedules.get(id).pipe(
              Effect.map((schedule) => [toScheduleJson(schedule)]),
              // Somebody deleted it a moment ago.
              Effect.catchTag("ScheduleNotFound", () => Effect.succeed([])),
            ),
          )
          return HttpApiSchema.withHeaders({
            body: { ...page.body, data: found.flat() },
            headers: page.headers,
          })
        }).pipe(toProblem),

      get: ({ params: { id } }) => Effect.map(schedules.get(id), toScheduleJson).pipe(toProblem),

      update: ({ params: { id }, payload: { job, ...changes } }) =>
        Effect.gen(function* () {
          const changed = yield* schedules.update(
            id,
            { ...changes, job: job === undefined ? undefined : withPayload(job) },
            yield* requestMetadata,
          )
          return toScheduleJson(changed)
        }).pipe(toProblem),

      delete: ({ params: { id } }) =>
        Effect.flatMap(requestMetadata, (metadata) => schedules.delete(id, metadata)).pipe(toProblem),

      pause: ({ params: { id } }) =>
        Effect.flatMap(requestMetadata, (metadata) => schedules.pause(id, metadata)).pipe(
          Effect.map(toScheduleJson),
          toProblem,
        ),

      resume: ({ params: { id } }) =>
        Effect.flatMap(requestMetadata, (metadata) => schedules.resume(id, metadata)).pipe(
          Effect.map(toScheduleJson),
          toProblem,
        ),

      trigger: ({ params: { id } }) =>
        Effect.gen(function* () {
          const enqueued = yield* schedules.trigger(id, yield* requestMetadata)
          const job = enqueued.job ?? (yield* queue.get(enqueued.id))
          return HttpApiSchema.withHeaders({
            body: toJobJson(job, yield* Clock.currentTimeMillis),
            headers: { location: `/v1/jobs/${enqueued.id}` },
          })
        }).pipe(impossible("JobNotFound", "IdempotencyKeyReused"), toProblem),
    })
  }),
)
