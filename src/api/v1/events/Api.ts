/**
 * The journal over HTTP, for administrators: every event of every stream, in the order in which they were committed.
 */
import { Effect, Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { Authorization, requireScopes } from "../../../http/Authorization.ts"
import { InvalidRequestProblem } from "../../../http/RequestProblems.ts"
import { EventStream } from "../../../http/ServerSentEvents.ts"
import { StoredJson } from "../../../security/BoundedJson.ts"
import { StoreProblems } from "../DomainProblems.ts"
import { Instant } from "../Timestamp.ts"

/** Events of one answer. */
const EVENTS_MAX = 1_000
const EVENTS_DEFAULT = 100

const between = (minimum: number, maximum: number) =>
  Schema.Int.pipe(Schema.check(Schema.isBetween({ minimum, maximum })))

export const EventJson = Schema.Struct({
  /** Place in the whole journal: what `after` and `Last-Event-ID` count. */
  position: Schema.Int,
  stream: Schema.String,
  version: Schema.Int,
  type: Schema.String,
  recorded_at: Instant,
  metadata: Schema.NullOr(
    Schema.Struct({
      principal: Schema.optionalKey(Schema.String),
      correlation_id: Schema.optionalKey(Schema.String),
      causation_id: Schema.optionalKey(Schema.String),
      traceparent: Schema.optionalKey(Schema.String),
      /** The same for all events of one request with an Idempotency-Key. */
      keyed_request: Schema.optionalKey(Schema.String),
    }),
  ),
  data: StoredJson,
}).annotate({ identifier: "Event" })

export class EventsApi extends HttpApiGroup.make("events")
  .add(
    HttpApiEndpoint.get("list", "/v1/events", {
      query: {
        /** The position after which to begin. */
        after: between(0, Number.MAX_SAFE_INTEGER).pipe(Schema.withDecodingDefaultKey(Effect.succeed(0))),
        limit: between(1, EVENTS_MAX).pipe(Schema.withDecodingDefaultKey(Effect.succeed(EVENTS_DEFAULT))),
      },
      // As JSON up to the newest event; or live, without end.
      success: [Schema.Struct({ data: Schema.Array(EventJson), has_more: Schema.Boolean }), EventStream],
      error: [InvalidRequestProblem, ...StoreProblems],
    })
      .annotate(OpenApi.Summary, "Read or follow the journal")
      .annotateMerge(requireScopes("admin")),
  )
  .middleware(Authorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Events", description: "The journal itself, for administrators" }),
  ) {}
