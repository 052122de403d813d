/**
 * The attempts of a queue that run in this process, and their leases. They follow what is committed: a job that the journal
 * says is processing here has a running attempt, every other attempt has ended or is interrupted. What is interrupted may
 * take its time to end: until then it keeps its place, and its job is not started again.
 */
import { Effect, Fiber } from "effect"
import { type Lease, type LeaseCommands, type Registration, runAttempt } from "./Attempt.ts"
import type { JobState } from "./JobState.ts"
import { isHeld, LEASE_DURATION_MS, Leases, type LiveLease, ownEndOf } from "./Leases.ts"
import type { LiveProgress } from "./LiveProgress.ts"
import { QueueMeter, type QueueThroughput } from "./QueueMeter.ts"
import type { VersionedJob, WorkingJob } from "./Turn.ts"

export interface AttemptsOptions {
  readonly registrations: ReadonlyMap<string, Registration>
  readonly live: LiveProgress
  readonly commands: LeaseCommands
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  /** Whose handler has gone while the start was under way. */
  readonly onOrphan: (lease: Lease) => void
  /** A handler that was interrupted has ended: there is room for another. */
  readonly onRoom: () => void
}

export class Attempts {
  readonly leases = new Leases()
  readonly #options: AttemptsOptions
  readonly #meter = new QueueMeter()
  /** When one last began, told of something or ended; undefined: nobody has looked yet. */
  #movedAt: number | undefined

  constructor(options: AttemptsOptions) {
    this.#options = options
  }

  /** How the last minute was. */
  lastMinute(now: number): QueueThroughput {
    return this.#meter.lastMinute(now)
  }

  /** Milliseconds since one began, told of something or ended; at first, since somebody asked. */
  quietMs(now: number): number {
    return now - (this.#movedAt ??= now)
  }

  /** A job has been committed: its lease goes on, ends or begins. Answers whether an attempt has begun. */
  follow({ id, position, state, trace, version }: WorkingJob, now: number): boolean {
    const lease = this.leases.get(id)
    if (lease === undefined && state.status !== "processing") return false
    this.#movedAt = now
    const job: VersionedJob = { id, position, state, trace, version }
    if (lease !== undefined && isHeld(lease, state)) {
      lease.job = job
      return false
    }
    if (lease !== undefined) this.#end(lease, state)
    if (state.status !== "processing") return false
    this.#start(job, now)
    return true
  }

  /** Compares the leases with what the journal says is processing; answers the jobs whose lease belongs to nobody here. */
  reconcile(processing: ReadonlyArray<VersionedJob>): ReadonlyArray<VersionedJob> {
    const held = new Set<LiveLease>()
    const orphans: Array<VersionedJob> = []
    for (const job of processing) {
      const lease = this.leases.get(job.id)
      if (lease !== undefined && isHeld(lease, job.state)) {
        lease.job = job
        held.add(lease)
      } else orphans.push(job)
    }
    for (const lease of this.leases.values()) if (!held.has(lease)) this.#revoke(lease)
    return orphans
  }

  /** Ends when no handler of a type (of any, without one) is under way. */
  ended(type: string | undefined): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (this.leases.running(type) === 0) return Effect.void
      this.leases.changed.closeUnsafe()
      return Effect.andThen(this.leases.changed.await, this.ended(type))
    })
  }

  #start(job: VersionedJob, now: number): void {
    const { id, state, trace } = job
    const { attempt } = state
    const { commands, fork, onOrphan, registrations } = this.#options
    const registration = registrations.get(state.type)
    const lease: Lease = { id, attempt, state, trace, span: undefined }
    const live: LiveLease = { job, attempt, lease, fiber: undefined, expiresAt: now + LEASE_DURATION_MS }
    // Before the attempt, whose first steps run within the fork.
    this.leases.add(live)
    if (registration === undefined) onOrphan(lease)
    else live.fiber = fork(runAttempt(registration, lease, commands))
  }

  /** The lease is over. Its attempt is interrupted unless it has ended by itself. */
  #end(lease: LiveLease, state: JobState): void {
    const end = ownEndOf(lease, state)
    if (end === undefined) return this.#revoke(lease)
    const { endedAt, outcome, startedAt, waitMs } = end
    this.#meter.record(endedAt!, outcome === "completed", waitMs, endedAt! - startedAt)
    this.#options.live.clear(lease.job.id)
    this.leases.delete(lease)
  }

  #revoke(lease: LiveLease): void {
    const { fiber, job } = lease
    this.#options.live.clear(job.id)
    if (fiber === undefined) return this.leases.delete(lease)
    this.leases.outlive(lease)
    fiber.interruptUnsafe()
    // At once, if it has ended already. The turn that decided this may have left its place alone: another one fills it.
    fiber.addObserver(() => {
      this.leases.settle(lease)
      this.#options.onRoom()
    })
  }
}
