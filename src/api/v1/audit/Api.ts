/**
 * The audit trail over HTTP, for administrators: what callers changed, and with which request.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { Page, pageQuery } from "../../../http/Pagination.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { Instant, Timestamp } from "../Timestamp.ts"

const FILTER_CHARACTERS_MAX = 200

const filter = (description: string) =>
  Schema.optionalKey(
    Schema.String.pipe(
      Schema.check(Schema.isNonEmpty(), Schema.isMaxLength(FILTER_CHARACTERS_MAX)),
      Schema.annotate({ description }),
    ),
  )
const moment = (description: string) => Schema.optionalKey(Timestamp.annotate({ description }))

export const AuditEntryJson = Schema.Struct({
  /** Place in the journal: `GET /v1/events?after=<position - 1>` begins with the event itself. */
  position: Schema.Int,
  at: Instant,
  /** The key's id (`key_…`) or the user's. */
  principal: Schema.String,
  /** What happened, such as `ApiKeyRevoked`. */
  type: Schema.String,
  /** To what, such as `key_…` or `queue/mail`. */
  stream: Schema.String,
  version: Schema.Int,
  /** The `X-Request-Id` of the request behind it. */
  request_id: Schema.NullOr(Schema.String),
  trace_id: Schema.NullOr(Schema.String),
}).annotate({ identifier: "AuditEntry" })

export class AuditApi extends HttpApiGroup.make("audit")
  .add(
    HttpApiEndpoint.get("list", "/v1/audit", {
      query: {
        ...pageQuery,
        principal: filter("Only what this key or user did"),
        stream: filter("Only what was done to this, such as key_… or queue/mail"),
        after: moment("Only from this moment on"),
        before: moment("Only before this moment"),
      },
      success: Page(AuditEntryJson),
      error: [InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "List what callers changed, newest first")
      .annotateMerge(requireScopes("admin")),
  )
  .middleware(Authorization)
  .annotateMerge(OpenApi.annotations({ title: "Audit", description: "Who did what, newest first" })) {}
