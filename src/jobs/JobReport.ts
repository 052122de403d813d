/**
 * Tells the observer what has become of jobs, once it is durable: which were taken in, which attempts have ended and how, and
 * which jobs have. Told from a job as it was before a turn and as it is after, so that a lost process is told as well.
 */
import type { AttemptOutcome, EndedAttempt, Observer } from "../telemetry/Observer.ts"
import type * as TraceParent from "../telemetry/TraceParent.ts"
import { isFinished, type JobState } from "./JobState.ts"
import { type JobTrace, originOf } from "./JobTrace.ts"

/** A job of a turn. */
interface ChangedJob {
  readonly id: string
  readonly before: JobState
  readonly state: JobState
  readonly trace?: JobTrace | undefined
}

/** A job has been committed. `span` is that of the attempt that ran here, if it had one. */
export const reportChange = (
  observer: Observer,
  job: ChangedJob,
  span: TraceParent.SpanIds | undefined,
): void => {
  const { before, state } = job
  if (before.status === "absent") observer.tell("enqueued", { queue: state.queue, type: state.type })
  const hasEnded = isFinished(state) && !isFinished(before)
  const hasAttemptEnded =
    before.status === "processing" && (state.status !== "processing" || state.attempt !== before.attempt)
  if (hasAttemptEnded) observer.tell("attempt", endedAttempt(job, hasEnded, span))
  if (hasEnded) {
    observer.tell("job", {
      queue: state.queue,
      type: state.type,
      outcome: outcomeOfJob(state)!,
      totalMs: state.finishedAt! - state.enqueuedAt,
      waiting: hasAttemptEnded ? undefined : { job: job.id, ...originOf(job.trace, undefined) },
    })
  }
}

const endedAttempt = (
  { before, id, state, trace }: ChangedJob,
  hasEnded: boolean,
  span: TraceParent.SpanIds | undefined,
): EndedAttempt => {
  const attempt = state.attempts.findLast(({ number }) => number === before.attempt)!
  return {
    job: id,
    queue: state.queue,
    type: state.type,
    attempt: attempt.number,
    outcome: outcomeOf(attempt.outcome!, attempt.stallReason),
    error: attempt.error,
    waitMs: attempt.waitMs,
    processingMs: attempt.endedAt! - attempt.startedAt,
    jobOutcome: hasEnded ? outcomeOfJob(state) : undefined,
    ...originOf(trace, span),
    spanId: span?.spanId,
  }
}

const outcomeOf = (
  outcome: "completed" | "failed" | "stalled" | "cancelled",
  stallReason: string | undefined,
): AttemptOutcome => (stallReason === "handed_back" ? "handed_back" : outcome)

const outcomeOfJob = ({ status }: JobState) =>
  status === "completed" || status === "dead_letter" || status === "cancelled" ? status : undefined
