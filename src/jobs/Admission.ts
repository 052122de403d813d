/**
 * Who may start in one turn of a queue: room for each type and for the queue as a whole, room for each concurrency key,
 * and starts that the rate limit still allows. It counts what the turn has decided so far as if it were done, but for
 * handlers that are to be interrupted: they take their places until they have ended, and their jobs wait for them.
 */
import type { Registration } from "./Attempt.ts"
import type { ReadyJob } from "./Lane.ts"
import { isGone, isHeld, type Leases, ownEndOf } from "./Leases.ts"
import type { QueueState } from "./QueueBehavior.ts"
import type { RateWindow } from "./RateWindow.ts"
import type { Turn, WorkingJob } from "./Turn.ts"

export interface AdmissionOptions {
  readonly registrations: ReadonlyMap<string, Registration>
  /** Attempts of one type at a time, where its registration does not say. */
  readonly concurrency: number
  readonly settings: QueueState
  readonly rate: RateWindow | undefined
  readonly leases: Leases
}

export class Admission {
  readonly #options: AdmissionOptions
  readonly #running: Map<string, number>
  /** Jobs whose last handler goes on although its lease is over, or will be with this turn. */
  readonly #unended: Set<string>
  #startsLeft: number
  /** Made when the first concurrency key is asked for: most queues have none. */
  #runningOfKey: Map<string, number> | undefined
  readonly #ended: Array<string> = []
  readonly #started: Array<string> = []

  constructor(turn: Turn, options: AdmissionOptions) {
    const { leases, rate, settings } = options
    this.#options = options
    this.#running = leases.runningByType()
    this.#unended = new Set(leases.ending)
    let total = leases.running()
    for (const { id, state } of leases.size === 0 ? [] : turn.jobs) {
      const lease = leases.get(id)
      if (lease === undefined || isHeld(lease, state)) continue
      if (!isGone(lease) && ownEndOf(lease, state) === undefined) {
        this.#unended.add(id)
        continue
      }
      this.#running.set(state.type, this.#running.get(state.type)! - 1)
      if (state.concurrencyKey !== undefined) this.#ended.push(state.concurrencyKey)
      total--
    }
    const { concurrency } = settings.limits
    this.#startsLeft = Math.min(
      settings.paused ? 0 : Number.POSITIVE_INFINITY,
      concurrency === null ? Number.POSITIVE_INFINITY : concurrency - total,
      rate === undefined ? Number.POSITIVE_INFINITY : rate.available(turn.now),
    )
  }

  /** Whether anything may start at all. */
  get isOpen(): boolean {
    return this.#startsLeft > 0
  }

  /** Whether an attempt of this type may start. */
  readonly hasRoom = (type: string): boolean => {
    if (this.#startsLeft <= 0) return false
    const registration = this.#options.registrations.get(type)
    if (registration === undefined) return false
    return (this.#running.get(type) ?? 0) < (registration.concurrency ?? this.#options.concurrency)
  }

  /** Whether nothing is in the way of a job but, perhaps, that its type has no room. */
  readonly isFree = ({ id, key }: ReadyJob): boolean => {
    if (this.#unended.has(id)) return false
    if (key === undefined) return true
    return (this.#countKeys().get(key) ?? 0) < this.#options.settings.limits.key_concurrency
  }

  /** The turn has decided to start an attempt. */
  started({ state: { concurrencyKey, type } }: WorkingJob): void {
    this.#startsLeft--
    this.#running.set(type, (this.#running.get(type) ?? 0) + 1)
    if (concurrencyKey !== undefined) this.#started.push(concurrencyKey)
  }

  #countKeys(): ReadonlyMap<string, number> {
    const counts = (this.#runningOfKey ??= this.#options.leases.runningByKey())
    for (const key of this.#ended.splice(0)) counts.set(key, (counts.get(key) ?? 0) - 1)
    for (const key of this.#started.splice(0)) counts.set(key, (counts.get(key) ?? 0) + 1)
    return counts
  }
}
