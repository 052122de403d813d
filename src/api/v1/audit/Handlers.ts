/**
 * What the audit route does.
 */
import { Effect, Schema } from "effect"
import { HttpApiBuilder, HttpApiSchema } from "effect/http-api"
import { type AuditEntry, AuditTrail } from "../../../domain/audit/AuditTrail.ts"
import * as Cursor from "../../../http/Cursor.ts"
import * as Pagination from "../../../http/Pagination.ts"
import { ApiV1 } from "../ApiV1.ts"
import { toProblem } from "../DomainProblems.ts"
import { toInstant } from "../Timestamp.ts"
import type { AuditEntryJson } from "./Api.ts"

const AuditCursor = Cursor.make(
  "audit",
  Schema.Struct({ position: Schema.Int, version: Schema.Int, recordedAt: Schema.Int }),
)

const positionOf = ({ position, recordedAt, version }: AuditEntry) => ({ position, version, recordedAt })

const toJson = ({
  metadata: { correlation_id, principal = "", traceparent },
  position,
  recordedAt,
  stream,
  type,
  version,
}: AuditEntry): typeof AuditEntryJson.Type => ({
  position,
  at: toInstant(recordedAt),
  principal,
  type,
  stream,
  version,
  request_id: correlation_id ?? null,
  trace_id: traceparent?.split("-")[1] ?? null,
})

export const AuditLive = HttpApiBuilder.group(
  ApiV1,
  "audit",
  Effect.fnUntraced(function* (handlers) {
    const trail = yield* AuditTrail

    return handlers.handleAll({
      list: ({ query: { cursor, limit, ...filters }, request }) =>
        Effect.gen(function* () {
          const behind = yield* AuditCursor.decode(cursor)
          const rows = yield* trail.read({ ...filters, behind, limit: limit + 1 })
          const page = yield* Pagination.page({ request, rows, limit, cursor: AuditCursor, positionOf })
          return HttpApiSchema.withHeaders({
            body: { ...page.body, data: page.body.data.map(toJson) },
            headers: page.headers,
          })
        }).pipe(toProblem),
    })
  }),
)
