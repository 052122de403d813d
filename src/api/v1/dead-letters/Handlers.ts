/**
 * What the dead-letter routes do.
 */
import { Clock, Effect, Schema } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { streamsChangedBefore } from "../../../actor/Recall.ts"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import { type JobFilter, JobList } from "../../../jobs/JobList.ts"
import { Queue } from "../../../jobs/Queue.ts"
import { Journal } from "../../../journal/Journal.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { toJobJson } from "../jobs/JobJson.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import { REDRIVE_MAX } from "./Api.ts"

const DeadLettersCursor = Cursor.make("dead-letters", Schema.Struct({ position: Schema.Int }))

const toFilter = (filter: {
  readonly queue?: string
  readonly type?: string
  readonly tag?: string
  readonly created_after?: number
  readonly created_before?: number
}): JobFilter => ({
  queue: filter.queue,
  type: filter.type,
  tag: filter.tag,
  status: "dead_letter",
  createdAfter: filter.created_after,
  createdBefore: filter.created_before,
})

export const DeadLettersLive = HttpApiBuilder.group(
  ApiV1,
  "deadLetters",
  Effect.fnUntraced(function* (handlers) {
    const queue = yield* Queue
    const list = yield* JobList
    const journal = yield* Journal

    return handlers.handleAll({
      list: ({ query, request }) =>
        Effect.gen(function* () {
          const { cursor, limit, ...filter } = query
          const before = (yield* DeadLettersCursor.decode(cursor))?.position ?? Number.MAX_SAFE_INTEGER
          const rows = yield* list.page(toFilter(filter), { before, limit: limit + 1 })
          const positionOf = ({ position }: (typeof rows)[number]) => ({ position })
          const page = yield* Pagination.page({ request, rows, limit, cursor: DeadLettersCursor, positionOf })
          const now = yield* Clock.currentTimeMillis
          const data = yield* Effect.forEach(page.body.data, ({ id }) =>
            Effect.map(queue.get(id), (job) => toJobJson(job, now)),
          )
          return HttpApiSchema.withHeaders({ body: { ...page.body, data }, headers: page.headers })
        }).pipe(impossible("JobNotFound"), toProblem),

      redrive: ({ payload }) =>
        Effect.gen(function* () {
          const { limit = REDRIVE_MAX, ...filter } = payload
          const metadata = yield* requestMetadata
          // Those that this very request has redriven already are on no list of dead letters any more.
          const before = yield* streamsChangedBefore(journal)
          const rows = yield* list.page(toFilter(filter), {
            before: Number.MAX_SAFE_INTEGER,
            limit: limit - before.length + 1,
          })
          const others = rows.map(({ id }) => id).filter((id) => !before.includes(id))
          const outcomes = yield* Effect.forEach(
            [...before, ...others].slice(0, limit),
            (id) =>
              queue.retry(id, metadata).pipe(
                Effect.as([id]),
                // Somebody else redrove it a moment ago.
                Effect.catchTag("JobConflict", () => Effect.succeed([])),
              ),
            { concurrency: "unbounded" },
          )
          return { redriven: outcomes.flat(), remaining: before.length + others.length > limit }
        }).pipe(impossible("JobNotFound"), toProblem),
    })
  }),
)
