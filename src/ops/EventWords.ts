/**
 * What happened to a job, in words, for every event there is.
 */
import { Duration } from "effect"
import type { CancelCause, JobEvent, JobFailure, JobOutcome, StallReason } from "../jobs/JobEvents.ts"
import type { JobState } from "../jobs/JobState.ts"

/** A length of time for people: `1s 250ms`. */
export const inWords = (millis: number): string =>
  millis <= 0 ? "0ms" : Duration.format(Duration.millis(millis))

/** What the words of an event may refer to: the job before and after it, and when it was recorded. */
interface Context {
  readonly before: JobState
  readonly after: JobState
  readonly at: number
}

const STALLS: Record<StallReason, string> = {
  lease_expired: "its worker was not heard of any more",
  process_lost: "its process ended",
  handed_back: "handed back in good order, which costs no attempt",
}

const CANCEL_CAUSES: Record<CancelCause, string> = {
  expired: "its deadline has passed",
  dependency_failed: "a job that it depends on has failed",
}

const OUTCOMES: Record<JobOutcome, string> = {
  completed: "has completed",
  dead_letter: "is dead",
  cancelled: "was cancelled",
}

/** What happened, line by line. */
export const describe = (event: JobEvent, context: Context): ReadonlyArray<string> =>
  event._tag === "JobLogged" ? logged(event, context.at) : [told(event, context)]

/** One case for every event there is: a new one without words does not compile. */
const told = (event: Exclude<JobEvent, { _tag: "JobLogged" }>, context: Context): string => {
  const { after, at, before } = context
  switch (event._tag) {
    case "JobEnqueued":
      return enqueuedAs(event, at)
    case "JobDependencyEnded": {
      const still = event.settled ? "" : ", and is waited for until it completes after all"
      return `${event.job} ${OUTCOMES[event.outcome]}${still}`
    }
    case "JobReleased":
      return `it waits for no other job any more, due ${moment(event.due_at, at)}`
    case "JobStarted":
      return `by ${event.worker}, after waiting ${inWords(after.attempts.at(-1)!.waitMs)}`
    case "JobProgressed":
      return `${event.percent} %${event.message === undefined ? "" : `: ${event.message}`}`
    case "JobStepCompleted":
      return `step ${event.name} is done`
    case "JobCompleted":
      return `after running ${ranFor(context)}`
    case "JobAttemptFailed":
      return `after running ${ranFor(context)}: ${inText(event.error)}; ${next(event.retry_at, at)}`
    case "JobStalled":
      return `after running ${ranFor(context)}: ${STALLS[event.reason]}; ${next(event.retry_at, at)}`
    case "JobDeadLettered":
      return {
        attempts_used_up: `its attempts are used up (${before.failures} of ${before.maxAttempts})`,
        not_retryable: "its error is not one to retry",
        expired: "its next attempt would start after its deadline",
      }[event.reason]
    case "JobCancelled":
      return cancelledBecause(event, context)
    case "JobRedriven":
      return `with all its attempts anew, due ${moment(event.due_at, at)}`
    case "JobRescheduled":
      return `due ${moment(event.due_at, at)}`
    case "JobReprioritized":
      return `from ${before.priority} to ${event.priority}`
  }
}

const enqueuedAs = (event: Extract<JobEvent, { _tag: "JobEnqueued" }>, at: number): string => {
  const { concurrency_key, depends_on, due_at, expires_at, idempotency_key, tags = [] } = event
  return [
    `${event.type} in ${event.queue}`,
    due_at === undefined ? "due at once" : `due ${moment(due_at, at)}`,
    `priority ${event.priority}`,
    `up to ${counted(event.max_attempts, "attempt")} of at most ${inWords(event.timeout_ms)} each`,
    ...(expires_at === undefined ? [] : [`to be started ${within(expires_at, at)}`]),
    ...(depends_on === undefined ? [] : [`after ${depends_on.join(" ")}`]),
    ...(concurrency_key === undefined ? [] : [`concurrency key ${concurrency_key}`]),
    ...(idempotency_key === undefined ? [] : [`idempotency key ${idempotency_key}`]),
    ...(tags.length === 0 ? [] : [`tags ${tags.join(" ")}`]),
  ].join(", ")
}

/** Lines are older than their event, which keeps several of them. */
const logged = (
  { dropped, lines }: Extract<JobEvent, { _tag: "JobLogged" }>,
  at: number,
): ReadonlyArray<string> => [
  ...lines.map((line) => {
    const before = line.at < at ? `, ${inWords(at - line.at)} before` : ""
    return `${line.level}${before}: ${line.message}`
  }),
  ...(dropped === undefined ? [] : [`${counted(dropped, "line")} of this attempt were too many to be kept`]),
]

const cancelledBecause = (event: Extract<JobEvent, { _tag: "JobCancelled" }>, context: Context): string => {
  const { attempt, status } = context.before
  const parts = [
    status === "processing" ? `while attempt ${attempt} ran, for ${ranFor(context)}` : "while it waited",
    ...(event.cause === undefined ? [] : [CANCEL_CAUSES[event.cause]]),
    ...(event.reason === undefined ? [] : [event.reason]),
  ]
  return parts.join(": ")
}

const ranFor = ({ after, at }: Context): string => inWords(at - (after.attempts.at(-1)?.startedAt ?? at))

const inText = ({ message, name }: JobFailure): string => (message === "" ? name : `${name}: ${message}`)

const next = (retryAt: number | null, at: number): string =>
  retryAt === null ? "no further attempt" : `next attempt ${moment(retryAt, at)}`

const moment = (dueAt: number, at: number): string => (dueAt <= at ? "at once" : `in ${inWords(dueAt - at)}`)

const within = (deadline: number, at: number): string =>
  deadline <= at ? "at once" : `within ${inWords(deadline - at)}`

const counted = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`
