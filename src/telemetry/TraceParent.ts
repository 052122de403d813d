/**
 * W3C Trace Context as the journal keeps it: `00-<trace id>-<span id>-<flags>`.
 *
 * @source https://www.w3.org/TR/trace-context/#traceparent-header
 */

/** The ids of a span, in lower-case hexadecimal. */
export interface SpanIds {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

const pattern = /^00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})$/
const SAMPLED = 1

export const format = ({ sampled, spanId, traceId }: SpanIds): string =>
  `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`

/** The ids in a `traceparent`; `undefined` where there are none, as in one of another version. */
export const parse = (traceparent: string | undefined): SpanIds | undefined => {
  if (traceparent === undefined) return undefined
  const match = pattern.exec(traceparent)
  if (match === null) return undefined
  const [, traceId, spanId, flags] = match as unknown as readonly [string, string, string, string]
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & SAMPLED) === SAMPLED }
}
