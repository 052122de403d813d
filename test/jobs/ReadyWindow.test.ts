import { describe, expect, it } from "vitest"
import * as fc from "fast-check"
import { Lane, LANE_CAPACITY, type ReadyJob, ReadyWindow } from "../../src/jobs/ReadyWindow.ts"

const NOW = 1_000
const readyJob = (position: number, dueAt: number, type = "test", priority = 2): ReadyJob => ({
  id: `job_${position}`,
  type,
  priority,
  dueAt,
  position,
  known: undefined,
})
const inOrder = (a: ReadyJob, b: ReadyJob) => a.dueAt - b.dueAt || a.position - b.position
const ids = (jobs: ReadonlyArray<ReadyJob>) => jobs.map(({ id }) => id)

/** What the lane stands for: the table's ready rows in order, of which it should hold the first so many. */
class Reference {
  ready: Array<ReadyJob> = []
  #next = 1

  fresh(dueAt: number): ReadyJob {
    return readyJob(this.#next++, dueAt)
  }

  add(job: ReadyJob): void {
    this.ready.push(job)
    this.ready.sort(inOrder)
  }

  remove(id: string): void {
    this.ready = this.ready.filter((job) => job.id !== id)
  }
}

const refill = (lane: Lane, reference: Reference) => {
  const jobs = reference.ready.slice(0, LANE_CAPACITY)
  lane.fill(jobs, jobs.length < LANE_CAPACITY, Number.POSITIVE_INFINITY)
}

/** All that the lane holds, in its order. Empties it. */
const drain = (lane: Lane): Array<ReadyJob> => {
  const jobs: Array<ReadyJob> = []
  for (let job = lane.pop(); job !== undefined; job = lane.pop()) jobs.push(job)
  return jobs
}

type Step =
  | { readonly do: "offer" | "enqueue elsewhere"; readonly dues: ReadonlyArray<number> }
  | { readonly do: "pop"; readonly count: number }
  | { readonly do: "remove"; readonly where: number }
  | { readonly do: "fill" | "invalidate" | "fill if needed" }

const dues = fc.oneof(
  fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 5 }),
  fc.array(fc.integer({ min: 0, max: 50 }), { minLength: 150, maxLength: 400 }),
  // As jobs usually come: later and later.
  fc.integer({ min: 1, max: 300 }).map((count) => Array.from({ length: count }, (_, i) => 100 + i)),
)
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ do: fc.constant("offer" as const), dues }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant("pop" as const), count: fc.nat({ max: 300 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("remove" as const), where: fc.nat({ max: 999 }) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("fill" as const) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("fill if needed" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("invalidate" as const) }) },
)

const apply = (lane: Lane, reference: Reference, next: Step): void => {
  if (next.do === "offer") {
    for (const due of next.dues) {
      const job = reference.fresh(due)
      reference.add(job)
      lane.offer(job)
    }
  } else if (next.do === "pop") {
    for (let i = 0; i < next.count; i++) {
      const head = lane.head
      const job = lane.pop()
      expect(job).toBe(head)
      if (job === undefined) return
      expect(job.id).toBe(reference.ready[0]!.id)
      reference.remove(job.id)
    }
  } else if (next.do === "remove") {
    // Any job, whether it is in memory or not.
    const job = reference.ready[next.where % Math.max(1, reference.ready.length)]
    if (job === undefined) return
    reference.remove(job.id)
    lane.remove(job.id)
  } else if (next.do === "invalidate") lane.invalidate()
  else if (next.do === "fill" || lane.needsRefill(NOW)) refill(lane, reference)
}

describe("a lane", () => {
  it("holds exactly the first ready jobs of its range, whatever happens", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const lane = new Lane("test", 2)
        const reference = new Reference()
        refill(lane, reference)
        for (const next of steps) {
          apply(lane, reference, next)
          expect(lane.size).toBeLessThanOrEqual(Math.min(LANE_CAPACITY, reference.ready.length))
          expect(lane.head?.id).toBe(lane.size === 0 ? undefined : reference.ready[0]!.id)
          // What is left out is asked for before the lane runs dry.
          const isEnough = lane.size === reference.ready.length || lane.size >= LANE_CAPACITY / 4
          expect(lane.needsRefill(NOW) || isEnough).toBe(true)
        }
        const size = lane.size
        expect(ids(drain(lane))).toEqual(ids(reference.ready.slice(0, size)))
      }),
      { numRuns: 150 },
    )
  })

  it("asks for a refill when something becomes due", () => {
    const lane = new Lane("test", 2)
    lane.fill([], true, NOW)
    expect(lane.needsRefill(NOW - 1)).toBe(false)
    expect(lane.needsRefill(NOW)).toBe(true)
  })

  it("has nothing in it until it was filled once", () => {
    const lane = new Lane("test", 2)
    expect(lane.needsRefill(NOW)).toBe(true)
    lane.offer(readyJob(1, 1))
    expect(lane.size).toBe(0)
  })
})

describe("the window", () => {
  const everyJob = fc.array(
    fc.record({
      type: fc.constantFrom("a", "b", "c"),
      priority: fc.integer({ min: 0, max: 3 }),
      dueAt: fc.integer({ min: 0, max: 5 }),
    }),
    { maxLength: 60 },
  )

  it("gives jobs out by priority, due time and enqueue order, of types that have room", () => {
    fc.assert(
      fc.property(everyJob, fc.subarray(["a", "b", "c"]), (specs, room) => {
        const window = new ReadyWindow()
        for (const type of ["a", "b", "c"]) window.addType(type)
        for (const lane of window.lanes) lane.fill([], true, Number.POSITIVE_INFINITY)
        const jobs = specs.map(({ type, priority, dueAt }, i) => readyJob(i, dueAt, type, priority))
        for (const job of jobs) window.lane(job.type, job.priority)!.offer(job)
        const given: Array<ReadyJob> = []
        const hasRoom = (type: string) => room.includes(type)
        for (let job = window.pop(hasRoom); job !== undefined; job = window.pop(hasRoom)) given.push(job)
        const expected = jobs
          .filter(({ type }) => room.includes(type))
          .toSorted((a, b) => a.priority - b.priority || inOrder(a, b))
        expect(ids(given)).toEqual(ids(expected))
      }),
    )
  })

  it("knows when the next job of any lane is due", () => {
    const window = new ReadyWindow()
    expect(window.nextDueAt).toBe(Number.POSITIVE_INFINITY)
    window.addType("a")
    window.addType("b")
    window.lane("a", 1)!.fill([], true, 70)
    window.lane("b", 3)!.fill([], true, 50)
    expect(window.nextDueAt).toBe(50)
    window.removeType("b")
    expect(window.nextDueAt).toBe(70)
    expect(window.lane("b", 3)).toBeUndefined()
  })
})
