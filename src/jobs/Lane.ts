/**
 * The next ready jobs of one type and priority, in memory: a bounded prefix of the index on waiting jobs. What it holds is
 * always exactly the first so-many ready rows of its index range; what does not fit stays in the table until it is refilled.
 */
import type { Json } from "effect/Schema"
import type { JobState } from "./JobState.ts"
import type { JobTrace } from "./JobTrace.ts"

/** Ready jobs a lane keeps in memory. */
export const LANE_CAPACITY = 1_024
/** A lane that is not known to be complete is refilled when it falls below this; everything is read again then. */
const LANE_LOW = LANE_CAPACITY / 8

/** Before every due time. */
const NEVER = -1

/** JSON characters of a payload up to which the state of a ready job is kept beside it. */
export const SMALL_PAYLOAD_CHARACTERS = 2_048

/** A ready job. Order within a lane: due time, then enqueue order. */
export interface ReadyJob {
  readonly id: string
  readonly type: string
  /** Index in `PRIORITIES`. */
  readonly priority: number
  readonly dueAt: number
  /** Of the JobEnqueued event, or a provisional one above all others until the append has given it. */
  position: number
  /** Its concurrency key. Of each key, a lane has at most the first job. */
  readonly key: string | undefined
  /**
   * The job itself, when its payload is small: a claim then reads nothing. Absent, it is read from the journal, so that
   * a window full of large payloads costs no more memory than one of small ones.
   */
  known:
    | { readonly state: JobState; readonly version: number; readonly trace: JobTrace | undefined }
    | undefined
}

/** Whether a payload takes no more than about {@link SMALL_PAYLOAD_CHARACTERS}. Stops counting when it is more. */
export const isSmall = (payload: Json): boolean => charactersLeft(payload, SMALL_PAYLOAD_CHARACTERS) >= 0

const charactersLeft = (value: Json, left: number): number => {
  if (typeof value === "string") return left - value.length - 2
  if (typeof value !== "object" || value === null) return left - 8
  let rest = left - 2
  for (const key in value) {
    if (rest < 0) return rest
    rest = charactersLeft((value as Record<string, Json>)[key]!, rest - key.length - 4)
  }
  return rest
}

/** One type's jobs of one priority. */
export class Lane {
  readonly type: string
  readonly priority: number
  #jobs: Array<ReadyJob> = []
  /** Where the first job stands: popping moves it, so that a pop costs nothing. */
  #first = 0
  /** Whether no ready job of this lane is outside the memory. */
  #complete = false
  /** Until when: jobs that became due after that are found by their due time. */
  #completeUntil = NEVER
  /** Whether nothing that is left is free to start, and a look at the table may bring others. */
  #isExhausted = false
  #wasTaken = false
  /**
   * The earliest due time of a job that is not due yet, as far as the lane is complete; infinite when there is none. It
   * may be too early, never too late.
   */
  #nextDueAt = Number.POSITIVE_INFINITY

  constructor(type: string, priority: number) {
    this.type = type
    this.priority = priority
  }

  get size(): number {
    return this.#jobs.length - this.#first
  }

  /** Whether nothing that could start is left here although the table may hold more. */
  get isDry(): boolean {
    return !this.#complete && (this.size === 0 || this.#isExhausted)
  }

  /** The first job that is free to start: not every one is, as its concurrency key may be taken. */
  first(isFree: (job: ReadyJob) => boolean): ReadyJob | undefined {
    for (let at = this.#first; at < this.#jobs.length; at++) {
      const job = this.#jobs[at]!
      if (isFree(job)) return job
    }
    // Those that were taken have made room for others. A lane as it was read gives no more when it is read again.
    this.#isExhausted = this.#wasTaken
    return undefined
  }

  /** Whether all that is ready is here, but for what has become due since. */
  get isComplete(): boolean {
    return this.#complete
  }

  get nextDueAt(): number {
    return this.#nextDueAt
  }

  /** A job that is not due yet will be at this moment. */
  expect(dueAt: number): void {
    this.#nextDueAt = Math.min(this.#nextDueAt, dueAt)
  }

  /**
   * After which due time the table may hold ready jobs that should be here; undefined when there are none. Of an
   * incomplete lane everything is read again; jobs that become due meanwhile come after all that it holds.
   */
  missingSince(now: number): number | undefined {
    if (this.#complete) return this.#nextDueAt <= now ? this.#completeUntil : undefined
    return this.size < LANE_LOW || this.#isExhausted ? NEVER : undefined
  }

  /** Replaces the content by the first rows of the index; `complete` when there were no more. */
  fill(jobs: Array<ReadyJob>, complete: boolean, nextDueAt: number, now: number): void {
    this.#jobs = jobs
    this.#first = 0
    this.#complete = complete
    this.#completeUntil = now
    this.#isExhausted = false
    this.#wasTaken = false
    this.#nextDueAt = complete ? nextDueAt : Number.POSITIVE_INFINITY
  }

  /** Takes in what has become due since the lane was last complete. */
  extend(jobs: ReadonlyArray<ReadyJob>, complete: boolean, nextDueAt: number, now: number): void {
    // Those that were offered since are known already.
    const known = new Set<string>()
    for (let at = this.#jobs.length - 1; at >= this.#first; at--) {
      const { dueAt, id } = this.#jobs[at]!
      if (dueAt <= this.#completeUntil) break
      known.add(id)
    }
    const all = [...this.#jobs.slice(this.#first), ...jobs.filter(({ id }) => !known.has(id))]
    if (known.size > 0) all.sort((a, b) => (isBefore(a, b) ? -1 : 1))
    const fits = complete && all.length <= LANE_CAPACITY
    this.fill(all.slice(0, LANE_CAPACITY), fits, nextDueAt, now)
  }

  /** Forgets everything: the table alone knows what is ready until the lane is refilled. */
  invalidate(): void {
    this.fill([], false, Number.POSITIVE_INFINITY, NEVER)
  }

  /** Takes in a job that became ready, if it belongs to the prefix; answers whether it did. */
  offer(job: ReadyJob): boolean {
    const last = this.#jobs.at(-1)
    const belongs = this.#complete || (this.size > 0 && last !== undefined && isBefore(job, last))
    if (!belongs) return false
    if (this.size > 0 && last !== undefined && isBefore(job, last))
      this.#jobs.splice(this.#placeOf(job), 0, job)
    else this.#jobs.push(job)
    if (this.size > LANE_CAPACITY) {
      this.#complete = false
      this.#nextDueAt = Number.POSITIVE_INFINITY
      return this.#jobs.pop() !== job
    }
    return true
  }

  /** Takes a job out that stands here: the first one at no cost. */
  take(job: ReadyJob): void {
    this.#wasTaken = true
    if (this.#jobs[this.#first] !== job) return void this.#jobs.splice(this.#jobs.indexOf(job), 1)
    this.#first++
    if (this.#first === this.#jobs.length || this.#first > LANE_CAPACITY) {
      this.#jobs = this.#jobs.slice(this.#first)
      this.#first = 0
    }
  }

  /** Takes a job out that was cancelled or moved. */
  remove(id: string): void {
    this.#removeFirst((job) => job.id === id)
  }

  /** Puts the first job of a concurrency key in the place of the one that was; undefined: none waits. */
  replaceFirstOfKey(key: string, job: ReadyJob | undefined, now: number): void {
    this.#removeFirst((other) => other.key === key)
    if (job === undefined) return
    if (job.dueAt > now) this.expect(job.dueAt)
    else this.offer(job)
  }

  #removeFirst(isMeant: (job: ReadyJob) => boolean): void {
    const at = this.#jobs.findIndex((job, index) => index >= this.#first && isMeant(job))
    if (at >= 0) this.#jobs.splice(at, 1)
  }

  /** The first place from which all jobs come after this one. */
  #placeOf(job: ReadyJob): number {
    let low = this.#first
    let high = this.#jobs.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (isBefore(job, this.#jobs[middle]!)) high = middle
      else low = middle + 1
    }
    return low
  }
}

/** The order of claims within a priority. */
export const isBefore = (a: ReadyJob, b: ReadyJob): boolean =>
  a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.position < b.position)
