/**
 * What the job routes do.
 */
import { Clock, Effect, Schema, Stream } from "effect"
import { type Headers, HttpServerResponse } from "effect/http"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { wantsEventStream } from "../../../http/Accept.ts"
import { etagOf, weakEtagOf } from "../../../http/Conditional.ts"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import * as Prefer from "../../../http/Prefer.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { JobNotCancellableProblem } from "../../../http/ResourceProblems.ts"
import * as ServerSentEvents from "../../../http/ServerSentEvents.ts"
import { loadJob } from "../../../jobs/Enqueue.ts"
import { JobNotFound } from "../../../jobs/JobErrors.ts"
import { isJobEvent, type JobEvent } from "../../../jobs/JobEvents.ts"
import { JobList } from "../../../jobs/JobList.ts"
import { isFinished, statusAt } from "../../../jobs/JobState.ts"
import type { JobUpdate } from "../../../jobs/JobFeed.ts"
import { Queue } from "../../../jobs/Queue.ts"
import type { Submission } from "../../../jobs/Submission.ts"
import { type EventMetadata, Journal, type RecordedEvent } from "../../../journal/Journal.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import { toInstant } from "../Timestamp.ts"
import type { JobLogs, NewJob } from "./Api.ts"
import { type Job, type JobJson, toJobJson, toProgressJson } from "./JobJson.ts"

const JobsCursor = Cursor.make("jobs", Schema.Struct({ position: Schema.Int }))

/** The submission that a request body stands for. */
const toSubmission = (
  job: typeof NewJob.Type & { readonly ref?: string },
  now: number,
  metadata: EventMetadata,
): Submission => ({
  type: job.type,
  payload: job.payload ?? null,
  queue: job.queue,
  priority: job.priority,
  dueAt: job.delay_ms === undefined ? job.scheduled_at : now + job.delay_ms,
  maxAttempts: job.max_attempts,
  timeoutMs: job.timeout_ms,
  expiresAt: job.expires_at,
  idempotencyKey: job.idempotency_key,
  concurrencyKey: job.concurrency_key,
  dependsOn: job.depends_on,
  onDependencyFailure: job.on_dependency_failure,
  ref: job.ref,
  tags: job.tags,
  metadata,
})

/** One event as JSON: its type, and its data without the tag. */
export const toEventJson = (update: {
  readonly version: number
  readonly at: number
  readonly event: JobEvent
}) => {
  const { _tag: type, ...data } = update.event
  return { version: update.version, type, recorded_at: toInstant(update.at), data }
}

/** What the attempts of a job (or one of them) have logged. */
export const toJobLogs = (
  events: ReadonlyArray<RecordedEvent>,
  attempt: number | undefined,
): typeof JobLogs.Type => {
  const data: Array<(typeof JobLogs.Type)["data"][number]> = []
  const dropped = new Map<number, number>()
  for (const { event } of events) {
    if (!isJobEvent(event) || event._tag !== "JobLogged") continue
    if (attempt !== undefined && event.attempt !== attempt) continue
    for (const line of event.lines)
      data.push({ ...line, attempt: event.attempt, at: toInstant(line.at), data: line.data ?? null })
    dropped.set(event.attempt, event.dropped ?? 0)
  }
  return { data, dropped: dropped.values().reduce((sum, lines) => sum + lines, 0) }
}

/** A job's update on the wire: journaled events carry their version as id, live progress carries none. */
export const toServerSentEvent = (update: JobUpdate): ServerSentEvents.ServerSentEvent =>
  update._tag === "Progress"
    ? { event: "progress", data: toProgressJson(update.progress) }
    : { id: update.version, event: update.event._tag, data: toEventJson(update) }

/**
 * Sends a job as it is. The schema describes it but need not encode it again: on submission that was 65 of 430 µs a
 * request (measured).
 */
const respond = (
  body: typeof JobJson.Type,
  options: { readonly status: 200 | 202; readonly headers?: Readonly<Record<string, string>> },
) => HttpServerResponse.jsonUnsafe(body, options)

/**
 * A job that has ended is its version. One that has not changes with the moment as well: what it has spent is counted up to
 * now, so the same version is not the same bytes, and nobody needs to fetch it again for that alone.
 */
const etagOfJob = ({ liveProgress, state, version }: Job, now: number): string =>
  isFinished(state) && liveProgress === undefined
    ? etagOf(version)
    : weakEtagOf(version, statusAt(state, now), liveProgress)

export const JobsLive = HttpApiBuilder.group(
  ApiV1,
  "jobs",
  Effect.fnUntraced(function* (handlers) {
    const queue = yield* Queue
    const list = yield* JobList
    const journal = yield* Journal

    const show = (id: string) =>
      Effect.gen(function* () {
        return toJobJson(yield* queue.get(id), yield* Clock.currentTimeMillis)
      })

    // The two that are asked for most are generators of their own: one that is written anew for each request gets a hidden
    // class each time, 3 µs by itself, and keeps the request from the young generation's collector (measured).
    const submit = Effect.fnUntraced(
      function* (payload: typeof NewJob.Type, headers: Headers.Headers) {
        const now = yield* Clock.currentTimeMillis
        const {
          id,
          deduplicated,
          job: enqueued,
        } = yield* queue.submit(toSubmission(payload, now, yield* requestMetadata))
        const wait = Prefer.wait(headers)
        if (wait !== undefined) yield* Effect.timeoutOption(queue.await(id), wait.duration)
        const job = wait === undefined && enqueued !== undefined ? enqueued : yield* queue.get(id)
        // Taken in, to be followed at Location; or ended in time, or known by its idempotency key already.
        const isKnown = deduplicated || (wait !== undefined && isFinished(job.state))
        return respond(toJobJson(job, yield* Clock.currentTimeMillis), {
          status: isKnown ? 200 : 202,
          headers: { location: `/v1/jobs/${id}`, ...wait?.headers },
        })
      },
      impossible("JobNotFound"),
      toProblem,
    )

    const get = Effect.fnUntraced(function* (
      id: string,
      { at, version }: { readonly at?: number; readonly version?: number },
    ) {
      if (at !== undefined && version !== undefined)
        return yield* new InvalidRequestProblem({ detail: "Give either version or at, not both." })
      const isPast = at !== undefined || version !== undefined
      const job = isPast ? yield* loadJob(journal, id, { version, at }) : yield* queue.get(id)
      if (job.version === 0) return yield* new JobNotFound({ id })
      if (version !== undefined && job.version < version)
        return yield* new InvalidRequestProblem({ detail: `The job is at version ${job.version}.` })
      const now = yield* Clock.currentTimeMillis
      const moment = Math.min(at ?? now, now)
      return respond(toJobJson(job, moment), { status: 200, headers: { etag: etagOfJob(job, moment) } })
    }, toProblem)

    return handlers.handleAll({
      submit: ({ payload, request }) => submit(payload, request.headers),

      submitBatch: ({ payload }) =>
        Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          const metadata = yield* requestMetadata
          const data = yield* queue.submitBatch(payload.jobs.map((job) => toSubmission(job, now, metadata)))
          return { data }
        }).pipe(toProblem),

      list: ({ query, request }) =>
        Effect.gen(function* () {
          const {
            cursor,
            limit,
            created_after: createdAfter,
            created_before: createdBefore,
            ...filter
          } = query
          const before = (yield* JobsCursor.decode(cursor))?.position ?? Number.MAX_SAFE_INTEGER
          const rows = yield* list.page(
            { ...filter, createdAfter, createdBefore },
            { before, limit: limit + 1 },
          )
          const page = yield* Pagination.page({
            request,
            rows,
            limit,
            cursor: JobsCursor,
            positionOf: ({ position }) => ({ position }),
          })
          const data = yield* Effect.forEach(page.body.data, ({ id }) => show(id))
          return HttpApiSchema.withHeaders({ body: { ...page.body, data }, headers: page.headers })
        }).pipe(impossible("JobNotFound"), toProblem),

      get: ({ params: { id }, query }) => get(id, query),

      logs: ({ params: { id }, query: { attempt } }) =>
        Effect.gen(function* () {
          yield* queue.get(id)
          return toJobLogs(yield* journal.readStream(id), attempt)
        }).pipe(toProblem),

      events: ({ params: { id }, request }) =>
        Effect.gen(function* () {
          yield* queue.get(id)
          if (wantsEventStream(request.headers)) {
            const after = (yield* ServerSentEvents.lastEventId(request)) ?? 0
            return yield* ServerSentEvents.respond(Stream.map(queue.follow(id, after), toServerSentEvent))
          }
          const events = yield* journal.readStream(id)
          return {
            data: events.map(({ version, recordedAt, event }) =>
              toEventJson({ version, at: recordedAt, event: event as JobEvent }),
            ),
          }
        }).pipe(toProblem),

      cancel: ({ params: { id } }) =>
        Effect.gen(function* () {
          yield* queue.cancel(id, undefined, yield* requestMetadata)
          return yield* show(id)
        }).pipe(
          Effect.catchTag("JobConflict", ({ status }) =>
            Effect.fail(new JobNotCancellableProblem({ current_status: status })),
          ),
          toProblem,
        ),

      retry: ({ params: { id } }) =>
        Effect.gen(function* () {
          yield* queue.retry(id, yield* requestMetadata)
          return yield* show(id)
        }).pipe(toProblem),

      reschedule: ({ params: { id }, payload }) =>
        Effect.gen(function* () {
          yield* queue.reschedule(id, payload.scheduled_at, yield* requestMetadata)
          return yield* show(id)
        }).pipe(toProblem),

      prioritize: ({ params: { id }, payload }) =>
        Effect.gen(function* () {
          yield* queue.prioritize(id, payload.priority, yield* requestMetadata)
          return yield* show(id)
        }).pipe(toProblem),
    })
  }),
)
