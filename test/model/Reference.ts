/**
 * What a queue may do, in the plainest words: a list of jobs, how each queue is set, and for every event whether it may
 * happen now. It shares nothing with the engine but the events' names. `undone` says what should have happened by now and
 * has not: a queue that does nothing wrong by doing nothing is found out there.
 */
import { type JobEvent, PRIORITIES } from "../../src/jobs/JobEvents.ts"
import type { QueueEvent, QueueLimits } from "../../src/jobs/QueueBehavior.ts"
import type { RecordedEvent } from "../../src/journal/Journal.ts"

/** Attempts of each type that may run at a time in one queue. */
export const ROOM: Readonly<Record<string, number>> = { quick: 3, slow: 2 }

type Enqueued = Extract<JobEvent, { _tag: "JobEnqueued" }>

/** What it was enqueued with, as it may have been changed since, and how it stands. */
export type ModelJob = { -readonly [Field in keyof Enqueued]: Enqueued[Field] } & {
  readonly id: string
  readonly position: number
  status: "blocked" | "waiting" | "processing" | "failing" | "completed" | "dead_letter" | "cancelled"
  due_at: number
  expires_at: number
  /** Those it depends on and that are not settled. */
  waitsFor: ReadonlyArray<string>
  /** Every way in which it has ever ended: a redrive does not undo that others were told. */
  readonly ends: Set<string>
  readonly steps: Set<string>
  attempt: number
  failures: number
  worker: string
  startedAt: number
  changedAt: number
}

interface ModelQueue {
  paused: boolean
  draining: boolean
  drainsSince: number
  limits: QueueLimits
  /** Moments of starts, and how many of them were before the limits were last changed: those may be forgotten. */
  readonly starts: Array<number>
  startsBefore: number
  /** Whether it ever had a job or was set up. */
  isKnown: boolean
}

export class Reference {
  readonly jobs = new Map<string, ModelJob>()
  /** Who has an idempotency key: `<queue> <key>`. */
  readonly keys = new Map<string, ModelJob>()
  readonly #queues = new Map<string, ModelQueue>()

  queue(name: string): ModelQueue {
    const limits = { concurrency: null, key_concurrency: 1, rate_limit: null }
    const known = this.#queues.get(name)
    const queue = known ?? {
      paused: false,
      draining: false,
      drainsSince: 0,
      limits,
      starts: [],
      startsBefore: 0,
      isKnown: false,
    }
    this.#queues.set(name, queue)
    return queue
  }

  /** A process ends or begins, one handler after the other: for a moment not everybody can be the next. */
  upset(at: number): void {
    for (const job of this.jobs.values()) job.changedAt = at
  }

  /** Takes in an event; answers why it must not happen now, if so. */
  see({ event, position, recordedAt: at, stream }: RecordedEvent): string | undefined {
    if (stream.startsWith("queue/")) return this.#govern(this.queue(stream.slice(6)), event as QueueEvent, at)
    const known = this.jobs.get(stream)
    if (event._tag === "JobEnqueued") {
      if (known !== undefined) return "it was enqueued before"
      return this.#enqueue(stream, event as Enqueued, position, at)
    }
    if (known === undefined) return "there is no such job"
    const fault = this.#happen(known, event as Exclude<JobEvent, Enqueued>, at)
    known.changedAt = at
    return fault
  }

  #govern(queue: ModelQueue, event: QueueEvent, at: number): undefined {
    queue.isKnown = true
    if (event._tag === "QueuePaused") queue.paused = true
    else if (event._tag === "QueueDrainStarted") Object.assign(queue, { draining: true, drainsSince: at })
    else if (event._tag === "QueueResumed") queue.paused = queue.draining = false
    else {
      const { _tag, ...limits } = event
      Object.assign(queue, { limits, startsBefore: queue.starts.length })
    }
  }

  #enqueue(id: string, event: Enqueued, position: number, at: number): string | undefined {
    const { depends_on: waitsFor = [], due_at = at, expires_at = Number.POSITIVE_INFINITY } = event
    const status = waitsFor.length > 0 ? "blocked" : "waiting"
    const sets = { waitsFor, ends: new Set<string>(), steps: new Set<string>() }
    const counts = { attempt: 0, failures: 0, worker: "", startedAt: 0, changedAt: at }
    const on_dependency_failure = event.on_dependency_failure ?? "cancel"
    const job: ModelJob = {
      ...event,
      id,
      position,
      status,
      due_at,
      expires_at,
      on_dependency_failure,
      ...sets,
      ...counts,
    }
    this.jobs.set(id, job)
    this.queue(event.queue).isKnown = true
    if (event.idempotency_key !== undefined) {
      const key = `${event.queue} ${event.idempotency_key}`
      if (this.keys.has(key)) return "its idempotency key was taken"
      this.keys.set(key, job)
    }
    // A batch for several queues that comes in the same moment is too late or it is not.
    const { draining, drainsSince } = this.queue(event.queue)
    if (draining && drainsSince < at) return "its queue takes none"
    if (expires_at <= Math.max(due_at, at)) return "it could never start in time"
    return waitsFor.every((other) => this.jobs.has(other))
      ? undefined
      : "it depends on a job that is not there"
  }

  #happen(job: ModelJob, event: Exclude<JobEvent, Enqueued>, at: number): string | undefined {
    const before = job.status
    const isOver = isFinal(before)
    const isUnstarted = before === "waiting" || before === "blocked"
    if (
      event._tag !== "JobStarted" &&
      "attempt" in event &&
      !(before === "processing" && event.attempt === job.attempt)
    )
      return `told by attempt ${event.attempt} while it is ${before} in attempt ${job.attempt}`
    switch (event._tag) {
      case "JobStarted": {
        const fault =
          event.attempt === job.attempt + 1 ? this.#whyNotStart(job, at) : "its attempts are not dense"
        const { attempt, worker } = event
        Object.assign(job, { status: "processing", attempt, worker, startedAt: at })
        this.queue(job.queue).starts.push(at)
        return fault
      }
      case "JobProgressed":
      case "JobLogged":
        return undefined
      case "JobStepCompleted":
        if (job.steps.has(event.name)) return `step ${event.name} was done before`
        return void job.steps.add(event.name)
      case "JobCompleted":
        return this.#end(job, "completed")
      case "JobAttemptFailed":
      case "JobStalled": {
        if (event._tag === "JobAttemptFailed" || event.reason !== "handed_back") job.failures++
        job.status = event.retry_at === null ? "failing" : "waiting"
        job.due_at = event.retry_at ?? job.due_at
        const isTimeout = event._tag === "JobAttemptFailed" && event.error.name === "TimedOut"
        if (isTimeout && at < job.startedAt + job.timeout_ms) return "timed out early"
        return job.status === "waiting" && job.failures >= job.max_attempts
          ? "its attempts are used up"
          : undefined
      }
      case "JobDeadLettered":
        this.#end(job, "dead_letter")
        if (before !== "failing") return `dead while it is ${before}`
        return (event.reason === "attempts_used_up") === (job.failures === job.max_attempts)
          ? undefined
          : event.reason
      case "JobCancelled":
        this.#end(job, "cancelled")
        if (isOver) return `cancelled while it is ${before}`
        if (event.cause === "expired")
          return isUnstarted && job.expires_at <= at ? undefined : "it has not expired"
        if (event.cause === undefined) return undefined
        return job.on_dependency_failure === "cancel" &&
          job.depends_on!.some((other) => this.#hasFailed(other))
          ? undefined
          : "nothing that matters has failed"
      case "JobRedriven":
        Object.assign(job, {
          status: "waiting",
          due_at: event.due_at,
          failures: 0,
          waitsFor: [],
          expires_at: Infinity,
        })
        return before === "dead_letter" || before === "cancelled"
          ? undefined
          : `redriven while it is ${before}`
      case "JobRescheduled":
        job.due_at = event.due_at
        return isUnstarted ? undefined : `rescheduled while it is ${before}`
      case "JobReprioritized":
        job.priority = event.priority
        return isUnstarted ? undefined : `given a priority while it is ${before}`
      case "JobDependencyEnded":
        if (event.settled) job.waitsFor = job.waitsFor.filter((other) => other !== event.job)
        if (before !== "blocked" || !this.jobs.get(event.job)!.ends.has(event.outcome))
          return "that is not so"
        return event.settled === (event.outcome === "completed" || job.on_dependency_failure !== "wait")
          ? undefined
          : "against its policy"
      case "JobReleased":
        Object.assign(job, { status: "waiting", due_at: Math.max(event.due_at, job.due_at) })
        return before === "blocked" && job.waitsFor.length === 0 ? undefined : "it waits for others"
    }
  }

  #end(job: ModelJob, status: "completed" | "dead_letter" | "cancelled"): undefined {
    job.status = status
    job.ends.add(status)
  }

  #hasFailed = (id: string) =>
    this.jobs.get(id)!.ends.has("dead_letter") || this.jobs.get(id)!.ends.has("cancelled")

  #whyNotStart(job: ModelJob, at: number): string | undefined {
    const { limits, paused, startsBefore } = this.queue(job.queue)
    if (job.status !== "waiting") return `started while it is ${job.status}`
    if (paused) return "its queue is paused"
    if (job.due_at > at) return "it is not due"
    if (job.expires_at <= at) return "it has expired"
    if (job.failures >= job.max_attempts) return "its attempts are used up"
    if (!this.#hasRoom(job)) return "its type or its key has no room"
    if (this.running(job.queue).length >= (limits.concurrency ?? Infinity)) return "its queue has no room"
    if (this.#isSpent(job.queue, at, startsBefore)) return "against the rate limit"
    const first = [...this.jobs.values()].find((other) => this.#mustPrecede(other, job, at))
    return first === undefined ? undefined : `${first.id} comes first`
  }

  /** Whether the rate limit allows no start any more, counted from the first start, or only from a later one. */
  #isSpent(queue: string, at: number, from = 0): boolean {
    const { limits, starts } = this.queue(queue)
    const { per_ms, starts: most } = limits.rate_limit ?? { per_ms: 0, starts: Infinity }
    return starts.slice(from).filter((start) => at - start < per_ms).length >= most
  }

  /** Whether a job should have started before another one: it was ready before this moment, and nothing kept it. */
  #mustPrecede(job: ModelJob, other: ModelJob, at: number): boolean {
    const isReady =
      job.queue === other.queue && job.status === "waiting" && job.due_at <= at && job.expires_at > at
    return isReady && job !== other && isBefore(job, other) && this.#hasRoom(job) && this.#isSettled(job, at)
  }

  /** Of the jobs of a key and a priority only the first can start, and it takes a moment to find who that is. */
  #isSettled(job: ModelJob, at: number): boolean {
    if (job.changedAt === at) return false
    const { concurrency_key: key, priority, queue, type } = job
    const line = [...this.jobs.values()].filter(
      (other) => other.queue === queue && other.concurrency_key === key,
    )
    return (
      key === undefined ||
      line.every(
        (other) =>
          other.changedAt < at &&
          !(
            other.type === type &&
            other.priority === priority &&
            other.status === "waiting" &&
            isBefore(other, job)
          ),
      )
    )
  }

  #hasRoom({ concurrency_key: key, queue, type }: ModelJob): boolean {
    const running = this.running(queue)
    const ofKey =
      key === undefined ? 0 : running.filter(({ concurrency_key }) => concurrency_key === key).length
    const ofType = running.filter((other) => other.type === type).length
    return ofType < ROOM[type]! && ofKey < this.queue(queue).limits.key_concurrency
  }

  /** Jobs of a queue that have a lease. */
  running(queue: string): ReadonlyArray<ModelJob> {
    return [...this.jobs.values()].filter((job) => job.queue === queue && job.status === "processing")
  }

  /** What should have happened by now. */
  undone(at: number): ReadonlyArray<string> {
    return [...this.jobs.values()].flatMap((job) => {
      const fault = this.#whyUndone(job, at)
      return fault === undefined ? [] : [`${job.id} ${fault}`]
    })
  }

  #whyUndone(job: ModelJob, at: number): string | undefined {
    if (job.status === "failing") return "has failed for good and is not dead"
    if (job.status !== "waiting" && job.status !== "blocked") return undefined
    if (job.expires_at <= at) return "has expired and is not cancelled"
    if (job.status === "waiting")
      return this.#isSpent(job.queue, at) || this.#whyNotStart(job, at) !== undefined
        ? undefined
        : "could start"
    const ended = job.waitsFor.find((id) => {
      const { status } = this.jobs.get(id)!
      return status === "completed" || (isFinal(status) && job.on_dependency_failure !== "wait")
    })
    return ended === undefined ? undefined : `was not told that ${ended} has ended`
  }
}

export const isFinal = (status: string) =>
  status === "completed" || status === "dead_letter" || status === "cancelled"

/** The order of claims: priority, then due time, then enqueue order. */
const isBefore = (a: ModelJob, b: ModelJob): boolean =>
  (PRIORITIES.indexOf(a.priority) - PRIORITIES.indexOf(b.priority) ||
    a.due_at - b.due_at ||
    a.position - b.position) < 0
