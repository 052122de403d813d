/**
 * Who was refused for asking too often: one record for each caller, route and policy, with how often and when. Bounded: those that
 * happened longest ago make room, and after a week each one goes.
 */
import { Duration } from "effect"

/** Records kept. */
export const VIOLATIONS_MAX = 1_000
/** How long after its last refusal a record is kept, in milliseconds. */
export const VIOLATION_AGE_MS = Duration.toMillis("7 days")

/** How a caller is known. */
export type CallerKind = "api_key" | "user" | "internal" | "address"

/** Who was refused what. */
export interface Refused {
  /** The id of the key or user, or the network address. */
  readonly caller: string
  readonly kind: CallerKind
  /** Method and path as they are declared, such as `GET /v1/jobs/:id`. */
  readonly route: string
  readonly policy: string
}

/** How often. */
export interface Violation extends Refused {
  readonly count: number
  /** Milliseconds since 1970. */
  readonly firstAt: number
  readonly lastAt: number
}

/** One in the order of their last refusals. */
export interface OrderedViolation extends Violation {
  /** Grows with every refusal, over restarts as well: a list can go on behind it. */
  readonly sequence: number
}

/** More than are refused in a millisecond. */
const SEQUENCES_PER_MS = 1_000

/** What has to be written down. */
export interface ViolationChanges {
  readonly updated: ReadonlyArray<Violation>
  readonly removed: ReadonlyArray<Violation>
}

export class Violations {
  readonly #capacity: number
  /** The newest is the last. */
  readonly #records = new Map<string, OrderedViolation>()
  #sequence = 0
  #updated = new Set<string>()
  #removed = new Map<string, Violation>()

  constructor(capacity = VIOLATIONS_MAX) {
    this.#capacity = capacity
  }

  /** The newest first, of those before a `sequence`. */
  list(before = Infinity): ReadonlyArray<OrderedViolation> {
    return [...this.#records.values()].filter(({ sequence }) => sequence < before).toReversed()
  }

  record(refused: Refused, now: number): void {
    const key = keyOf(refused)
    const known = this.#records.get(key)
    this.#put(
      key,
      known === undefined
        ? { ...refused, count: 1, firstAt: now, lastAt: now }
        : { ...known, count: known.count + 1, lastAt: now },
    )
    this.#updated.add(key)
    this.#removed.delete(key)
  }

  /** Takes over what was written down, the oldest first. */
  restore(violations: Iterable<Violation>): void {
    for (const violation of violations) this.#put(keyOf(violation), violation)
  }

  removeOlderThan(moment: number): void {
    for (const [key, violation] of this.#records) {
      if (violation.lastAt >= moment) return
      this.#remove(key, violation)
    }
  }

  /** What has happened since the last time. */
  takeChanges(): ViolationChanges {
    const updated = [...this.#updated].map((key) => this.#records.get(key)!)
    const removed = [...this.#removed.values()]
    this.#updated = new Set()
    this.#removed = new Map()
    return { updated, removed }
  }

  /** All of them have to be written down again. */
  markAllChanged(): void {
    this.#updated = new Set(this.#records.keys())
  }

  #put(key: string, violation: Violation): void {
    this.#records.delete(key)
    if (this.#records.size >= this.#capacity) {
      const [oldest, record] = this.#records.entries().next().value!
      this.#remove(oldest, record)
    }
    this.#sequence = Math.max(this.#sequence + 1, violation.lastAt * SEQUENCES_PER_MS)
    this.#records.set(key, { ...violation, sequence: this.#sequence })
  }

  #remove(key: string, violation: Violation): void {
    this.#records.delete(key)
    this.#updated.delete(key)
    // No more than there is room for: an older one that is overlooked goes by its age.
    if (this.#removed.size < this.#capacity) this.#removed.set(key, violation)
  }
}

const keyOf = ({ caller, kind, policy, route }: Refused): string => `${kind} ${caller} ${policy} ${route}`
