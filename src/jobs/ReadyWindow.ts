/**
 * The next ready jobs of one queue, in memory: for each type and priority a lane. A claim is a pop, never a scan, and memory
 * does not grow with the backlog.
 */
import { PRIORITIES } from "./JobEvents.ts"
import { isBefore, Lane, type ReadyJob } from "./Lane.ts"

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

  /**
   * Takes out the next of those jobs that are free to start and whose types have room: by priority, due time, enqueue
   * order.
   */
  pop(hasRoom: (type: string) => boolean, isFree: (job: ReadyJob) => boolean): ReadyJob | undefined {
    // A type whose more urgent lane has run dry waits for its refill: the table may hold jobs that come first.
    let dry: Set<string> | undefined
    for (const lanes of this.#lanes) {
      let best: Lane | undefined
      let next: ReadyJob | undefined
      for (const lane of lanes.values()) {
        if (lane.isDry) dry = (dry ?? new Set()).add(lane.type)
        if (lane.size === 0 || dry?.has(lane.type) === true || !hasRoom(lane.type)) continue
        const first = lane.first(isFree)
        if (lane.isDry) dry = (dry ?? new Set()).add(lane.type)
        if (first === undefined || (next !== undefined && !isBefore(first, next))) continue
        best = lane
        next = first
      }
      if (next === undefined) continue
      best!.take(next)
      return next
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
