/**
 * What a queue remembers: how it is set, its window of ready jobs, its newest starts, and what the next turn has to look
 * after. Before each turn it is made to agree with the committed tables; after a failed append it believes nothing until it
 * has read everything again.
 */
import { Effect } from "effect"
import type { Journal, JournalError } from "../journal/Journal.ts"
import type { Attempts } from "./Attempts.ts"
import { loadJob } from "./Enqueue.ts"
import { priorityCode } from "./JobRow.ts"
import { isFinished, type JobState } from "./JobState.ts"
import { EXPIRED_AT_A_TIME, type JobStore, type KeyPlace } from "./JobStore.ts"
import { isQueueEvent, QueueBehavior, streamOfQueue } from "./QueueBehavior.ts"
import { RateWindow } from "./RateWindow.ts"
import { type ReadyJob } from "./Lane.ts"
import { ReadyWindow } from "./ReadyWindow.ts"
import { recentStarts } from "./RecentStarts.ts"
import type { Turn, VersionedJob, VersionedSettings, WorkingJob } from "./Turn.ts"

/** After the store refused: until the queue tries on its own to go on. */
const STORE_RETRY_DELAY_MS = 500
const NEVER = Number.POSITIVE_INFINITY
/** Before every moment: whatever it is that shall happen then, look at it now. */
const NOW = Number.NEGATIVE_INFINITY

export interface QueueMemoryOptions {
  readonly name: string
  readonly journal: Journal["Service"]
  readonly store: JobStore["Service"]
  readonly attempts: Attempts
}

export class QueueMemory {
  readonly window = new ReadyWindow()
  readonly #options: QueueMemoryOptions
  #settings: VersionedSettings = { state: QueueBehavior.initial, version: 0 }
  #rate: RateWindow | undefined
  /** False at first, and after any append that failed. */
  #isTrusted = false
  #orphans: ReadonlyArray<VersionedJob> = []
  #expired: ReadonlyArray<string> = []
  #nextExpiryAt = NOW
  /** Whether somebody else has added jobs to the tables since the last preparation began. */
  #isBehind = false
  /** Lines of concurrency keys that the last turn has changed: who stands first there now? */
  #changedKeys = new Map<string, KeyPlace>()
  #retryAt = NEVER

  constructor(options: QueueMemoryOptions) {
    this.#options = options
  }

  get settings(): VersionedSettings {
    return this.#settings
  }

  /** The newest starts, under a rate limit. */
  get rate(): RateWindow | undefined {
    return this.#rate
  }

  /** The newest starts, under the rate limit that a turn may be about to set. */
  rateUnder(settings: VersionedSettings): RateWindow | undefined {
    if (settings === this.#settings) return this.#rate
    const { rate_limit: limit } = settings.state.limits
    if (limit === null) return undefined
    return this.#rate?.under(limit) ?? new RateWindow(limit, [])
  }

  /** Jobs whose lease belongs to nobody any more. Answers them once. */
  takeOrphans(): ReadonlyArray<VersionedJob> {
    const orphans = this.#orphans
    this.#orphans = []
    return orphans
  }

  /** Ids of jobs that were not started in time. Answers them once. */
  takeExpired(): ReadonlyArray<string> {
    const expired = this.#expired
    this.#expired = []
    return expired
  }

  /** Whether a look at the tables may bring more, at once. */
  get hasChangedKeys(): boolean {
    return this.#changedKeys.size > 0
  }

  /** When the next look is due. */
  nextAt(now: number): number {
    if (!this.#isTrusted) return this.#retryAt
    const nextStartAt = this.#rate === undefined || this.#rate.available(now) > 0 ? NEVER : this.#rate.nextAt
    return Math.min(this.window.nextDueAt, this.#nextExpiryAt, this.#retryAt, nextStartAt)
  }

  /** Agrees with the committed tables, as they stand at this moment. */
  prepare(now: number): Effect.Effect<void, JournalError> {
    return Effect.gen(() => this.#agree(now))
  }

  *#agree(now: number) {
    const { name, store } = this.#options
    if (this.#isBehind) this.#catchUp()
    if (!this.#isTrusted) yield* this.#reload(now)
    if (this.#changedKeys.size > 0) yield* this.#lookAtKeys(now)
    for (const lane of this.window.lanes) {
      const after = lane.missingSince(now)
      if (after === undefined) continue
      const { jobs, complete, nextDueAt } = yield* store.ready(name, lane.type, lane.priority, after, now)
      if (lane.isComplete) lane.extend(jobs, complete, nextDueAt, now)
      else lane.fill(jobs, complete, nextDueAt, now)
    }
    if (this.#nextExpiryAt <= now) yield* this.#lookAtExpired(now)
  }

  /** Nothing is believed any more until it was read again. */
  distrust(now: number): void {
    this.#isTrusted = false
    this.window.invalidate()
    this.#retryAt = now + STORE_RETRY_DELAY_MS
  }

  /**
   * Jobs were added to the tables by somebody else. The next preparation looks for them; one under way must not: what it has
   * read before them would take their place.
   */
  notice(): void {
    this.#isBehind = true
  }

  #catchUp(): void {
    this.#isBehind = false
    this.window.invalidate()
    this.#nextExpiryAt = NOW
  }

  /** A job of a turn is committed. */
  follow({ before, state }: WorkingJob): void {
    const { concurrencyKey, expiresAt } = state
    if (concurrencyKey !== undefined) this.#noteKey(concurrencyKey, before, state)
    if (expiresAt !== undefined && !isFinished(state))
      this.#nextExpiryAt = Math.min(this.#nextExpiryAt, expiresAt)
  }

  /** The queue's own settings are what a turn has made of them. Answers whether they have changed. */
  adopt({ settings }: Turn): boolean {
    if (settings === this.#settings) return false
    this.#rate = this.rateUnder(settings)
    this.#settings = settings
    return true
  }

  /** A job in the window turned out not to be ready (a clock that was set back, for instance). */
  lostTrack({ priority, type }: ReadyJob): void {
    this.window.lane(type, priority)?.invalidate()
  }

  /** Reads how the queue is set and who holds a lease according to the journal, and compares it with what runs here. */
  #reload(now: number): Effect.Effect<void, JournalError> {
    const self = this
    const { attempts, journal, name, store } = this.#options
    return Effect.gen(function* () {
      let settings: VersionedSettings = { state: QueueBehavior.initial, version: 0 }
      for (const { event, recordedAt, version } of yield* journal.readStream(streamOfQueue(name))) {
        if (!isQueueEvent(event)) continue
        settings = { state: QueueBehavior.evolve(settings.state, event, recordedAt), version }
      }
      const { rate_limit: limit } = settings.state.limits
      if (limit !== null && self.#rate === undefined)
        self.#rate = new RateWindow(limit, yield* recentStarts(journal, name, limit, now))
      self.#settings = settings
      const processing: Array<VersionedJob> = []
      for (const id of yield* store.processing(name)) {
        const job = yield* loadJob(journal, id)
        if (job.state.status === "processing") processing.push(job)
      }
      self.#orphans = attempts.reconcile(processing)
      self.window.invalidate()
      self.#changedKeys.clear()
      self.#nextExpiryAt = NOW
      self.#retryAt = NEVER
      self.#isTrusted = true
    })
  }

  /** Finds who stands first in the lines that the last turn has changed. */
  #lookAtKeys(now: number): Effect.Effect<void, JournalError> {
    const places = [...this.#changedKeys.values()]
    return Effect.map(this.#options.store.firstOfKeys(this.#options.name, places), (firsts) => {
      this.#changedKeys.clear()
      places.forEach(([type, priority, key], i) =>
        this.window.lane(type, priority)?.replaceFirstOfKey(key, firsts[i], now),
      )
    })
  }

  /** Finds what has expired, as much as one turn ends, and when the next look is due. */
  #lookAtExpired(now: number): Effect.Effect<void, JournalError> {
    const { name, store } = this.#options
    return Effect.flatMap(store.expired(name, now), (expired) => {
      this.#expired = expired
      if (expired.length === EXPIRED_AT_A_TIME) return Effect.void
      return Effect.map(store.nextExpiry(name, now), (at) => void (this.#nextExpiryAt = at))
    })
  }

  /** The line of a concurrency key has changed: where the job was, or where it is. */
  #noteKey(key: string, before: JobState, state: JobState): void {
    for (const { priority, status, type } of [before, state]) {
      if (status !== "waiting") continue
      const place = [type, priorityCode(priority), key] as const
      this.#changedKeys.set(place.join(" "), place)
    }
  }
}
