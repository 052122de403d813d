/**
 * A job's events as a timeline: each with what it says in words, and the sums at the end. Pure, and taken in event by event,
 * so that it follows a live job as well as it tells an old one.
 */
import type { RecordedEvent } from "../journal/Journal.ts"
import { JobBehavior } from "../jobs/JobBehavior.ts"
import type { JobEvent, JobFailure } from "../jobs/JobEvents.ts"
import { absent, isFinished, type JobState, type JobStatus, statusAt } from "../jobs/JobState.ts"
import { describe } from "./EventWords.ts"

/** What one event is to the reader. Colours go by it. */
export type Tone = "plain" | "good" | "bad" | "attention"

/** One line of a timeline. */
export interface TimelineEntry {
  readonly recorded: RecordedEvent<JobEvent>
  /** Milliseconds since the job's first event. */
  readonly sinceStartMs: number
  /** The attempt that it belongs to; undefined for what happens to the job as a whole. */
  readonly attempt: number | undefined
  /** Who runs that attempt. */
  readonly worker: string | undefined
  readonly tone: Tone
  /** What happened, in words, on one line or more; texts of users are in it as they are. */
  readonly words: ReadonlyArray<string>
}

/** What it comes to. Times in milliseconds. */
export interface TimelineSummary {
  readonly status: JobStatus
  readonly queue: string
  readonly type: string
  readonly attempts: number
  readonly maxAttempts: number
  readonly steps: number
  /** Between being due and being started, all attempts together. */
  readonly waitMs: number
  /** In attempts, up to now for one that is under way. */
  readonly processingMs: number
  /** From being enqueued to the end, or to now. */
  readonly totalMs: number
  readonly error: JobFailure | undefined
}

/** The fold of a job's events to lines and sums. */
export class JobTimeline {
  #state: JobState = absent
  #version = 0
  #waitMs = 0
  #processingMs = 0

  /** The version of the last event taken in. */
  get version(): number {
    return this.#version
  }

  /** Whether the job has ended. A redrive may yet bring it back. */
  get isFinished(): boolean {
    return isFinished(this.#state)
  }

  /** Takes in the next event and tells it. */
  take(recorded: RecordedEvent<JobEvent>): TimelineEntry {
    const { event, recordedAt, version } = recorded
    const before = this.#state
    const after = JobBehavior.evolve(before, event, recordedAt)
    const current = after.attempts.at(-1)
    if (event._tag === "JobStarted") this.#waitMs += current!.waitMs
    const hasEnded = current?.endedAt !== undefined && before.attempts.at(-1)?.endedAt === undefined
    if (hasEnded) this.#processingMs += current.endedAt - current.startedAt
    this.#state = after
    this.#version = version
    const attempt = "attempt" in event ? event.attempt : undefined
    return {
      recorded,
      sinceStartMs: recordedAt - after.enqueuedAt,
      attempt,
      worker: attempt === undefined ? undefined : current?.worker,
      tone: toneOf(event),
      words: describe(event, { before, after, at: recordedAt }),
    }
  }

  /** The sums at the moment `now`, in milliseconds since 1970. */
  summary(now: number): TimelineSummary {
    const { attempt, attempts, enqueuedAt, error, finishedAt, maxAttempts, queue, steps, type } = this.#state
    const current = attempts.at(-1)
    const running = current === undefined || current.endedAt !== undefined ? 0 : now - current.startedAt
    return {
      status: statusAt(this.#state, now),
      queue,
      type,
      attempts: attempt,
      maxAttempts,
      steps: steps.length,
      waitMs: this.#waitMs,
      processingMs: this.#processingMs + Math.max(0, running),
      totalMs: Math.max(0, (finishedAt ?? now) - enqueuedAt),
      error: this.isFinished ? error : undefined,
    }
  }
}

const toneOf = ({ _tag }: JobEvent): Tone => {
  switch (_tag) {
    case "JobCompleted":
      return "good"
    case "JobAttemptFailed":
    case "JobStalled":
      return "attention"
    case "JobDeadLettered":
    case "JobCancelled":
      return "bad"
    default:
      return "plain"
  }
}
