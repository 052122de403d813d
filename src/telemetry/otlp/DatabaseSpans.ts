/**
 * What the database does for a traced request or attempt. A commit that several share is under one of them, with links to the
 * others.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/database/database-spans/
 */
import * as Otel from "@opentelemetry/api"
import type { DatabaseOperation } from "../Observer.ts"
import * as TraceParent from "../TraceParent.ts"
import type { EndedSpan } from "./EndedSpan.ts"
import { newSpanId } from "./RecordedSpan.ts"
import type { SpanClock } from "./SpanClock.ts"

const NANOS_PER_MILLI = 1_000_000
const FAILED = { code: Otel.SpanStatusCode.ERROR }
const DONE = { code: Otel.SpanStatusCode.UNSET }

/** It had just ended when it was told. */
export const databaseSpan = (
  operation: DatabaseOperation,
  toldAt: number,
  clock: SpanClock,
): EndedSpan | undefined => {
  const [parent, ...others] = contextsOf(operation)
  if (parent === undefined) return undefined
  const { durationMs, events, name, ok, sql } = operation
  const endNanos = clock.nanosAt(toldAt)
  const attributes: Otel.Attributes = { "db.system.name": "sqlite", "db.operation.name": name }
  if (sql !== undefined) attributes["db.query.text"] = sql
  if (name === "COMMIT") attributes["renderowl.journal.events"] = events
  return {
    name: name === "COMMIT" ? "COMMIT journal" : name,
    kind: Otel.SpanKind.CLIENT,
    traceId: parent.traceId,
    spanId: newSpanId(),
    traceState: undefined,
    parentSpanId: parent.spanId,
    isParentRemote: false,
    startNanos: endNanos - Math.round(durationMs * NANOS_PER_MILLI),
    endNanos,
    common: undefined,
    attributes,
    events: [],
    links: others.map((context) => ({ context })),
    droppedAttributes: 0,
    droppedEvents: 0,
    droppedLinks: 0,
    status: ok ? DONE : FAILED,
  }
}

/** The spans that it was done for, as far as they are sampled. */
const contextsOf = ({ parent, traces }: DatabaseOperation): ReadonlyArray<Otel.SpanContext> => {
  const contexts: Array<Otel.SpanContext> = []
  const add = (ids: TraceParent.SpanIds | undefined) => {
    if (ids?.sampled === true)
      contexts.push({ traceId: ids.traceId, spanId: ids.spanId, traceFlags: Otel.TraceFlags.SAMPLED })
  }
  add(parent)
  for (const traceparent of traces) add(TraceParent.parse(traceparent))
  return contexts
}
