/**
 * What the journal is told of the request behind an event: who asked, under which request id, in which trace,
 * and whether it had an Idempotency-Key.
 */
import { Effect } from "effect"
import { CurrentRequest } from "../../http/RequestIdentity.ts"
import type { EventMetadata } from "../../journal/Journal.ts"
import { CurrentKeyedRequest } from "../../security/KeyedRequest.ts"
import { CurrentPrincipal } from "../../security/Principal.ts"
import * as TraceParent from "../../telemetry/TraceParent.ts"

/** The metadata of the current request. */
export const requestMetadata: Effect.Effect<EventMetadata, never, CurrentPrincipal> = Effect.gen(
  function* () {
    const { id } = yield* CurrentPrincipal
    const keyed = yield* CurrentKeyedRequest
    const caused = keyed === undefined ? {} : { keyed_request: keyed.id }
    const request = yield* CurrentRequest
    if (request === undefined) return { principal: id, ...caused }
    return {
      principal: id,
      correlation_id: request.requestId,
      traceparent: TraceParent.format(request),
      ...caused,
    }
  },
)
