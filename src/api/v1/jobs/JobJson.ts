/**
 * A job as clients see it, and how it is made from the job's state.
 */
import { Schema } from "effect"
import {
  CancelCause,
  DependencyFailurePolicy,
  JobFailure,
  Priority,
  StallReason,
} from "../../../jobs/JobEvents.ts"
import {
  type AttemptRecord,
  JOB_STATUSES,
  type JobState,
  type ProgressRecord,
  statusAt,
} from "../../../jobs/JobState.ts"
import { StoredJson } from "../../../security/BoundedJson.ts"
import { Instant, toInstant, toInstantOrNull } from "../Timestamp.ts"

const Progress = Schema.Struct({
  attempt: Schema.Int,
  percent: Schema.Finite,
  message: Schema.NullOr(Schema.String),
  detail: StoredJson,
  updated_at: Instant,
})

const Attempt = Schema.Struct({
  number: Schema.Int,
  worker: Schema.String,
  started_at: Instant,
  ended_at: Schema.NullOr(Instant),
  outcome: Schema.NullOr(Schema.Literals(["completed", "failed", "stalled", "cancelled"])),
  stall_reason: Schema.NullOr(StallReason),
  wait_ms: Schema.Int,
  processing_ms: Schema.NullOr(Schema.Int),
  error: Schema.NullOr(JobFailure),
})

const Step = Schema.Struct({
  name: Schema.String,
  attempt: Schema.Int,
  completed_at: Instant,
  result: StoredJson,
})

export const JobStatusName = Schema.Literals(JOB_STATUSES).annotate({ identifier: "JobStatus" })

export const JobJson = Schema.Struct({
  id: Schema.String,
  type: Schema.String,
  queue: Schema.String,
  status: JobStatusName,
  priority: Priority,
  payload: StoredJson,
  tags: Schema.Array(Schema.String),
  idempotency_key: Schema.NullOr(Schema.String),
  concurrency_key: Schema.NullOr(Schema.String),
  /** The jobs that it had to wait for when it was submitted. */
  depends_on: Schema.Array(Schema.String),
  /** Those of them that have not ended as they should, yet. */
  waits_for: Schema.Array(Schema.String),
  on_dependency_failure: Schema.NullOr(DependencyFailurePolicy),
  attempt: Schema.Int,
  max_attempts: Schema.Int,
  timeout_ms: Schema.Int,
  /** Of the job's stream: what `?version=` and `Last-Event-ID` count. */
  version: Schema.Int,
  created_at: Instant,
  due_at: Instant,
  expires_at: Schema.NullOr(Instant),
  started_at: Schema.NullOr(Instant),
  finished_at: Schema.NullOr(Instant),
  progress: Schema.NullOr(Progress),
  result: StoredJson,
  error: Schema.NullOr(JobFailure),
  /** Why it was cancelled: `cause` is null when somebody wanted it. */
  cancelled: Schema.NullOr(
    Schema.Struct({ cause: Schema.NullOr(CancelCause), reason: Schema.NullOr(Schema.String) }),
  ),
  steps: Schema.Array(Step),
  attempts: Schema.Array(Attempt),
  metrics: Schema.Struct({
    /** Of the newest attempt: from being due to being started. */
    wait_ms: Schema.NullOr(Schema.Int),
    /** All attempts together. */
    processing_ms: Schema.Int,
    /** From being enqueued to the end. */
    total_ms: Schema.NullOr(Schema.Int),
    retry_count: Schema.Int,
  }),
}).annotate({ identifier: "Job" })

export interface Job {
  readonly id: string
  readonly state: JobState
  readonly version: number
  readonly liveProgress?: ProgressRecord | undefined
}

/** The job at the moment `now`, ready to be sent: what it is made of was checked on its way in. */
export const toJobJson = ({ id, state, version, liveProgress }: Job, now: number): typeof JobJson.Type => {
  const newest = state.attempts.at(-1)
  return {
    id,
    type: state.type,
    queue: state.queue,
    status: statusAt(state, now),
    priority: state.priority,
    payload: state.payload,
    tags: state.tags,
    idempotency_key: state.idempotencyKey ?? null,
    concurrency_key: state.concurrencyKey ?? null,
    depends_on: state.dependencies?.on ?? [],
    waits_for: state.dependencies?.outstanding ?? [],
    on_dependency_failure: state.dependencies?.onFailure ?? null,
    attempt: state.attempt,
    max_attempts: state.maxAttempts,
    timeout_ms: state.timeoutMs,
    version,
    created_at: toInstant(state.enqueuedAt),
    due_at: toInstant(state.dueAt),
    expires_at: toInstantOrNull(state.expiresAt),
    started_at: toInstantOrNull(state.attempts[0]?.startedAt),
    finished_at: toInstantOrNull(state.finishedAt),
    progress: toProgressJson(liveProgress ?? state.progress),
    result: state.result ?? null,
    error: state.error ?? null,
    cancelled:
      state.cancelled === undefined
        ? null
        : { cause: state.cancelled.cause ?? null, reason: state.cancelled.reason ?? null },
    steps: state.steps.map(({ completedAt, ...step }) => ({ ...step, completed_at: toInstant(completedAt) })),
    attempts: state.attempts.map(toAttemptJson),
    metrics: {
      wait_ms: newest?.waitMs ?? null,
      processing_ms: state.attempts.reduce((sum, attempt) => sum + (processingMs(attempt, now) ?? 0), 0),
      total_ms: state.finishedAt === undefined ? null : state.finishedAt - state.enqueuedAt,
      retry_count: Math.max(0, state.attempt - 1),
    },
  }
}

export const toProgressJson = (progress: ProgressRecord | undefined): typeof Progress.Type | null =>
  progress === undefined
    ? null
    : {
        attempt: progress.attempt,
        percent: progress.percent,
        message: progress.message ?? null,
        detail: progress.detail ?? null,
        updated_at: toInstant(progress.at),
      }

/** Time spent so far by an attempt that has not ended. */
const processingMs = ({ endedAt, startedAt }: AttemptRecord, now: number): number | null =>
  Math.max(0, (endedAt ?? now) - startedAt)

const toAttemptJson = (attempt: AttemptRecord): typeof Attempt.Type => ({
  number: attempt.number,
  worker: attempt.worker,
  started_at: toInstant(attempt.startedAt),
  ended_at: toInstantOrNull(attempt.endedAt),
  outcome: attempt.outcome ?? null,
  stall_reason: attempt.stallReason ?? null,
  wait_ms: attempt.waitMs,
  processing_ms: attempt.endedAt === undefined ? null : attempt.endedAt - attempt.startedAt,
  error: attempt.error ?? null,
})
