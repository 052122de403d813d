/**
 * Who a request is, for logs, traces and the caller's own records: the request id and the W3C trace context it belongs to.
 * It is read from the headers once, at the edge, and echoed on every answer. Malformed headers are ignored, never refused.
 *
 * @source https://www.w3.org/TR/trace-context/ ; the `X-Trace-*` headers are accepted when `traceparent` is absent
 */
import { Context, type Fiber, Option } from "effect"
import { type Headers, HttpTraceContext } from "effect/http"
import { randomHex } from "../telemetry/RandomHex.ts"
import type { RequestTracer } from "../telemetry/Tracing.ts"

/** The identity of one request; ids are lower-case hexadecimal, `requestId` is a token of at most 128 characters. */
export interface RequestIdentity {
  readonly requestId: string
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
  readonly sampled: boolean
  /** Id of the caller, once that is recognised: written by whoever recognises it, for the request's summary. */
  principal: string | undefined
}

/** The identity of the request that the current fiber serves; `undefined` outside of one. */
export const CurrentRequest = Context.Reference<RequestIdentity | undefined>(
  "renderowl/http/CurrentRequest",
  {
    defaultValue: () => undefined,
  },
)

/** The caller of the fiber's request is recognised. */
export const recognised = (fiber: Fiber.Fiber<unknown, unknown>, principal: string): void => {
  const identity = fiber.getRef(CurrentRequest)
  if (identity !== undefined) identity.principal = principal
}

/** A caller's own request id is kept when it is a plain token: it goes into headers and log lines. */
const requestIdPattern = /^[\w.:+/=@-]{1,128}$/
const traceIdPattern = /^(?!0{32})[0-9a-f]{32}$/
const spanIdPattern = /^(?!0{16})[0-9a-f]{16}$/

/** 16 for the trace, 8 for the span, and 16 for the request. */
const RANDOM_BYTES_PER_REQUEST = 40

/** Makes the identity. Where requests are traced, `tracer` says whether this one, at this address, is recorded. */
export const fromHeaders = (
  headers: Headers.Headers,
  url = "",
  tracer?: RequestTracer | undefined,
): RequestIdentity => {
  const random = randomHex(RANDOM_BYTES_PER_REQUEST)
  const given = headers["x-request-id"]
  const requestId = given !== undefined && requestIdPattern.test(given) ? given : `req_${random.slice(48)}`
  const caller = callerSpan(headers)
  const traceId = caller?.traceId ?? random.slice(0, 32)
  return {
    requestId,
    traceId,
    spanId: random.slice(32, 48),
    parentSpanId: caller?.spanId,
    sampled: tracer?.isRecorded(url, traceId, caller?.sampled) ?? caller?.sampled ?? true,
    principal: undefined,
  }
}

/** An identity for an answer to something that never became a request. */
export const anonymous = (): RequestIdentity => {
  const random = randomHex(RANDOM_BYTES_PER_REQUEST)
  return {
    requestId: `req_${random.slice(48)}`,
    traceId: random.slice(0, 32),
    spanId: random.slice(32, 48),
    parentSpanId: undefined,
    sampled: true,
    principal: undefined,
  }
}

const callerSpan = (
  headers: Headers.Headers,
):
  | { readonly traceId: string; readonly spanId: string | undefined; readonly sampled: boolean }
  | undefined => {
  if (headers["traceparent"] !== undefined) {
    const parsed = Option.getOrUndefined(HttpTraceContext.w3c(headers))
    if (parsed !== undefined) return parsed
  }
  const traceId = headers["x-trace-id"]
  if (traceId === undefined || !traceIdPattern.test(traceId)) return undefined
  // A caller without a span of its own passes on the one it was called under.
  const spanId = headers["x-span-id"] ?? headers["x-parent-span-id"]
  const sampled = headers["x-trace-sampled"]
  return {
    traceId,
    spanId: spanId !== undefined && spanIdPattern.test(spanId) ? spanId : undefined,
    sampled: sampled !== "0" && sampled !== "false",
  }
}
