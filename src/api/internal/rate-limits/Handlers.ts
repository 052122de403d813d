/**
 * What the routes of rate limits do. The list goes on behind the last refusal of the page before: who is refused again meanwhile
 * moves to the front, and nobody is missed who does not.
 */
import { Effect, Schema } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import { RateLimits } from "../../../http/rate-limits/RateLimits.ts"
import type { Violation } from "../../../http/rate-limits/Violations.ts"
import { ApiV1 } from "../../v1/ApiV1.ts"
import { toInstant } from "../../v1/Timestamp.ts"
import type { ViolationJson } from "./Api.ts"

const ViolationsCursor = Cursor.make("rate-limit-violations", Schema.Struct({ sequence: Schema.Int }))

const toJson = (violation: Violation): typeof ViolationJson.Type => {
  const { caller, count, firstAt, kind, lastAt, policy, route } = violation
  return { caller, kind, route, policy, count, first_at: toInstant(firstAt), last_at: toInstant(lastAt) }
}

export const RateLimitsLive = HttpApiBuilder.group(
  ApiV1,
  "rate-limits",
  Effect.fnUntraced(function* (handlers) {
    const limits = yield* RateLimits
    return handlers.handleAll({
      get: () =>
        Effect.sync(() => {
          const { isFileInUse, ...counts } = limits.stats()
          return { ...counts, file: isFileInUse ? ("in_use" as const) : ("bypassed" as const) }
        }),
      violations: ({ query: { cursor, limit }, request }) =>
        Effect.gen(function* () {
          const before = (yield* ViolationsCursor.decode(cursor))?.sequence
          const page = yield* Pagination.page({
            request,
            rows: limits.violations(before).slice(0, limit + 1),
            limit,
            cursor: ViolationsCursor,
            positionOf: ({ sequence }) => ({ sequence }),
          })
          return HttpApiSchema.withHeaders({
            body: { ...page.body, data: page.body.data.map(toJson) },
            headers: page.headers,
          })
        }),
    })
  }),
)
