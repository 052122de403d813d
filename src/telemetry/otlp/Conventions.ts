/**
 * What OpenTelemetry's conventions want of a span that Effect's bridge does otherwise, and the net that keeps secrets out of
 * what a caller or a handler has written.
 *
 * @source https://opentelemetry.io/docs/specs/otel/trace/api/#set-status
 */
import * as Otel from "@opentelemetry/api"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { scrub } from "../Redaction.ts"

const QUERY = "url.query"
/** Of a span: what may have in it what a caller or a handler has written. */
const FREE_TEXT = ["url.full", QUERY, "exception.message", "exception.stacktrace"]

export const cleanText = scrub

/** A query comes without the mark by which one is told. */
export const cleanQuery = (query: string): string => scrub(`?${query}`).slice(1)

/** Takes secrets out of attributes, in place. */
export const clean = (attributes: Otel.Attributes): void => {
  for (const name of FREE_TEXT) {
    const value = attributes[name]
    if (typeof value === "string") attributes[name] = name === QUERY ? cleanQuery(value) : scrub(value)
  }
}

/** A span of the SDK that has ended and is the exporter's alone. */
type OwnSpan = { -readonly [Key in keyof ReadableSpan]: ReadableSpan[Key] }

/** One that has not failed has no status, where Effect says `OK`; and there are no secrets in it. In place, as nobody else has it. */
export const makeConventional = (span: OwnSpan): void => {
  const { attributes, events, status } = span
  clean(attributes)
  for (const event of events) {
    event.name = scrub(event.name)
    if (event.attributes !== undefined) clean(event.attributes)
  }
  if (status.code === Otel.SpanStatusCode.OK) span.status = { code: Otel.SpanStatusCode.UNSET }
  else if (status.message !== undefined) span.status = { ...status, message: scrub(status.message) }
}
