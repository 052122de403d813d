/**
 * What the journal is told of the request behind an event: who asked, under which request id, in which trace.
 */
import { Effect } from "effect"
import { CurrentRequest } from "../../http/RequestIdentity.ts"
import type { EventMetadata } from "../../journal/Journal.ts"
import { CurrentPrincipal } from "../../security/Principal.ts"

/** The metadata of the current request. */
export const requestMetadata: Effect.Effect<EventMetadata, never, CurrentPrincipal> = Effect.gen(
  function* () {
    const { id } = yield* CurrentPrincipal
    const request = yield* CurrentRequest
    if (request === undefined) return { principal: id }
    const { requestId, sampled, spanId, traceId } = request
    return {
      principal: id,
      correlation_id: requestId,
      traceparent: `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`,
    }
  },
)
