/**
 * What OpenTelemetry's conventions want of a span that Effect's bridge does otherwise, and the net that keeps secrets out of
 * what a caller or a handler has written.
 *
 * @source https://opentelemetry.io/docs/specs/otel/trace/api/#set-status
 */
import * as Otel from "@opentelemetry/api"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { scrub } from "../Redaction.ts"
import type { EndedSpan } from "./EndedSpan.ts"

const NANOS_PER_SECOND = 1_000_000_000
const QUERY = "url.query"
/** Of a span: what may have in it what a caller or a handler has written. */
const FREE_TEXT = ["url.full", QUERY, "exception.message", "exception.stacktrace"]

export const cleanText = scrub

/** A query comes without the mark by which one is told. */
export const cleanQuery = (query: string): string => scrub(`?${query}`).slice(1)

/** Attributes without secrets. */
export const cleaned = (attributes: Otel.Attributes): Otel.Attributes => {
  const all = { ...attributes }
  for (const name of FREE_TEXT) {
    const value = all[name]
    if (typeof value === "string") all[name] = name === QUERY ? cleanQuery(value) : scrub(value)
  }
  return all
}

/**
 * A span of the SDK that has ended, as it is written. One that has not failed has no status, where Effect says `OK`; and there are
 * no secrets in it.
 */
export const endedSpan = (span: ReadableSpan): EndedSpan => {
  const { parentSpanContext, status } = span
  const { spanId, traceId, traceState } = span.spanContext()
  return {
    name: span.name,
    kind: span.kind,
    traceId,
    spanId,
    traceState: traceState?.serialize(),
    parentSpanId: parentSpanContext?.spanId,
    isParentRemote: parentSpanContext?.isRemote === true,
    startNanos: nanosOf(span.startTime),
    endNanos: nanosOf(span.endTime),
    common: undefined,
    attributes: cleaned(span.attributes),
    events: span.events.map(({ attributes, droppedAttributesCount, name, time }) => ({
      name: scrub(name),
      nanos: nanosOf(time),
      attributes: attributes === undefined ? {} : cleaned(attributes),
      droppedAttributes: droppedAttributesCount ?? 0,
    })),
    links: span.links,
    droppedAttributes: span.droppedAttributesCount,
    droppedEvents: span.droppedEventsCount,
    droppedLinks: span.droppedLinksCount,
    status:
      status.code !== Otel.SpanStatusCode.ERROR
        ? { code: Otel.SpanStatusCode.UNSET }
        : status.message === undefined
          ? status
          : { code: status.code, message: scrub(status.message) },
  }
}

const nanosOf = ([seconds, nanos]: Otel.HrTime): number => seconds * NANOS_PER_SECOND + nanos
