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
type Status = "blocked" | "waiting" | "processing" | "failing" | "completed" | "dead_letter" | "cancelled"
/** Why it must not be, if so. */
type Fault = string | undefined

const UNTOUCHED = { attempt: 0, failures: 0, worker: "", startedAt: 0 }
const REDRIVEN = { status: "waiting", failures: 0, expires_at: Infinity, waitsFor: [] }
const NO_LIMITS: QueueLimits = { concurrency: null, key_concurrency: 1, rate_limit: null }
const UNSET = { paused: false, draining: false, drainedAt: 0, limits: NO_LIMITS, isKnown: false }

/** What a job was enqueued with, as it may have been changed since, and how it stands. */
export type ModelJob = { -readonly [Field in keyof Enqueued]: Enqueued[Field] } & typeof UNTOUCHED & {
    readonly id: string
    readonly position: number
    status: Status
    due_at: number
    expires_at: number
    /** Those it depends on and that are not settled. */
    waitsFor: ReadonlyArray<string>
    /** Every way in which it has ever ended: a redrive does not undo that others were told. */
    readonly ends: Set<string>
    readonly steps: Set<string>
    changedAt: number
  }

/** How it is set; the moments of its starts, and how many of them a change of limits may have made it forget. */
type ModelQueue = typeof UNSET & { readonly starts: Array<number>; forgotten: number }

export class Reference {
  readonly jobs = new Map<string, ModelJob>()
  /** Who has an idempotency key: `<queue> <key>`. */
  readonly keys = new Map<string, ModelJob>()
  /** Jobs whose handlers have been interrupted and have not ended: they keep their places, whatever the journal says. */
  readonly unwinding = new Set<string>()
  /** Whether starts are to be in order. */
  isInOrder = true
  readonly #queues = new Map<string, ModelQueue>()

  queue(name: string): ModelQueue {
    const queue = this.#queues.get(name) ?? { ...UNSET, starts: [], forgotten: 0 }
    this.#queues.set(name, queue)
    return queue
  }

  /**
   * A process ends or begins, one handler after the other, or one that was interrupted leaves its place in a moment of its own:
   * for that moment not everybody can be the next.
   */
  upset(at: number): void {
    for (const job of this.jobs.values()) job.changedAt = at
  }

  /** Takes in an event; answers why it must not happen now, if so. */
  see({ event, position, recordedAt: at, stream }: RecordedEvent): Fault {
    if (stream.startsWith("queue/")) return this.#govern(this.queue(stream.slice(6)), event as QueueEvent, at)
    const job = this.jobs.get(stream)
    if (event._tag === "JobEnqueued" && job === undefined)
      return this.#enqueue(stream, event as Enqueued, position, at)
    if (event._tag === "JobEnqueued" || job === undefined) return "it is there already, or it is not there"
    const fault = this.#happen(job, event as Exclude<JobEvent, Enqueued>, at)
    job.changedAt = Math.max(job.changedAt, at)
    return fault
  }

  #govern(queue: ModelQueue, { _tag, ...limits }: QueueEvent, at: number): undefined {
    queue.isKnown = true
    if (_tag === "QueuePaused") queue.paused = true
    else if (_tag === "QueueDrainStarted") Object.assign(queue, { draining: true, drainedAt: at })
    else if (_tag === "QueueResumed") queue.paused = queue.draining = false
    else Object.assign(queue, { limits, forgotten: queue.starts.length })
  }

  #enqueue(id: string, event: Enqueued, position: number, at: number): Fault {
    const { depends_on: waitsFor = [], due_at = at, expires_at = Infinity, idempotency_key } = event
    const status = waitsFor.length > 0 ? "blocked" : "waiting"
    const sets = { waitsFor, ends: new Set<string>(), steps: new Set<string>() }
    const times = { due_at, expires_at, changedAt: at }
    const job: ModelJob = { ...UNTOUCHED, ...event, ...sets, ...times, id, position, status }
    const queue = this.queue(event.queue)
    const key = `${event.queue} ${idempotency_key}`
    const isTaken = idempotency_key !== undefined && this.keys.has(key)
    this.jobs.set(id, job)
    if (idempotency_key !== undefined) this.keys.set(key, job)
    queue.isKnown = true
    if (isTaken) return "its idempotency key was taken"
    // A batch for several queues that comes in the same moment is too late or it is not.
    if (queue.draining && queue.drainedAt < at) return "its queue takes none"
    if (event.due_at !== undefined && expires_at <= due_at) return "it could never start in time"
    const isUnknown = waitsFor.some((other) => !this.jobs.has(other))
    return isUnknown ? "it depends on a job that is not there" : undefined
  }

  #happen(job: ModelJob, event: Exclude<JobEvent, Enqueued>, at: number): Fault {
    const { attempt, status } = job
    const isUnstarted = status === "waiting" || status === "blocked"
    const told = `${event._tag} while it is ${status} after attempt ${attempt}`
    const hasLease = status === "processing" && "attempt" in event && event.attempt === attempt
    if (event._tag !== "JobStarted" && "attempt" in event && !hasLease) return told
    switch (event._tag) {
      case "JobStarted": {
        const fault = event.attempt === attempt + 1 ? this.#whyNotStart(job, at) : told
        Object.assign(job, { ...event, _tag: "", status: "processing", startedAt: at })
        this.queue(job.queue).starts.push(at)
        return fault
      }
      case "JobProgressed":
      case "JobLogged":
        return undefined
      case "JobStepCompleted":
        return job.steps.size === job.steps.add(event.name).size ? told : undefined
      case "JobCompleted":
        return end(job, "completed")
      case "JobAttemptFailed":
      case "JobStalled": {
        if (event._tag === "JobAttemptFailed" || event.reason !== "handed_back") job.failures++
        job.status = event.retry_at === null ? "failing" : "waiting"
        job.due_at = event.retry_at ?? job.due_at
        const isTimeout = event._tag === "JobAttemptFailed" && event.error.name === "TimedOut"
        if (isTimeout && at < job.startedAt + job.timeout_ms) return "timed out early"
        return unless(job.status === "failing" || job.failures < job.max_attempts, "its attempts are used up")
      }
      case "JobDeadLettered": {
        end(job, "dead_letter")
        const isUsedUp = job.failures === job.max_attempts
        return unless(status === "failing" && isUsedUp === (event.reason === "attempts_used_up"), told)
      }
      case "JobCancelled":
        end(job, "cancelled")
        if (status === "processing") this.upset(at)
        if (isFinal(status)) return told
        if (event.cause === "expired") return unless(isUnstarted && job.expires_at <= at, told)
        return unless(event.cause === undefined || (status === "blocked" && this.#isDoomed(job)), told)
      case "JobRedriven":
        Object.assign(job, REDRIVEN, { due_at: event.due_at })
        return unless(status === "dead_letter" || status === "cancelled", told)
      case "JobRescheduled":
        job.due_at = event.due_at
        return unless(isUnstarted, told)
      case "JobReprioritized":
        job.priority = event.priority
        return unless(isUnstarted, told)
      case "JobDependencyEnded": {
        if (event.settled) job.waitsFor = job.waitsFor.filter((other) => other !== event.job)
        if (status !== "blocked" || !this.jobs.get(event.job)!.ends.has(event.outcome)) return told
        const settles = event.outcome === "completed" || job.on_dependency_failure !== "wait"
        return unless(event.settled === settles, told)
      }
      case "JobReleased":
        Object.assign(job, { status: "waiting", due_at: Math.max(event.due_at, job.due_at) })
        return unless(status === "blocked" && job.waitsFor.length === 0, told)
    }
  }

  /** Whether a job that it depends on has failed, and it goes down with it. */
  #isDoomed({ depends_on = [], on_dependency_failure: policy = "cancel" }: ModelJob): boolean {
    const ends = depends_on.flatMap((other) => [...this.jobs.get(other)!.ends])
    return policy === "cancel" && ends.some((how) => how !== "completed")
  }

  #whyNotStart(job: ModelJob, at: number): Fault {
    const { forgotten, limits, paused } = this.queue(job.queue)
    if (job.status !== "waiting" || job.failures >= job.max_attempts)
      return `started while it is ${job.status}`
    if (this.unwinding.has(job.id)) return "its last attempt has not ended"
    if (paused) return "its queue is paused"
    if (job.due_at > at) return "it is not due"
    if (job.expires_at <= at) return "it has expired"
    if (!this.#hasRoom(job)) return "its type or its key has no room"
    if (this.#running(job.queue).length >= (limits.concurrency ?? Infinity)) return "its queue has no room"
    if (this.#isSpent(job.queue, at, forgotten)) return "against the rate limit"
    if (!this.isInOrder) return undefined
    const first = [...this.jobs.values()].find((other) => isBefore(other, job) && this.#isReady(other, at))
    return first === undefined ? undefined : `${first.id} comes first`
  }

  /** Whether the rate limit allows no start any more, whatever was forgotten of the earlier ones. */
  #isSpent(queue: string, at: number, forgotten = 0): boolean {
    const { limits, starts } = this.queue(queue)
    const { per_ms, starts: most } = limits.rate_limit ?? { per_ms: 0, starts: Infinity }
    return starts.slice(forgotten).filter((start) => at - start < per_ms).length >= most
  }

  /** Whether a job could have started before this moment. Who is the first of a key takes a moment to be found. */
  #isReady(job: ModelJob, at: number): boolean {
    if (job.status !== "waiting" || job.due_at > at || job.expires_at <= at) return false
    if (this.unwinding.has(job.id) || this.#before(job).length > 0 || !this.#hasRoom(job)) return false
    const line = [...this.jobs.values()].filter((other) => other === job || isRival(job, other))
    return line.every(({ changedAt }) => changedAt < at)
  }

  /** Those that wait before a job in the line of its concurrency key: only the first of a type and priority may start. */
  #before(job: ModelJob): ReadonlyArray<ModelJob> {
    return [...this.jobs.values()].filter(
      (other) =>
        isRival(job, other) &&
        other.status === "waiting" &&
        other.type === job.type &&
        other.priority === job.priority &&
        isBefore(other, job),
    )
  }

  #hasRoom(job: ModelJob): boolean {
    const running = this.#running(job.queue)
    const ofKey = running.filter((other) => isRival(job, other))
    const ofType = running.filter(({ type }) => type === job.type)
    return ofType.length < ROOM[job.type]! && ofKey.length < this.queue(job.queue).limits.key_concurrency
  }

  #running(queue: string): ReadonlyArray<ModelJob> {
    return [...this.jobs.values()].filter(
      (job) => job.queue === queue && (job.status === "processing" || this.unwinding.has(job.id)),
    )
  }

  /** What should have happened by now. */
  undone(at: number): ReadonlyArray<string> {
    const all = [...this.jobs.values()].map((job) => [job.id, this.#whyUndone(job, at)] as const)
    return all.flatMap(([id, fault]) => (fault === undefined ? [] : `${id} ${fault}`))
  }

  #whyUndone(job: ModelJob, at: number): Fault {
    if (job.status === "failing") return "has failed for good and is not dead"
    if (job.status !== "waiting" && job.status !== "blocked") return undefined
    if (job.expires_at <= at) return "has expired and is not cancelled"
    if (job.status === "waiting") {
      // Whose last attempt has not ended holds up its line, even if there were room for two of the key.
      const isHeldUp = this.#before(job).some(({ id }) => this.unwinding.has(id))
      const isSpent = this.#isSpent(job.queue, at)
      return unless(isHeldUp || isSpent || this.#whyNotStart(job, at) !== undefined, "could start")
    }
    const isPatient = job.on_dependency_failure === "wait"
    const ended = job.waitsFor.find((id) => {
      const { status } = this.jobs.get(id)!
      return isPatient ? status === "completed" : isFinal(status)
    })
    return ended === undefined ? undefined : `was not told that ${ended} has ended`
  }
}

const unless = (holds: boolean, fault: string): Fault => (holds ? undefined : fault)

const end = (job: ModelJob, status: "completed" | "dead_letter" | "cancelled"): undefined => {
  job.status = status
  job.ends.add(status)
}

export const isFinal = (status: Status) =>
  status === "completed" || status === "dead_letter" || status === "cancelled"

/** Whether they share the places of a concurrency key. */
const isRival = (a: ModelJob, b: ModelJob) =>
  a.concurrency_key !== undefined && a.concurrency_key === b.concurrency_key && a.queue === b.queue

/** The order of claims: within a queue by priority, then due time, then enqueue order. */
const isBefore = (a: ModelJob, b: ModelJob): boolean => {
  const [first, second] = [a, b].map(({ priority }) => PRIORITIES.indexOf(priority)) as [number, number]
  return a.queue === b.queue && (first - second || a.due_at - b.due_at || a.position - b.position) < 0
}
