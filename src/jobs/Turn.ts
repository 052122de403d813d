/**
 * One turn of a queue's actor: the jobs it touches, as they would be if everything it decides is committed. Nothing
 * outside of the turn changes until the append has succeeded; a turn whose append fails is simply dropped.
 */
import type { CommandContext, Decision } from "../actor/Behavior.ts"
import type { EventMetadata, StreamAppend } from "../journal/Journal.ts"
import { JobBehavior } from "./JobBehavior.ts"
import type { JobEvent } from "./JobEvents.ts"
import type { JobState } from "./JobState.ts"
import { QueueBehavior, type QueueEvent, type QueueState, streamOfQueue } from "./QueueBehavior.ts"
import { type JobTrace, traceAfter } from "./JobTrace.ts"
import type { ReadyJob } from "./Lane.ts"

/** A job, the version of its stream, and its place in the order of enqueueing. */
export interface VersionedJob {
  readonly id: string
  /** Of its JobEnqueued event; infinite while that is not committed. */
  readonly position: number
  readonly state: JobState
  readonly version: number
  /** Absent where nobody has said where it comes from. */
  readonly trace?: JobTrace | undefined
}

/** A job within a turn. */
export interface WorkingJob {
  readonly id: string
  position: number
  readonly before: JobState
  state: JobState
  version: number
  trace: JobTrace | undefined
  /** Its place in the window, if the turn gave it one. */
  ready: ReadyJob | undefined
}

/** How a queue is set, and the version of its own stream. */
export interface VersionedSettings {
  readonly state: QueueState
  readonly version: number
}

/** Collects the decisions of a turn. */
export class Turn {
  readonly now: number
  /** The jobs that the turn enqueues, by idempotency key. */
  readonly keys = new Map<string, WorkingJob>()
  readonly #jobs: Array<WorkingJob> = []
  /** By id, as far as somebody has asked: most turns that only enqueue never do. */
  readonly #byId = new Map<string, WorkingJob>()
  #indexed = 0
  readonly #appends: Array<StreamAppend> = []

  /** The queue's own settings, as they would be. */
  settings: VersionedSettings

  constructor(now: number, settings: VersionedSettings) {
    this.now = now
    this.settings = settings
  }

  /** What the turn would append, in the order in which it was decided. */
  get appends(): ReadonlyArray<StreamAppend> {
    return this.#appends
  }

  /** New jobs, in the order of their first events. */
  readonly enqueued: Array<WorkingJob> = []

  /** The jobs that were touched. */
  get jobs(): ReadonlyArray<WorkingJob> {
    return this.#jobs
  }

  get(id: string): WorkingJob | undefined {
    for (; this.#indexed < this.#jobs.length; this.#indexed++) {
      const job = this.#jobs[this.#indexed]!
      this.#byId.set(job.id, job)
    }
    return this.#byId.get(id)
  }

  /** Brings a job into the turn as the journal has it. */
  include(job: VersionedJob): WorkingJob {
    const { id, position, state, trace, version } = job
    const working: WorkingJob = { id, position, before: state, state, version, trace, ready: undefined }
    this.#jobs.push(working)
    return working
  }

  /** Applies a decision of the job's behavior; answers what the command's sender is told. */
  apply<Answer, Refusal>(
    job: WorkingJob,
    decide: (state: JobState, context: CommandContext) => Decision<JobState, JobEvent, Answer, Refusal>,
    metadata: EventMetadata | undefined,
  ):
    | { readonly _tag: "Accepted"; readonly answer: Answer }
    | { readonly _tag: "Refused"; readonly refusal: Refusal } {
    const decision = decide(job.state, { id: job.id, now: this.now })
    if (decision._tag === "Refused") return decision
    const { events } = decision
    if (events.length > 0) {
      const [first] = events
      const requires = first!._tag === "JobEnqueued" ? first!.depends_on : undefined
      this.#appends.push({ stream: job.id, expectedVersion: job.version, events, metadata, requires })
      for (const event of events) job.state = JobBehavior.evolve(job.state, event, this.now)
      job.version += events.length
      if (metadata !== undefined) job.trace = traceAfter(job.trace, first!, metadata)
    }
    return { _tag: "Accepted", answer: decision.answer(job.state) }
  }

  /** Applies a decision about the queue itself. */
  govern(
    queue: string,
    decide: (state: QueueState, context: CommandContext) => Decision<QueueState, QueueEvent, void, never>,
    metadata: EventMetadata | undefined,
  ): void {
    const stream = streamOfQueue(queue)
    const { state: before, version } = this.settings
    const decision = decide(before, { id: stream, now: this.now })
    if (decision._tag === "Refused" || decision.events.length === 0) return
    const { events } = decision
    this.#appends.push({ stream, expectedVersion: version, events, metadata })
    const state = events.reduce((state, event) => QueueBehavior.evolve(state, event, this.now), before)
    this.settings = { state, version: version + events.length }
  }
}
