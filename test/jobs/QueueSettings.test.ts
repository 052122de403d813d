import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Queue } from "../../src/jobs/Queue.ts"
import { QueueBehavior } from "../../src/jobs/QueueBehavior.ts"
import { advance, settle } from "../support/Turns.ts"
import {
  ended,
  eventsOf,
  gates,
  numbered,
  Numbered,
  queueWith,
  running,
  START,
  statusOf,
  store,
} from "./QueueFixture.ts"

const echo = numbered((n) => Effect.succeed(n))
const NO_LIMITS = QueueBehavior.initial.limits

const enqueue = (n: number, options = {}) => Queue.enqueue(Numbered, { n }, options)
const enqueueMany = (count: number, options = {}) =>
  Effect.forEach(Array.from({ length: count }), (_, i) => enqueue(i + 1, options), {
    concurrency: "unbounded",
  })

describe("a paused queue", () => {
  it.effect("starts nothing, lets what runs go on, and takes jobs", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* enqueue(1)
      yield* settle
      yield* queue.pause("default")
      const second = yield* enqueue(2)
      yield* complete(1)
      expect(yield* statusOf(id)).toBe("completed")
      yield* advance("1 hour")
      expect(log).toEqual(["1"])
      expect(yield* statusOf(second.id)).toBe("waiting")
      yield* queue.resume("default")
      yield* settle
      expect(log).toEqual(["1", "2"])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("stays paused across a restart, and its history says so", () =>
    Effect.gen(function* () {
      const id = yield* Effect.gen(function* () {
        const queue = yield* Queue
        yield* enqueue(1)
        yield* settle
        yield* queue.pause("default", { principal: "user_1" })
        yield* queue.pause("default")
        return (yield* enqueue(2)).id
      }).pipe(Effect.provide(queueWith(echo)))
      yield* Effect.gen(function* () {
        const queue = yield* Queue
        yield* advance("1 minute")
        expect(yield* statusOf(id)).toBe("waiting")
        expect((yield* queue.activity).get("default")!.settings.paused).toBe(true)
        yield* queue.resume("default")
        expect(yield* ended(id)).toMatchObject({ status: "completed" })
        expect(yield* eventsOf("queue/default")).toEqual([{ _tag: "QueuePaused" }, { _tag: "QueueResumed" }])
      }).pipe(Effect.provide(queueWith(echo)))
    }).pipe(Effect.provide(store)),
  )

  it.effect("does not stop the others", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      yield* ended((yield* enqueue(1, { queue: "a" })).id)
      yield* queue.pause("a")
      expect(yield* ended((yield* enqueue(2, { queue: "b" })).id)).toMatchObject({ status: "completed" })
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("must exist", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      expect(yield* Effect.flip(queue.pause("unheard"))).toMatchObject({
        _tag: "QueueNotFound",
        name: "unheard",
      })
    }).pipe(Effect.provide(running(echo))),
  )
})

describe("a draining queue", () => {
  it.effect("works off what it has and takes nothing new, also not in a batch, until it is resumed", () => {
    const { complete, log, worker } = gates({ concurrency: 1 })
    return Effect.gen(function* () {
      const queue = yield* Queue
      yield* enqueueMany(2)
      yield* queue.drain("default")
      const job = (n: number, name: string) => ({ type: "numbered", payload: { n }, queue: name })
      const refusal = { _tag: "QueueDraining", queue: "default" }
      expect(yield* Effect.flip(enqueue(3))).toMatchObject(refusal)
      for (const other of ["default", "other"]) {
        const batch = queue.submitBatch([job(3, "default"), job(4, other)])
        expect(yield* Effect.flip(batch)).toMatchObject(refusal)
      }
      yield* complete(1)
      yield* complete(2)
      expect(log).toEqual(["1", "2"])
      yield* queue.resume("default")
      yield* enqueue(5)
      yield* settle
      expect(log).toEqual(["1", "2", "5"])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("still answers a request that it knows", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const first = yield* enqueue(1, { idempotencyKey: "key" })
      yield* queue.drain("default")
      expect(yield* enqueue(1, { idempotencyKey: "key" })).toEqual({ id: first.id, deduplicated: true })
      expect((yield* Effect.flip(enqueue(2, { idempotencyKey: "other" })))._tag).toBe("QueueDraining")
    }).pipe(Effect.provide(running(echo))),
  )
})

describe("a queue's concurrency", () => {
  it.effect(
    "is the most that runs at a time, of all types together, and can be changed while it runs",
    () => {
      const { complete, running: now, worker } = gates()
      return Effect.gen(function* () {
        const queue = yield* Queue
        yield* queue.limit("default", { ...NO_LIMITS, concurrency: 2 })
        yield* enqueueMany(6)
        yield* settle
        expect(now()).toEqual([1, 2])
        yield* complete(1)
        expect(now()).toEqual([2, 3])
        yield* queue.limit("default", { ...NO_LIMITS, concurrency: 4 })
        yield* settle
        expect(now()).toEqual([2, 3, 4, 5])
        yield* queue.limit("default", { ...NO_LIMITS, concurrency: 1 })
        yield* complete(2)
        yield* complete(3)
        expect(now()).toEqual([4, 5])
        yield* complete(4)
        yield* complete(5)
        expect(now()).toEqual([6])
      }).pipe(Effect.provide(running(worker)))
    },
  )
})

describe("a queue's rate limit", () => {
  const limits = { ...NO_LIMITS, rate_limit: { starts: 3, per_ms: 1_000 } }

  it.effect("holds for every span of time, however it lies", () => {
    const starts: Array<number> = []
    const worker = numbered(() =>
      Effect.map(
        TestClock.testClockWith((clock) => clock.currentTimeMillis),
        (at) => starts.push(at - START),
      ),
    )
    return Effect.gen(function* () {
      const queue = yield* Queue
      yield* queue.limit("default", limits)
      yield* enqueue(1)
      yield* advance(900)
      yield* enqueueMany(6)
      for (let i = 0; i < 40; i++) yield* advance(50)
      expect(starts).toEqual([0, 900, 900, 1_000, 1_900, 1_900, 2_000])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("holds from the very moment at which it is set", () => {
    const { running: now, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      // All of it is decided in one turn of the queue.
      yield* Effect.all([queue.limit("default", limits), enqueueMany(5)], { concurrency: "unbounded" })
      yield* settle
      expect(now()).toEqual([1, 2, 3])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("also holds right after a restart", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.gen(function* () {
        const queue = yield* Queue
        yield* queue.limit("default", limits)
        yield* enqueueMany(3)
        const left = yield* enqueueMany(2)
        yield* settle
        return left.map(({ id }) => id)
      }).pipe(Effect.provide(queueWith(echo)))
      yield* TestClock.adjust(999)
      yield* Effect.gen(function* () {
        yield* settle
        expect(yield* Effect.forEach(ids, statusOf)).toEqual(["waiting", "waiting"])
        yield* advance(1)
        expect(yield* Effect.forEach(ids, statusOf)).toEqual(["completed", "completed"])
      }).pipe(Effect.provide(queueWith(echo)))
    }).pipe(Effect.provide(store)),
  )
})

describe("a concurrency key", () => {
  it.effect("lets one job of its kind run at a time, while the others of the queue go on", () => {
    const { complete, running: now, worker } = gates()
    return Effect.gen(function* () {
      yield* Effect.forEach([1, 2, 3], (n) => enqueue(n, { concurrencyKey: "a" }))
      yield* enqueue(4, { concurrencyKey: "b" })
      yield* enqueue(5)
      yield* settle
      expect(now()).toEqual([1, 4, 5])
      yield* complete(1)
      expect(now()).toEqual([2, 4, 5])
      yield* complete(2)
      expect(now()).toEqual([3, 4, 5])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("has as many places as the queue says", () => {
    const { complete, most, running: now, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      yield* queue.limit("default", { ...NO_LIMITS, key_concurrency: 3 })
      yield* enqueueMany(7, { concurrencyKey: "a" })
      yield* settle
      expect(now()).toEqual([1, 2, 3])
      for (let n = 1; n <= 7; n++) yield* complete(n)
      expect(most()).toBe(3)
      expect(now()).toEqual([])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("of a tenant with thousands of jobs holds up nobody", () => {
    const { complete, running: now, worker } = gates({ concurrency: 3 })
    return Effect.gen(function* () {
      const queue = yield* Queue
      for (let i = 0; i < 4; i++) {
        yield* queue.submitBatch(
          Array.from({ length: 1_000 }, (_, n) => ({
            type: "numbered",
            payload: { n: 1_000 * i + n },
            concurrencyKey: "large",
          })),
        )
      }
      yield* enqueue(-1, { concurrencyKey: "small" })
      yield* enqueue(-2)
      yield* settle
      expect(now()).toEqual([-2, -1, 0])
      yield* complete(0)
      expect(now()).toEqual([-2, -1, 1])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("of many tenants who wait fills no window: whoever has room goes on", () => {
    const TENANTS = 200
    const JOBS = 3_000
    const waiting = gates()
    let done = 0
    const worker = numbered((n) => (n < TENANTS ? waiting.run(n) : Effect.sync(() => void done++)), {
      concurrency: TENANTS + 10,
    })
    return Effect.gen(function* () {
      const queue = yield* Queue
      const batch = (count: number, job: (i: number) => object) =>
        queue.submitBatch(
          Array.from({ length: count }, (_, i) => ({ type: "numbered", payload: {}, ...job(i) })),
        )
      const keyed = (i: number) => ({ payload: { n: i }, concurrencyKey: `tenant ${i}` })
      yield* batch(TENANTS, keyed)
      yield* batch(TENANTS, keyed)
      for (let i = 0; i < JOBS; i += 1_000) yield* batch(1_000, () => ({ payload: { n: TENANTS } }))
      yield* Effect.repeat(settle, { until: () => done === JOBS })
      expect(waiting.running()).toHaveLength(TENANTS)
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("keeps its jobs in the order of priority, due time and submission", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const of = (n: number, options = {}) => enqueue(n, { concurrencyKey: "a", ...options })
      yield* of(1)
      yield* settle
      yield* of(2, { priority: "low" })
      yield* of(3)
      const moved = yield* of(4)
      yield* of(5, { priority: "urgent" })
      const cancelled = yield* of(6)
      yield* of(7)
      const queue = yield* Queue
      yield* queue.cancel(cancelled.id)
      yield* queue.prioritize(moved.id, "high")
      for (const n of [1, 5, 4, 3, 7, 2]) yield* complete(n)
      expect(log).toEqual(["1", "5", "4", "3", "7", "2"])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("is free again when an attempt fails, and its retry waits for its turn", () => {
    const { complete, fail, log, worker } = gates()
    return Effect.gen(function* () {
      yield* enqueue(1, { concurrencyKey: "a" })
      yield* enqueue(2, { concurrencyKey: "a" })
      yield* settle
      yield* fail(1, "broken")
      expect(log).toEqual(["1", "2"])
      yield* advance("5 seconds")
      expect(log).toEqual(["1", "2"])
      yield* complete(2)
      expect(log).toEqual(["1", "2", "1"])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("counts again after a restart", () =>
    Effect.gen(function* () {
      const before = gates()
      yield* Effect.gen(function* () {
        yield* enqueueMany(3, { concurrencyKey: "a" })
        yield* settle
        expect(before.running()).toEqual([1])
      }).pipe(Effect.provide(queueWith(before.worker)))
      const after = gates()
      yield* Effect.gen(function* () {
        yield* settle
        expect(after.running()).toEqual([1])
        yield* after.complete(1)
        yield* after.complete(2)
        yield* after.complete(3)
        expect(after.most()).toBe(1)
        expect(after.log).toEqual(["1", "2", "3"])
      }).pipe(Effect.provide(queueWith(after.worker)))
    }).pipe(Effect.provide(store)),
  )
})
