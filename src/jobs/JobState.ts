/**
 * The state of one job: the fold of its stream. `JobBehavior` decides on it, the views are made from it.
 */
import type { Json } from "effect/Schema"
import type { CancelCause, DependencyFailurePolicy, JobFailure, Priority, StallReason } from "./JobEvents.ts"

/** Attempts a state remembers; the count goes on. */
const ATTEMPTS_REMEMBERED = 100

/**
 * As the journal knows it. `waiting` covers two public statuses: until it is due a job is `scheduled`, then `pending`,
 * and no event marks the moment in between. A `blocked` one waits for other jobs, and counts as `scheduled` too.
 */
export type StoredStatus =
  | "absent"
  | "blocked"
  | "waiting"
  | "processing"
  | "completed"
  | "dead_letter"
  | "cancelled"
  /** Only to decide on: the job's stream is in the archive, see {@link asArchived}. */
  | "archived"

/** As people see it. */
export const JOB_STATUSES = [
  "scheduled",
  "pending",
  "processing",
  "completed",
  "dead_letter",
  "cancelled",
] as const
export type JobStatus = (typeof JOB_STATUSES)[number]

/** One try of a job. */
export interface AttemptRecord {
  /** The fencing token: 1, 2, 3 … */
  readonly number: number
  readonly worker: string
  readonly startedAt: number
  /** Milliseconds between being due and being started. */
  readonly waitMs: number
  readonly endedAt?: number
  readonly outcome?: "completed" | "failed" | "stalled" | "cancelled"
  readonly stallReason?: StallReason
  readonly error?: JobFailure
}

export interface StepRecord {
  readonly name: string
  readonly attempt: number
  readonly completedAt: number
  readonly result: Json
}

export interface ProgressRecord {
  readonly attempt: number
  readonly percent: number
  readonly at: number
  readonly message?: string
  readonly detail?: Json
}

/** What a job depends on. */
export interface Dependencies {
  readonly on: ReadonlyArray<string>
  /** Those that have not ended as they should, yet. */
  readonly outstanding: ReadonlyArray<string>
  readonly onFailure: DependencyFailurePolicy
}

export interface JobState {
  readonly status: StoredStatus
  readonly queue: string
  readonly type: string
  readonly priority: Priority
  readonly payload: Json
  readonly maxAttempts: number
  readonly timeoutMs: number
  readonly idempotencyKey: string | undefined
  readonly tags: ReadonlyArray<string>
  readonly concurrencyKey: string | undefined
  /** No attempt starts from then on, in milliseconds since 1970. */
  readonly expiresAt: number | undefined
  readonly dependencies: Dependencies | undefined
  readonly enqueuedAt: number
  readonly dueAt: number
  /** Attempts started since the job was enqueued: the newest fencing token. */
  readonly attempt: number
  /** Attempts that count against the maximum, since the job was enqueued or last redriven. */
  readonly failures: number
  readonly attempts: ReadonlyArray<AttemptRecord>
  readonly steps: ReadonlyArray<StepRecord>
  readonly progress: ProgressRecord | undefined
  readonly result: Json | undefined
  readonly error: JobFailure | undefined
  readonly cancelled: { readonly cause?: CancelCause; readonly reason?: string } | undefined
  readonly finishedAt: number | undefined
}

/** Before anything happened. */
export const absent: JobState = {
  status: "absent",
  queue: "",
  type: "",
  priority: "normal",
  payload: null,
  maxAttempts: 0,
  timeoutMs: 0,
  idempotencyKey: undefined,
  tags: [],
  concurrencyKey: undefined,
  expiresAt: undefined,
  dependencies: undefined,
  enqueuedAt: 0,
  dueAt: 0,
  attempt: 0,
  failures: 0,
  attempts: [],
  steps: [],
  progress: undefined,
  result: undefined,
  error: undefined,
  cancelled: undefined,
  finishedAt: undefined,
}

/** The public status at a moment. Only for jobs that exist. */
export const statusAt = (state: JobState, now: number): JobStatus => {
  if (state.status === "blocked") return "scheduled"
  if (state.status === "waiting") return state.dueAt > now ? "scheduled" : "pending"
  return state.status as JobStatus
}

/** Whether nothing but a redrive can happen to the job any more. */
export const isFinished = ({ status }: JobState): boolean =>
  status === "completed" || status === "dead_letter" || status === "cancelled" || status === "archived"

/** As it is decided on once its stream is in the archive, where nothing can follow it: no command is taken. */
export const asArchived = (state: JobState): JobState => ({ ...state, status: "archived" })

/** Whether the job has been enqueued and no attempt of it is under way or wanted. */
export const isUnstarted = ({ status }: JobState): boolean => status === "waiting" || status === "blocked"

/** With one more attempt under way. */
export const startAttempt = (state: JobState, attempt: number, worker: string, at: number): JobState => ({
  ...state,
  status: "processing",
  attempt,
  progress: undefined,
  attempts: [
    ...state.attempts.slice(-(ATTEMPTS_REMEMBERED - 1)),
    { number: attempt, worker, startedAt: at, waitMs: Math.max(0, at - state.dueAt) },
  ],
})

/** With the running attempt's end written down. */
export const endAttempt = (
  attempts: ReadonlyArray<AttemptRecord>,
  end: Omit<AttemptRecord, "number" | "worker" | "startedAt" | "waitMs">,
): ReadonlyArray<AttemptRecord> => {
  const last = attempts.at(-1)
  return last === undefined || last.endedAt !== undefined
    ? attempts
    : [...attempts.slice(0, -1), { ...last, ...end }]
}
