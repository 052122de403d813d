/**
 * The trace that a job belongs to, as its journal has it: the request and span that it was submitted in, and the span of its
 * last attempt. It travels with the job from process to process; nobody decides on it.
 */
import type { EventMetadata } from "../journal/Journal.ts"
import type { JobOrigin } from "../telemetry/Observer.ts"
import * as TraceParent from "../telemetry/TraceParent.ts"
import type { JobEvent } from "./JobEvents.ts"

export interface JobTrace {
  /** Of the event that enqueued it. */
  readonly submitted: EventMetadata
  /** W3C `traceparent` of the last attempt that ended without success and could say so: one that was killed could not. */
  readonly lastAttempt: string | undefined
}

/** The trace of a job after one more event of it. Most events change nothing. */
export const traceAfter = (
  trace: JobTrace | undefined,
  { _tag }: JobEvent,
  metadata: EventMetadata | undefined,
): JobTrace | undefined => {
  if (metadata === undefined) return trace
  if (_tag === "JobEnqueued") return { submitted: metadata, lastAttempt: undefined }
  if (_tag !== "JobAttemptFailed" && _tag !== "JobStalled") return trace
  return { submitted: trace?.submitted ?? {}, lastAttempt: metadata.traceparent ?? trace?.lastAttempt }
}

/** What requests and logs know it by. `span`: of its attempt, if that has one. */
export const originOf = (trace: JobTrace | undefined, span: TraceParent.SpanIds | undefined): JobOrigin => ({
  requestId: trace?.submitted.correlation_id,
  traceId: (span ?? TraceParent.parse(trace?.submitted.traceparent))?.traceId,
})

/** What the journal is told of the span of an attempt. */
export const metadataOf = (span: TraceParent.SpanIds | undefined): EventMetadata | undefined =>
  span === undefined ? undefined : { traceparent: TraceParent.format(span) }
