/**
 * Looks through the journal of a database that nobody has open: everything that `db verify` checks, and beyond that whether
 * any job went through what none may. It only reads, so the next owner finds the write-ahead log as the last one left it.
 */
import { Effect } from "effect"
import { asyncProjections, eventTypes, projections, snapshotKinds } from "../../src/EventModel.ts"
import { JobBehavior } from "../../src/jobs/JobBehavior.ts"
import { isJobEvent, type JobEvent } from "../../src/jobs/JobEvents.ts"
import { absent, isFinished, type JobState } from "../../src/jobs/JobState.ts"
import { isQueueEvent, queueOfStream } from "../../src/jobs/QueueBehavior.ts"
import type { RecordedEvent } from "../../src/journal/Journal.ts"
import { verify } from "../../src/ops/Verify.ts"
import { QueueRules } from "./QueueRules.ts"

/** Faults of jobs that are spelled out. */
const FAULTS_SHOWN = 5

/** A job as the journal tells it. */
export interface AuditedJob {
  readonly state: JobState
  readonly version: number
}

export class JournalAudit {
  readonly #source: string
  #jobs = new Map<string, AuditedJob>()
  #started = new Set<string>()
  #facts = new Set<string>()
  #rules = new QueueRules()
  #head = 0

  constructor(source: string) {
    this.#source = source
  }

  /** As of the last check. */
  get jobs(): ReadonlyMap<string, AuditedJob> {
    return this.#jobs
  }

  /** Attempts that were ever started: `<job> <attempt>`. */
  get started(): ReadonlySet<string> {
    return this.#started
  }

  /**
   * What was ever true: `<job> is cancelled`, `is due <ms>`, `is <priority>`, `<job> <version> <event>`, and of a queue
   * `<stream> <event>` with the event's data.
   */
  get facts(): ReadonlySet<string> {
    return this.#facts
  }

  /** Events of the last check. */
  get head(): number {
    return this.#head
  }

  /** Looks through the journal as it is now, and answers everything that is wrong. */
  get check(): Effect.Effect<ReadonlyArray<string>, unknown> {
    return Effect.suspend(() => {
      this.#jobs = new Map()
      this.#started = new Set()
      this.#facts = new Set()
      this.#rules = new QueueRules()
      const faults: Array<string> = []
      const model = { eventTypes, projections: () => projections(), asyncProjections, snapshotKinds }
      const onEvent = (event: RecordedEvent) => faults.push(...this.#fold(event))
      return Effect.map(verify({ filename: this.#source, model, onEvent }), (verification) => {
        if (verification.head < this.#head)
          faults.push(`events are gone: ${verification.head} < ${this.#head}`)
        this.#head = verification.head
        return [
          ...faults.slice(0, FAULTS_SHOWN),
          ...verification.faults.map(
            ({ count, examples, subject }) => `${subject}, ${count}: ${examples.join("; ")}`,
          ),
        ]
      })
    })
  }

  #fold({ event, recordedAt, stream, version }: RecordedEvent): ReadonlyArray<string> {
    if (isQueueEvent(event)) {
      this.#rules.govern(queueOfStream(stream), event, recordedAt)
      const { _tag, ...data } = event
      this.#facts.add(`${stream} ${_tag} ${JSON.stringify(data)}`)
    }
    if (!isJobEvent(event)) return []
    const { state } = this.#jobs.get(stream) ?? { state: absent }
    const after = JobBehavior.evolve(state, event, recordedAt)
    const fault = illegal(state, event) ?? this.#rules.follow(state, event, after, recordedAt)
    this.#jobs.set(stream, { state: after, version })
    this.#facts.add(`${stream} is due ${after.dueAt}`).add(`${stream} is ${after.priority}`)
    if (isFinished(after))
      this.#facts.add(`${stream} is ${after.status}`).add(`${stream} ${version} ${event._tag}`)
    if (event._tag === "JobStarted") this.#started.add(`${stream} ${event.attempt}`)
    return fault === undefined ? [] : [`${stream} version ${version}, ${event._tag}: ${fault}`]
  }
}

/** What no job may go through: two leases at a time, a stale token, an attempt too many, a life after the end. */
const illegal = (state: JobState, event: JobEvent): string | undefined => {
  switch (event._tag) {
    case "JobEnqueued":
      return state.status === "absent" ? undefined : "enqueued twice"
    case "JobStarted":
      if (state.status !== "waiting") return `started while ${state.status}`
      if (event.attempt !== state.attempt + 1) return `attempt ${event.attempt} after ${state.attempt}`
      return state.failures < state.maxAttempts ? undefined : "more attempts than allowed"
    case "JobProgressed":
    case "JobStepCompleted":
    case "JobLogged":
    case "JobCompleted":
    case "JobAttemptFailed":
    case "JobStalled":
      if (state.status !== "processing") return `told while ${state.status}`
      return event.attempt === state.attempt
        ? undefined
        : `token ${event.attempt} while ${state.attempt} holds`
    case "JobRedriven":
      return isFinished(state) ? undefined : `redriven while ${state.status}`
    case "JobDeadLettered":
      return state.status === "processing" ? undefined : `dead while ${state.status}`
    default:
      return isFinished(state) || state.status === "absent" ? `changed while ${state.status}` : undefined
  }
}
