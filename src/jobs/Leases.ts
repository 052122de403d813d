/**
 * The leases of one queue: which jobs run here now, under which fencing token, and until when. Running in this process
 * is what renews a lease; one whose attempt has vanished without an answer runs out. A place is taken for as long as a
 * handler runs in it, which may be longer than it has the lease.
 */
import { type Fiber, Latch } from "effect"
import type { Lease } from "./Attempt.ts"
import type { AttemptRecord, JobState } from "./JobState.ts"
import type { VersionedJob } from "./Turn.ts"

/** How long a lease holds without being renewed. */
export const LEASE_DURATION_MS = 30_000
/** Leases are renewed, and checked, this often. */
export const HEARTBEAT_INTERVAL_MS = LEASE_DURATION_MS / 3

/** A job that runs here. */
export interface LiveLease {
  /** As last committed. */
  job: VersionedJob
  readonly attempt: number
  /** As the attempt has it. */
  readonly lease: Lease
  /** Absent while it is about to start, and when nobody here can run it any more. */
  fiber: Fiber.Fiber<void> | undefined
  expiresAt: number
}

/** The end that the attempt has told itself, if it has: then its handler had ended before. */
export const ownEndOf = ({ attempt }: LiveLease, { attempts }: JobState): AttemptRecord | undefined => {
  const record = attempts.findLast(({ number }) => number === attempt)
  return record?.outcome === "completed" || record?.outcome === "failed" ? record : undefined
}

/** Whether nothing runs under the lease, or is about to. */
export const isGone = ({ fiber }: LiveLease): boolean =>
  fiber === undefined || fiber.pollUnsafe() !== undefined

/** Whether a job in this state holds the lease still. */
export const isHeld = ({ attempt }: LiveLease, state: JobState): boolean =>
  state.status === "processing" && state.attempt === attempt

/** The leases of a queue, by job id. */
export class Leases {
  readonly #leases = new Map<string, LiveLease>()
  /** Those that are over and whose handlers have been interrupted, but have not ended yet. */
  readonly #ending = new Map<string, LiveLease>()
  readonly #running = new Map<string, number>()
  readonly #runningOfKey = new Map<string, number>()
  readonly #changed = Latch.makeUnsafe(false)

  get size(): number {
    return this.#leases.size
  }

  get(id: string): LiveLease | undefined {
    return this.#leases.get(id)
  }

  values(): Iterable<LiveLease> {
    return this.#leases.values()
  }

  /** The jobs whose handlers go on although their lease is over. */
  get ending(): Iterable<string> {
    return this.#ending.keys()
  }

  /** Handlers under way of each type: a copy. */
  runningByType(): Map<string, number> {
    return new Map(this.#running)
  }

  /** Handlers under way of a type, or of all. */
  running(type?: string): number {
    return type === undefined ? this.#leases.size + this.#ending.size : (this.#running.get(type) ?? 0)
  }

  /** Handlers under way of each concurrency key: a copy. */
  runningByKey(): Map<string, number> {
    return new Map(this.#runningOfKey)
  }

  /** The attempts of a type, or of all, with those whose lease is over. */
  fibers(type?: string): ReadonlyArray<Fiber.Fiber<void>> {
    const fibers: Array<Fiber.Fiber<void>> = []
    for (const leases of [this.#leases, this.#ending])
      for (const { job, fiber } of leases.values())
        if (fiber !== undefined && (type === undefined || job.state.type === type)) fibers.push(fiber)
    return fibers
  }

  add(lease: LiveLease): void {
    const { id, state } = lease.job
    this.#leases.set(id, lease)
    this.#running.set(state.type, this.running(state.type) + 1)
    this.#countKey(state.concurrencyKey, 1)
  }

  /** The lease is over, and so is its handler. */
  delete(lease: LiveLease): void {
    if (this.#leases.delete(lease.job.id)) this.#vacate(lease)
  }

  /** The lease is over, and its handler keeps its place until it has ended. */
  outlive(lease: LiveLease): void {
    if (this.#leases.delete(lease.job.id)) this.#ending.set(lease.job.id, lease)
  }

  /** A handler that went on after its lease has ended. */
  settle(lease: LiveLease): void {
    if (this.#ending.delete(lease.job.id)) this.#vacate(lease)
  }

  #vacate({ job: { state } }: LiveLease): void {
    this.#running.set(state.type, this.running(state.type) - 1)
    this.#countKey(state.concurrencyKey, -1)
    this.#changed.openUnsafe()
  }

  /** Keys are many and come and go: one without attempts is not remembered. */
  #countKey(key: string | undefined, by: 1 | -1): void {
    if (key === undefined) return
    const running = (this.#runningOfKey.get(key) ?? 0) + by
    if (running === 0) this.#runningOfKey.delete(key)
    else this.#runningOfKey.set(key, running)
  }

  /** Opens when a handler has ended; whoever waits closes it again first. */
  get changed(): Latch.Latch {
    return this.#changed
  }

  /** Renews the leases of attempts that are alive; answers those that have run out. */
  renew(now: number): ReadonlyArray<LiveLease> {
    const expired: Array<LiveLease> = []
    for (const lease of this.#leases.values()) {
      // A busy event loop makes heartbeats late, never workers dead: an attempt that is still here is renewed first.
      if (!isGone(lease)) lease.expiresAt = now + LEASE_DURATION_MS
      else if (lease.expiresAt <= now) expired.push(lease)
    }
    return expired
  }
}
