/**
 * The next ready jobs of one queue, in memory: for each type and priority a bounded prefix of the index on waiting jobs.
 * A claim is then a pop, never a scan, and memory does not grow with the backlog. What a lane holds is always exactly
 * the first so-many ready rows of its index range; what does not fit stays in the table until the lane is refilled.
 */
import type { Json } from "effect/Schema"
import { PRIORITIES } from "./JobEvents.ts"
import type { JobState } from "./JobState.ts"

/** Ready jobs a lane keeps in memory. */
export const LANE_CAPACITY = 1_024
/** A lane that is not known to be complete is refilled when it falls below this; so many are read again then. */
const LANE_LOW = LANE_CAPACITY / 8

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
  /**
   * The job itself, when its payload is small: a claim then reads nothing. Absent, it is read from the journal, so that
   * a window full of large payloads costs no more memory than one of small ones.
   */
  known: { readonly state: JobState; readonly version: number } | undefined
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
  /** The earliest due time of a job that is not due yet; infinite when there is none. It may be too early, never too late. */
  nextDueAt = Number.POSITIVE_INFINITY

  constructor(type: string, priority: number) {
    this.type = type
    this.priority = priority
  }

  get size(): number {
    return this.#jobs.length - this.#first
  }

  /** Whether nothing is left here although the table may hold more. */
  get isDry(): boolean {
    return this.size === 0 && !this.#complete
  }

  get head(): ReadyJob | undefined {
    return this.#jobs[this.#first]
  }

  /** Whether the table may hold ready jobs that should be here. */
  needsRefill(now: number): boolean {
    return this.nextDueAt <= now || (!this.#complete && this.size < LANE_LOW)
  }

  /** Replaces the content by the first rows of the index; `complete` when there were no more. */
  fill(jobs: Array<ReadyJob>, complete: boolean, nextDueAt: number): void {
    this.#jobs = jobs
    this.#first = 0
    this.#complete = complete
    this.nextDueAt = nextDueAt
  }

  /** Forgets everything: the table alone knows what is ready until the lane is refilled. */
  invalidate(): void {
    this.fill([], false, this.nextDueAt)
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
      return this.#jobs.pop() !== job
    }
    return true
  }

  /** Takes the first job out. */
  pop(): ReadyJob | undefined {
    const job = this.#jobs[this.#first]
    if (job === undefined) return undefined
    this.#first++
    if (this.#first === this.#jobs.length || this.#first > LANE_CAPACITY) {
      this.#jobs = this.#jobs.slice(this.#first)
      this.#first = 0
    }
    return job
  }

  /** Takes a job out that was cancelled or moved. */
  remove(id: string): void {
    const at = this.#jobs.findIndex((job, index) => index >= this.#first && job.id === id)
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

/** All lanes of a queue. */
export class ReadyWindow {
  /** By priority, most urgent first; within one, a lane a type. */
  readonly #lanes: ReadonlyArray<Map<string, Lane>> = PRIORITIES.map(() => new Map())

  #all: ReadonlyArray<Lane> = []

  /** Every lane. */
  get lanes(): ReadonlyArray<Lane> {
    return this.#all
  }

  /** The lane of a job, if its type is run here. */
  lane(type: string, priority: number): Lane | undefined {
    return this.#lanes[priority]?.get(type)
  }

  addType(type: string): void {
    this.#lanes.forEach((lanes, priority) => lanes.set(type, new Lane(type, priority)))
    this.#all = this.#lanes.flatMap((lanes) => [...lanes.values()])
  }

  removeType(type: string): void {
    for (const lanes of this.#lanes) lanes.delete(type)
    this.#all = this.#all.filter((lane) => lane.type !== type)
  }

  /** Forgets every lane's content. */
  invalidate(): void {
    for (const lane of this.lanes) lane.invalidate()
  }

  /** The next job of those types that `hasRoom` lets through: by priority, due time, enqueue order. */
  pop(hasRoom: (type: string) => boolean): ReadyJob | undefined {
    // A type whose more urgent lane has run dry waits for its refill: the table may hold jobs that come first.
    let dry: Set<string> | undefined
    for (const lanes of this.#lanes) {
      let best: Lane | undefined
      for (const lane of lanes.values()) {
        if (lane.isDry) dry = (dry ?? new Set()).add(lane.type)
        if (lane.head === undefined || dry?.has(lane.type) === true || !hasRoom(lane.type)) continue
        if (best === undefined || isBefore(lane.head, best.head!)) best = lane
      }
      if (best !== undefined) return best.pop()
    }
    return undefined
  }

  /** Whether jobs that could start now may be in the table alone: then the lanes must be refilled. */
  isDry(hasRoom: (type: string) => boolean): boolean {
    return this.#all.some((lane) => lane.isDry && hasRoom(lane.type))
  }

  /** When the next job becomes due, in milliseconds since 1970; infinite when none is known. */
  get nextDueAt(): number {
    let next = Number.POSITIVE_INFINITY
    for (const lane of this.lanes) next = Math.min(next, lane.nextDueAt)
    return next
  }
}

const isBefore = (a: ReadyJob, b: ReadyJob): boolean =>
  a.dueAt < b.dueAt || (a.dueAt === b.dueAt && a.position < b.position)
