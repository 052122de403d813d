/**
 * Who a request is, for logs, traces and the caller's own records: the request id and the W3C trace context it belongs to.
 * It is read from the headers once, at the edge, and echoed on every answer. Malformed headers are ignored, never refused.
 *
 * @source https://www.w3.org/TR/trace-context/ ; the `X-Trace-*` headers are accepted when `traceparent` is absent
 */
import { Context, type Fiber, Option, Tracer } from "effect"
import { type Headers, HttpTraceContext } from "effect/http"
import { randomFillSync } from "node:crypto"

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

/** Random bytes are drawn from the system 8 KiB at a time: a request needs 40, and a draw costs more than 40 bytes do. */
const RANDOM_POOL_BYTES = 8192
const RANDOM_BYTES_PER_REQUEST = 40
const pool = Buffer.alloc(RANDOM_POOL_BYTES)
let used = RANDOM_POOL_BYTES

const randomHex = (): string => {
  if (used + RANDOM_BYTES_PER_REQUEST > RANDOM_POOL_BYTES) {
    randomFillSync(pool)
    used = 0
  }
  const start = used
  used += RANDOM_BYTES_PER_REQUEST
  return pool.toString("hex", start, used)
}

/**
 * Makes the identity. `span` is the tracer's server span, when one is recorded; its ids win. `isTracing`: where there is none, the
 * request is not recorded, and nobody who works for it should be.
 */
export const fromHeaders = (
  headers: Headers.Headers,
  span: Tracer.AnySpan | undefined,
  isTracing = false,
): RequestIdentity => {
  const random = randomHex()
  const given = headers["x-request-id"]
  const requestId = given !== undefined && requestIdPattern.test(given) ? given : `req_${random.slice(48)}`
  if (span !== undefined) {
    const parent = span._tag === "Span" ? Option.getOrUndefined(span.parent) : undefined
    return {
      requestId,
      traceId: span.traceId,
      spanId: span.spanId,
      parentSpanId: parent?.spanId,
      sampled: span.sampled,
      principal: undefined,
    }
  }
  const caller = callerSpan(headers)
  return {
    requestId,
    traceId: caller?.traceId ?? random.slice(0, 32),
    spanId: random.slice(32, 48),
    parentSpanId: caller?.spanId,
    sampled: !isTracing && (caller?.sampled ?? true),
    principal: undefined,
  }
}

/** An identity for an answer to something that never became a request. */
export const anonymous = (): RequestIdentity => {
  const random = randomHex()
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
