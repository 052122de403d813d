/**
 * The rules of a job: which command is allowed when, and what follows from it. Pure: the moment, the attempt's number
 * and the moment of a retry come in with the command.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import {
  accept,
  type Accepted,
  type Behavior,
  type CommandContext,
  refuse,
  type Refused,
} from "../actor/Behavior.ts"
import { JobConflict, StaleLease } from "./JobErrors.ts"
import {
  type JobDeadLettered,
  JobEnqueued,
  type JobEvent,
  JobFailure,
  JobOutcome,
  LogLine,
  Priority,
  StallReason,
} from "./JobEvents.ts"
import {
  absent,
  type Dependencies,
  endAttempt,
  isFinished,
  isUnstarted,
  type JobState,
  startAttempt,
} from "./JobState.ts"

const Millis = Schema.Int
const { _tag: _, ...enqueuedFields } = JobEnqueued.fields

/** Every command takes effect or is refused; an answer carries no more than the caller cannot know. */
export const jobCommands = [
  Rpc.make("Enqueue", { payload: enqueuedFields, error: JobConflict }),
  /** Answers the new attempt's number, the fencing token of its lease. */
  Rpc.make("Start", { payload: { worker: Schema.String }, success: Schema.Int, error: JobConflict }),
  Rpc.make("Progress", {
    payload: {
      attempt: Schema.Int,
      percent: Schema.Number,
      message: Schema.optionalKey(Schema.String),
      detail: Schema.optionalKey(Schema.Json),
    },
    error: StaleLease,
  }),
  Rpc.make("CompleteStep", {
    payload: { attempt: Schema.Int, name: Schema.String, result: Schema.Json },
    error: StaleLease,
  }),
  Rpc.make("Log", {
    payload: {
      attempt: Schema.Int,
      lines: Schema.Array(LogLine),
      dropped: Schema.optionalKey(Schema.Int),
    },
    error: StaleLease,
  }),
  Rpc.make("Complete", { payload: { attempt: Schema.Int, result: Schema.Json }, error: StaleLease }),
  Rpc.make("Fail", {
    payload: { attempt: Schema.Int, error: JobFailure, retryable: Schema.Boolean, retryAt: Millis },
    error: StaleLease,
  }),
  Rpc.make("Stall", { payload: { attempt: Schema.Int, reason: StallReason }, error: StaleLease }),
  /** Takes note that a job which this one depends on has ended. Said twice, it changes nothing. */
  Rpc.make("EndDependency", { payload: { job: Schema.String, outcome: JobOutcome } }),
  /** Cancels the job if it has not started in time; changes nothing otherwise. */
  Rpc.make("Expire", {}),
  Rpc.make("Cancel", { payload: { reason: Schema.optionalKey(Schema.String) }, error: JobConflict }),
  /** Runs a dead or cancelled job again, or one that waits at once. */
  Rpc.make("Retry", { error: JobConflict }),
  Rpc.make("Reschedule", { payload: { dueAt: Millis }, error: JobConflict }),
  Rpc.make("Reprioritize", { payload: { priority: Priority }, error: JobConflict }),
] as const

type JobCommands = (typeof jobCommands)[number]

type Done = Accepted<JobState, JobEvent, void>

const done = (...events: ReadonlyArray<JobEvent>): Done => accept(events, () => undefined)

const conflict = (state: JobState, command: string, { id }: CommandContext) =>
  refuse(new JobConflict({ id, command, status: state.status }))

/** Commands of a worker hold only while its attempt has the lease. */
const withLease = (
  state: JobState,
  attempt: number,
  { id }: CommandContext,
  decide: () => Done,
): Done | Refused<StaleLease> =>
  state.status === "processing" && state.attempt === attempt
    ? decide()
    : refuse(new StaleLease({ id, attempt }))

export const JobBehavior: Behavior<JobState, JobEvent, JobCommands> = {
  initial: absent,

  decide: {
    Enqueue: (state, spec, context) =>
      state.status === "absent"
        ? done({ ...spec, _tag: "JobEnqueued" })
        : conflict(state, "enqueue", context),

    Start: (state, { worker }, context) =>
      state.status === "waiting" && state.dueAt <= context.now && !isExpired(state, context.now)
        ? accept([{ _tag: "JobStarted", attempt: state.attempt + 1, worker }], (after) => after.attempt)
        : conflict(state, "start", context),

    Progress: (state, progress, context) =>
      withLease(state, progress.attempt, context, () => done({ _tag: "JobProgressed", ...progress })),

    // A step that is done stays done: a second completion changes nothing.
    CompleteStep: (state, step, context) =>
      withLease(state, step.attempt, context, () =>
        state.steps.some(({ name }) => name === step.name)
          ? done()
          : done({ _tag: "JobStepCompleted", ...step }),
      ),

    Complete: (state, completion, context) =>
      withLease(state, completion.attempt, context, () => done({ _tag: "JobCompleted", ...completion })),

    Fail: (state, { attempt, error, retryable, retryAt }, context) =>
      withLease(state, attempt, context, () => {
        const end = endAfterFailure(state, retryable, retryAt)
        if (end === undefined) return done({ _tag: "JobAttemptFailed", attempt, error, retry_at: retryAt })
        return done(
          { _tag: "JobAttemptFailed", attempt, error, retry_at: null },
          { _tag: "JobDeadLettered", reason: end },
        )
      }),

    Log: (state, log, context) =>
      withLease(state, log.attempt, context, () => done({ _tag: "JobLogged", ...log })),

    // Work handed back in good order was nobody's failure and costs no attempt.
    Stall: (state, { attempt, reason }, context) =>
      withLease(state, attempt, context, () => {
        const end = reason === "handed_back" ? undefined : endAfterFailure(state, true, context.now)
        if (end === undefined) return done({ _tag: "JobStalled", attempt, reason, retry_at: context.now })
        return done(
          { _tag: "JobStalled", attempt, reason, retry_at: null },
          { _tag: "JobDeadLettered", reason: end },
        )
      }),

    EndDependency: (state, { job, outcome }, context) => {
      if (state.status !== "blocked" || !state.dependencies!.outstanding.includes(job)) return done()
      const { onFailure, outstanding } = state.dependencies!
      const settled = outcome === "completed" || onFailure !== "wait"
      const ended: JobEvent = { _tag: "JobDependencyEnded", job, outcome, settled }
      if (!settled) return done(ended)
      if (outcome !== "completed" && onFailure === "cancel") {
        const reason = `${job} ended as ${outcome}`
        return done(ended, { _tag: "JobCancelled", cause: "dependency_failed", reason })
      }
      if (outstanding.length > 1) return done(ended)
      return done(ended, { _tag: "JobReleased", due_at: Math.max(state.dueAt, context.now) })
    },

    Expire: (state, _payload, context) =>
      isUnstarted(state) && isExpired(state, context.now)
        ? done({ _tag: "JobCancelled", cause: "expired" })
        : done(),

    Cancel: (state, { reason }, context) => {
      if (state.status === "cancelled") return done()
      if (state.status === "absent" || isFinished(state)) return conflict(state, "cancel", context)
      return done({ _tag: "JobCancelled", ...(reason === undefined ? {} : { reason }) })
    },

    Retry: (state, _payload, context) => {
      if (state.status === "dead_letter" || state.status === "cancelled") {
        return done({ _tag: "JobRedriven", due_at: context.now })
      }
      if (state.status !== "waiting") return conflict(state, "retry", context)
      return state.dueAt <= context.now ? done() : done({ _tag: "JobRescheduled", due_at: context.now })
    },

    Reschedule: (state, { dueAt }, context) => {
      if (!isUnstarted(state)) return conflict(state, "reschedule", context)
      return dueAt === state.dueAt ? done() : done({ _tag: "JobRescheduled", due_at: dueAt })
    },

    Reprioritize: (state, { priority }, context) => {
      if (!isUnstarted(state)) return conflict(state, "prioritize", context)
      return priority === state.priority ? done() : done({ _tag: "JobReprioritized", priority })
    },
  },

  evolve: (state, event, at) => {
    switch (event._tag) {
      case "JobEnqueued":
        return {
          ...absent,
          status: event.depends_on === undefined ? "waiting" : "blocked",
          queue: event.queue,
          type: event.type,
          priority: event.priority,
          payload: event.payload,
          maxAttempts: event.max_attempts,
          timeoutMs: event.timeout_ms,
          idempotencyKey: event.idempotency_key,
          tags: event.tags ?? [],
          concurrencyKey: event.concurrency_key,
          expiresAt: event.expires_at,
          dependencies: dependenciesOf(event),
          enqueuedAt: at,
          dueAt: event.due_at ?? at,
        }
      case "JobDependencyEnded": {
        if (!event.settled) return state
        const { onFailure, on, outstanding } = state.dependencies!
        const left = outstanding.filter((job) => job !== event.job)
        return { ...state, dependencies: { on, onFailure, outstanding: left } }
      }
      case "JobReleased":
        return { ...state, status: "waiting", dueAt: event.due_at }
      case "JobStarted":
        return startAttempt(state, event.attempt, event.worker, at)
      case "JobProgressed": {
        const { _tag, ...progress } = event
        return { ...state, progress: { ...progress, at } }
      }
      case "JobStepCompleted": {
        const { _tag, ...step } = event
        return { ...state, steps: [...state.steps, { ...step, completedAt: at }] }
      }
      case "JobLogged":
        // Lines may be many and nobody decides on them: they are read from the journal.
        return state
      case "JobCompleted":
        return {
          ...state,
          status: "completed",
          result: event.result,
          error: undefined,
          finishedAt: at,
          attempts: endAttempt(state.attempts, { outcome: "completed", endedAt: at }),
        }
      case "JobAttemptFailed":
        return {
          ...waitAgain(state, event.retry_at),
          failures: state.failures + 1,
          error: event.error,
          attempts: endAttempt(state.attempts, { outcome: "failed", endedAt: at, error: event.error }),
        }
      case "JobStalled":
        return {
          ...waitAgain(state, event.retry_at),
          failures: state.failures + (event.reason === "handed_back" ? 0 : 1),
          attempts: endAttempt(state.attempts, {
            outcome: "stalled",
            endedAt: at,
            stallReason: event.reason,
          }),
        }
      case "JobDeadLettered":
        return { ...state, status: "dead_letter", finishedAt: at }
      case "JobCancelled":
        return {
          ...state,
          status: "cancelled",
          cancelled: {
            ...(event.cause === undefined ? {} : { cause: event.cause }),
            ...(event.reason === undefined ? {} : { reason: event.reason }),
          },
          finishedAt: at,
          attempts: endAttempt(state.attempts, { outcome: "cancelled", endedAt: at }),
        }
      case "JobRedriven":
        // Whoever wants it to run after all wants it now: neither its deadline nor what it depended on holds any more.
        return {
          ...state,
          status: "waiting",
          dueAt: event.due_at,
          failures: 0,
          expiresAt: undefined,
          dependencies: undefined,
          cancelled: undefined,
          finishedAt: undefined,
        }
      case "JobRescheduled":
        return { ...state, dueAt: event.due_at }
      case "JobReprioritized":
        return { ...state, priority: event.priority }
    }
  },
}

/** Whether it is too late to start. */
export const isExpired = ({ expiresAt }: JobState, now: number): boolean =>
  expiresAt !== undefined && expiresAt <= now

/** Why there is no attempt after a failure that would be retried then; undefined when there is one. */
const endAfterFailure = (
  state: JobState,
  retryable: boolean,
  retryAt: number,
): (typeof JobDeadLettered.Type)["reason"] | undefined => {
  if (state.failures + 1 >= state.maxAttempts) return "attempts_used_up"
  if (!retryable) return "not_retryable"
  return isExpired(state, retryAt) ? "expired" : undefined
}

const dependenciesOf = ({
  depends_on: on,
  on_dependency_failure: onFailure,
}: typeof JobEnqueued.Type): Dependencies | undefined =>
  on === undefined ? undefined : { on, outstanding: on, onFailure: onFailure ?? "cancel" }

/** Waiting for the next attempt; without one, the job's end follows in the same append. */
const waitAgain = (state: JobState, retryAt: number | null): JobState =>
  retryAt === null ? state : { ...state, status: "waiting", dueAt: retryAt }
