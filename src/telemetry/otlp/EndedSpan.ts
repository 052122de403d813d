/**
 * A span that has ended, as it is written down for the collector: one plain object, as there is one for each request.
 */
import type { Attributes, Link, SpanKind, SpanStatus } from "@opentelemetry/api"

export interface SpanEvent {
  readonly name: string
  /** Nanoseconds since 1970. */
  readonly nanos: number
  readonly attributes: Attributes
  readonly droppedAttributes: number
}

export interface EndedSpan {
  readonly name: string
  readonly kind: SpanKind
  readonly traceId: string
  readonly spanId: string
  /** As W3C writes it, where there is one. */
  readonly traceState: string | undefined
  readonly parentSpanId: string | undefined
  /** Whether the parent is in another process. */
  readonly isParentRemote: boolean
  /** Nanoseconds since 1970, to a quarter of a microsecond, which is what a double has room for. */
  readonly startNanos: number
  readonly endNanos: number
  /** Attributes that it has in common with many others: written already. */
  readonly common: Uint8Array | undefined
  readonly attributes: Attributes
  readonly events: ReadonlyArray<SpanEvent>
  readonly links: ReadonlyArray<Link>
  /** How many there were of each that are not kept. */
  readonly droppedAttributes: number
  readonly droppedEvents: number
  readonly droppedLinks: number
  readonly status: SpanStatus
}
