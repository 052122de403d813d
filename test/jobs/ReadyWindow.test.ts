import { describe, expect, it } from "vitest"
import * as fc from "fast-check"
import { Lane, LANE_CAPACITY, type ReadyJob } from "../../src/jobs/Lane.ts"
import { ReadyWindow } from "../../src/jobs/ReadyWindow.ts"

const NOW = 1_000
const readyJob = (position: number, dueAt: number, type = "test", priority = 2): ReadyJob => ({
  id: `job_${position}`,
  type,
  priority,
  dueAt,
  position,
  key: undefined,
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
  lane.fill(jobs, jobs.length < LANE_CAPACITY, Number.POSITIVE_INFINITY, 0)
}

const anyJob = () => true

const pop = (lane: Lane): ReadyJob | undefined => {
  const job = lane.first(anyJob)
  if (job !== undefined) lane.take(job)
  return job
}

/** All that the lane holds, in its order. Empties it. */
const drain = (lane: Lane): Array<ReadyJob> => {
  const jobs: Array<ReadyJob> = []
  for (let job = pop(lane); job !== undefined; job = pop(lane)) jobs.push(job)
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
      const job = pop(lane)
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
  else if (next.do === "fill" || lane.missingSince(NOW) !== undefined) refill(lane, reference)
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
          expect(lane.first(anyJob)?.id).toBe(lane.size === 0 ? undefined : reference.ready[0]!.id)
          // What is left out is asked for before the lane runs dry.
          const isEnough = lane.size === reference.ready.length || lane.size >= LANE_CAPACITY / 4
          expect(lane.missingSince(NOW) !== undefined || isEnough).toBe(true)
        }
        const size = lane.size
        expect(ids(drain(lane))).toEqual(ids(reference.ready.slice(0, size)))
      }),
      { numRuns: 150 },
    )
  })

  it("asks for a refill when something becomes due", () => {
    const lane = new Lane("test", 2)
    lane.fill([], true, NOW, 5)
    expect(lane.missingSince(NOW - 1)).toBeUndefined()
    expect(lane.missingSince(NOW)).toBe(5)
  })

  it("takes in what has become due since, and nothing twice", () => {
    const lane = new Lane("test", 2)
    lane.fill([readyJob(1, 10), readyJob(2, 20)], true, 60, 50)
    lane.offer(readyJob(9, 55))
    expect(lane.missingSince(60)).toBe(50)
    lane.extend([readyJob(9, 55), readyJob(3, 60)], true, 70, 60)
    expect(lane.missingSince(69)).toBeUndefined()
    expect(ids(drain(lane))).toEqual(["job_1", "job_2", "job_9", "job_3"])
  })

  it("that is not complete needs no timer: what becomes due comes after all that it holds", () => {
    const lane = new Lane("test", 2)
    lane.fill(
      Array.from({ length: LANE_CAPACITY }, (_, i) => readyJob(i, i)),
      false,
      LANE_CAPACITY + 5,
      LANE_CAPACITY,
    )
    expect(lane.nextDueAt).toBe(Number.POSITIVE_INFINITY)
    expect(lane.missingSince(LANE_CAPACITY + 5)).toBeUndefined()
  })

  it("passes over a job whose concurrency key has no room, and puts another in its place", () => {
    const lane = new Lane("test", 2)
    const keyed = (position: number, key: string) => ({ ...readyJob(position, position), key })
    lane.fill([keyed(1, "a"), keyed(2, "b"), readyJob(3, 3)], true, Number.POSITIVE_INFINITY, 10)
    const notA = ({ key }: ReadyJob) => key !== "a"
    expect(lane.first(notA)?.id).toBe("job_2")
    lane.take(lane.first(notA)!)
    expect(lane.first(notA)?.id).toBe("job_3")
    lane.replaceFirstOfKey("a", keyed(4, "a"), 10)
    expect(ids(drain(lane))).toEqual(["job_3", "job_4"])
  })

  it("has nothing in it until it was filled once", () => {
    const lane = new Lane("test", 2)
    expect(lane.missingSince(NOW)).toBeLessThan(0)
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
        for (const lane of window.lanes) lane.fill([], true, Number.POSITIVE_INFINITY, 0)
        const jobs = specs.map(({ type, priority, dueAt }, i) => readyJob(i, dueAt, type, priority))
        for (const job of jobs) window.lane(job.type, job.priority)!.offer(job)
        const given: Array<ReadyJob> = []
        const hasRoom = (type: string) => room.includes(type)
        for (let job = window.pop(hasRoom, anyJob); job !== undefined; job = window.pop(hasRoom, anyJob))
          given.push(job)
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
    window.lane("a", 1)!.fill([], true, 70, 0)
    window.lane("b", 3)!.fill([], true, 50, 0)
    expect(window.nextDueAt).toBe(50)
    window.removeType("b")
    expect(window.nextDueAt).toBe(70)
    expect(window.lane("b", 3)).toBeUndefined()
  })
})
