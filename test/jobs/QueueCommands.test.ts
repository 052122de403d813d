import { describe, expect, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Latch, Layer, Scope, Stream } from "effect"
import * as Job from "../../src/jobs/Job.ts"
import type { JobUpdate } from "../../src/jobs/JobFeed.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { advance, settle } from "../support/Turns.ts"
import {
  ended,
  eventsOf,
  historyOf,
  numbered,
  Numbered,
  queueWith,
  running,
  START,
  statusOf,
  store,
} from "./QueueFixture.ts"

const echo = numbered((n) => Effect.succeed(n * 2))

/** A worker that waits, and what became of its attempts. */
const waiting = () => {
  const gate = Latch.makeUnsafe(false)
  const log: Array<string> = []
  const worker = numbered((n) =>
    Effect.sync(() => log.push(`${n} begins`)).pipe(
      Effect.andThen(gate.await),
      Effect.onInterrupt(() => Effect.sync(() => log.push(`${n} is interrupted`))),
    ),
  )
  return { gate, log, worker }
}

const enqueuedJobs = Effect.flatMap(Journal, (journal) =>
  Effect.map(journal.readAll({ afterPosition: 0, limit: 10_000 }), (events) =>
    events.filter(({ event }) => event._tag === "JobEnqueued"),
  ),
)

describe("an idempotency key", () => {
  it.effect("gives the same request the same job, also after its end", () =>
    Effect.gen(function* () {
      const first = yield* Queue.enqueue(Numbered, { n: 1 }, { idempotencyKey: "key" })
      const again = yield* Queue.enqueue(Numbered, { n: 1 }, { idempotencyKey: "key", priority: "urgent" })
      expect(again).toEqual({ id: first.id, deduplicated: true })
      yield* ended(first.id)
      expect(yield* Queue.enqueue(Numbered, { n: 1 }, { idempotencyKey: "key" })).toEqual(again)
      expect(yield* enqueuedJobs).toHaveLength(1)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("refuses another request, and names the job that has it", () =>
    Effect.gen(function* () {
      const first = yield* Queue.enqueue(Numbered, { n: 1 }, { idempotencyKey: "key" })
      const error = yield* Effect.flip(Queue.enqueue(Numbered, { n: 2 }, { idempotencyKey: "key" }))
      expect(error).toMatchObject({ _tag: "IdempotencyKeyReused", key: "key", id: first.id })
      expect(yield* enqueuedJobs).toHaveLength(1)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("makes one job of fifty that come at once", () =>
    Effect.gen(function* () {
      const jobs = yield* Effect.forEach(
        Array.from({ length: 50 }),
        () => Queue.enqueue(Numbered, { n: 1 }, { idempotencyKey: "key" }),
        { concurrency: "unbounded" },
      )
      expect(new Set(jobs.map(({ id }) => id)).size).toBe(1)
      expect(jobs.filter(({ deduplicated }) => !deduplicated)).toHaveLength(1)
      expect(yield* enqueuedJobs).toHaveLength(1)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("belongs to its queue", () =>
    Effect.gen(function* () {
      const enqueue = (queue: string, n: number) =>
        Queue.enqueue(Numbered, { n }, { queue, idempotencyKey: "key" })
      const [a, b] = yield* Effect.all([enqueue("a", 1), enqueue("b", 2)])
      expect(a.id).not.toBe(b.id)
      expect(yield* enqueue("b", 2)).toEqual({ id: b.id, deduplicated: true })
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("holds within a batch too", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const job = (n: number, idempotencyKey?: string) => ({
        type: "numbered",
        payload: { n },
        idempotencyKey,
      })
      const before = yield* queue.submit(job(0, "old"))
      const batch = yield* queue.submitBatch([job(1, "new"), job(0, "old"), job(1, "new"), job(2)])
      expect(batch.map(({ deduplicated }) => deduplicated)).toEqual([false, true, true, false])
      expect(batch[1]!.id).toBe(before.id)
      expect(batch[2]!.id).toBe(batch[0]!.id)
      const error = yield* Effect.flip(queue.submitBatch([job(3), job(4, "k"), job(5, "k")]))
      expect(error._tag).toBe("IdempotencyKeyReused")
      expect(yield* enqueuedJobs).toHaveLength(3)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("is taken once by single jobs and by batches over several queues that race for it", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const job = (n: number, name: string, idempotencyKey?: string) => ({
        type: "numbered",
        payload: { n },
        queue: name,
        idempotencyKey,
      })
      const submissions = Array.from({ length: 20 }, (_, i) =>
        i % 2 === 0
          ? Effect.map(queue.submit(job(1, "a", "key")), (one) => [one])
          : queue.submitBatch([job(1, "a", "key"), job(i, "b")]),
      )
      const bystanders = Array.from({ length: 20 }, (_, i) =>
        Effect.map(queue.submit(job(i, "a")), (one) => [one]),
      )
      const jobs = yield* Effect.all([...submissions, ...bystanders], { concurrency: "unbounded" })
      expect(new Set(jobs.slice(0, 20).map(([one]) => one!.id)).size).toBe(1)
      expect(yield* enqueuedJobs).toHaveLength(1 + 10 + 20)
      yield* Effect.forEach(yield* enqueuedJobs, ({ stream }) => ended(stream), { concurrency: "unbounded" })
    }).pipe(Effect.provide(running(echo))),
  )
})

describe("a batch", () => {
  it.effect("is submitted as a whole or not at all", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const jobs = Array.from({ length: 1_000 }, (_, n) => ({ type: "numbered", payload: { n } }))
      const bad = [...jobs.slice(0, 500), { type: "numbered", payload: { n: "x" } }, ...jobs.slice(500)]
      expect(yield* Effect.flip(queue.submitBatch(bad))).toMatchObject({ _tag: "InvalidPayload", index: 500 })
      expect(yield* enqueuedJobs).toEqual([])
      const batch = yield* queue.submitBatch(jobs)
      expect(batch).toHaveLength(1_000)
      const events = yield* enqueuedJobs
      expect(events.map(({ stream }) => stream)).toEqual(batch.map(({ id }) => id))
      expect(yield* queue.submitBatch([])).toEqual([])
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("over several queues is one too, and each queue starts its part", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const batch = yield* queue.submitBatch(
        Array.from({ length: 9 }, (_, n) => ({ type: "numbered", payload: { n }, queue: "abc"[n % 3] })),
      )
      const states = yield* Effect.forEach(batch, ({ id }) => ended(id), { concurrency: "unbounded" })
      expect(states.map(({ queue: name, result }) => [name, result])).toEqual(
        batch.map((_, n) => ["abc"[n % 3], n * 2]),
      )
      expect((yield* enqueuedJobs).map(({ position }) => position)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9])
      const reused = yield* Effect.flip(
        queue.submitBatch([
          { type: "numbered", payload: { n: 1 }, queue: "a", idempotencyKey: "k" },
          { type: "numbered", payload: { n: 2 }, queue: "b", idempotencyKey: "k" },
          { type: "numbered", payload: { n: 3 }, queue: "b", idempotencyKey: "k" },
        ]),
      )
      expect(reused._tag).toBe("IdempotencyKeyReused")
      expect(yield* enqueuedJobs).toHaveLength(9)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("over several queues runs although its sender has gone", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      yield* Effect.forEach(["a", "b"], (name) =>
        Effect.flatMap(queue.submit({ type: "numbered", payload: { n: 0 }, queue: name }), ({ id }) =>
          ended(id),
        ),
      )
      const sender = yield* Effect.forkChild(
        queue.submitBatch(["a", "b"].map((name) => ({ type: "numbered", payload: { n: 1 }, queue: name }))),
        { startImmediately: true },
      )
      yield* Fiber.interrupt(sender)
      yield* settle
      const jobs = yield* enqueuedJobs
      expect(jobs).toHaveLength(4)
      expect(yield* Effect.forEach(jobs, ({ stream }) => statusOf(stream))).toEqual(
        jobs.map(() => "completed"),
      )
    }).pipe(Effect.provide(running(echo))),
  )
})

describe("cancel", () => {
  it.effect("interrupts a running handler, whose finalizers run, and frees its place", () => {
    const { gate, log, worker } = waiting()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const first = yield* Queue.enqueue(Numbered, { n: 1 })
      const second = yield* Queue.enqueue(Numbered, { n: 2 })
      yield* settle
      yield* queue.cancel(first.id, "not needed", { principal: "user_1" })
      yield* settle
      expect(log).toEqual(["1 begins", "1 is interrupted", "2 begins"])
      expect(yield* ended(first.id)).toMatchObject({
        status: "cancelled",
        attempts: [{ outcome: "cancelled" }],
      })
      expect((yield* eventsOf(first.id)).at(-1)).toEqual({ _tag: "JobCancelled", reason: "not needed" })
      yield* gate.open
      expect(yield* ended(second.id)).toMatchObject({ status: "completed" })
      expect(yield* historyOf(first.id)).toEqual(["Enqueued", "Started", "Cancelled"])
      expect((yield* Effect.flip(queue.cancel(second.id)))._tag).toBe("JobConflict")
      yield* queue.cancel(first.id)
    }).pipe(Effect.provide(running(worker, { concurrency: 1 })))
  })

  it.effect("keeps a waiting job from ever starting, unless it is redriven", () => {
    const { gate, log, worker } = waiting()
    return Effect.gen(function* () {
      const queue = yield* Queue
      yield* Queue.enqueue(Numbered, { n: 1 })
      const pending = yield* Queue.enqueue(Numbered, { n: 2 })
      const scheduled = yield* Queue.enqueue(Numbered, { n: 3 }, { delay: "1 minute" })
      yield* queue.cancel(pending.id)
      yield* queue.cancel(scheduled.id)
      yield* gate.open
      yield* advance("2 minutes")
      expect(log).toEqual(["1 begins"])
      yield* queue.retry(scheduled.id)
      expect(yield* ended(scheduled.id)).toMatchObject({ status: "completed", attempt: 1 })
    }).pipe(Effect.provide(running(worker, { concurrency: 1 })))
  })
})

describe("a handler that takes its time to end when it is cancelled", () => {
  /** A worker whose interrupted attempts end when the gate opens. */
  const reluctant = () => {
    const gate = Latch.makeUnsafe(false)
    const log: Array<string> = []
    const worker = numbered((n, job) =>
      Effect.sync(() => log.push(`${n} begins its attempt ${job.attempt}`)).pipe(
        Effect.andThen(Effect.never),
        Effect.onInterrupt(() =>
          Effect.andThen(
            gate.await,
            Effect.sync(() => log.push(`${n} ends its attempt ${job.attempt}`)),
          ),
        ),
      ),
    )
    return { gate, log, worker }
  }

  it.effect("has ended before the next attempt of its job starts, however soon that is wanted", () => {
    const { gate, log, worker } = reluctant()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      // In one turn.
      yield* Effect.all([queue.cancel(id), queue.retry(id)], { concurrency: "unbounded" })
      yield* settle
      // And again, while the first attempt ends.
      yield* queue.cancel(id)
      yield* queue.retry(id)
      yield* advance("1 minute")
      expect(log).toEqual(["1 begins its attempt 1"])
      expect(yield* statusOf(id)).toBe("waiting")
      yield* gate.open
      yield* settle
      expect(log).toEqual(["1 begins its attempt 1", "1 ends its attempt 1", "1 begins its attempt 2"])
      expect(yield* historyOf(id)).toEqual([
        "Enqueued",
        "Started",
        "Cancelled",
        "Redriven",
        "Cancelled",
        "Redriven",
        "Started",
      ])
    }).pipe(Effect.ensuring(gate.open), Effect.provide(running(worker)))
  })

  const placed = (
    limits: { readonly concurrency?: number },
    options: { readonly concurrencyKey?: string },
  ) => {
    const { gate, log, worker } = reluctant()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const [first, second] = yield* Effect.forEach([1, 2], (n) => Queue.enqueue(Numbered, { n }, options))
      yield* settle
      yield* queue.cancel(first!.id)
      yield* settle
      expect(log).toEqual(["1 begins its attempt 1"])
      expect(yield* statusOf(second!.id)).toBe("waiting")
      yield* gate.open
      yield* settle
      expect(log).toEqual(["1 begins its attempt 1", "1 ends its attempt 1", "2 begins its attempt 1"])
    }).pipe(Effect.ensuring(gate.open), Effect.provide(running(worker, limits)))
  }

  it.effect("keeps the place of its type until then", () => placed({ concurrency: 1 }, {}))
  it.effect("keeps the place of its concurrency key until then", () => placed({}, { concurrencyKey: "key" }))

  it.effect("keeps nobody waiting who has a place of his own", () => {
    const { gate, log, worker } = reluctant()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      yield* queue.cancel(id)
      yield* queue.retry(id)
      yield* Queue.enqueue(Numbered, { n: 2 })
      yield* settle
      expect(log).toEqual(["1 begins its attempt 1", "2 begins its attempt 1"])
    }).pipe(Effect.ensuring(gate.open), Effect.provide(running(worker)))
  })

  it.effect("has ended before what it uses is released", () => {
    const { gate, log, worker } = reluctant()
    const resource = Layer.effectDiscard(
      Effect.addFinalizer(() => Effect.sync(() => log.push("what it uses is released"))),
    )
    return Effect.gen(function* () {
      const scope = yield* Scope.make()
      const workers = Layer.provide(worker, resource)
      const context = yield* Layer.buildWithScope(queueWith(workers), scope)
      const queue = Context.get(context, Queue)
      const { id } = yield* Effect.provide(Queue.enqueue(Numbered, { n: 1 }), context)
      yield* settle
      yield* queue.cancel(id)
      const closing = yield* Effect.forkChild(Scope.close(scope, Exit.void))
      yield* advance("1 minute")
      expect(log).toEqual(["1 begins its attempt 1"])
      yield* gate.open
      yield* Fiber.join(closing)
      expect(log).toEqual(["1 begins its attempt 1", "1 ends its attempt 1", "what it uses is released"])
    }).pipe(Effect.ensuring(gate.open), Effect.provide(store))
  })
})

describe("changing the order", () => {
  it.effect("a job can be prioritized and rescheduled while it waits", () => {
    const { gate, log, worker } = waiting()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const first = yield* Queue.enqueue(Numbered, { n: 0 })
      yield* settle
      const jobs = yield* Effect.forEach([1, 2, 3, 4, 5], (n) => Queue.enqueue(Numbered, { n }))
      yield* queue.prioritize(jobs[3]!.id, "urgent")
      yield* queue.prioritize(jobs[0]!.id, "low")
      yield* queue.reschedule(jobs[1]!.id, START + 60_000)
      yield* queue.reschedule(jobs[4]!.id, START - 1)
      expect((yield* Effect.flip(queue.prioritize(first.id, "low")))._tag).toBe("JobConflict")
      expect((yield* Effect.flip(queue.reschedule(first.id, START)))._tag).toBe("JobConflict")
      yield* gate.open
      yield* settle
      expect(log).toEqual([0, 4, 5, 3, 1].map((n) => `${n} begins`))
      yield* advance(59_999)
      expect(yield* statusOf(jobs[1]!.id)).toBe("waiting")
      yield* advance(1)
      expect(log.at(-1)).toBe("2 begins")
    }).pipe(Effect.provide(running(worker, { concurrency: 1 })))
  })

  it.effect("a scheduled job can be moved forward, and told to run at once", () => {
    const { gate, log, worker } = waiting()
    return Effect.gen(function* () {
      const queue = yield* Queue
      yield* gate.open
      const moved = yield* Queue.enqueue(Numbered, { n: 1 }, { delay: "1 hour" })
      const told = yield* Queue.enqueue(Numbered, { n: 2 }, { delay: "1 hour" })
      yield* queue.retry(told.id)
      yield* ended(told.id)
      yield* queue.reschedule(moved.id, START + 1_000)
      yield* advance(999)
      expect(log).toEqual(["2 begins"])
      yield* advance(1)
      expect(log).toEqual(["2 begins", "1 begins"])
    }).pipe(Effect.provide(running(worker)))
  })
})

describe("following a job", () => {
  const collect = (id: string, afterVersion?: number) =>
    Effect.flatMap(Queue, (queue) => Stream.runCollect(queue.follow(id, afterVersion)))
  const tags = (updates: ReadonlyArray<JobUpdate>) =>
    updates.map((update) =>
      update._tag === "Event" ? `${update.version} ${update.event._tag}` : `${update.progress.percent} %`,
    )

  it.effect("tells its events and its progress, and ends with it", () => {
    const gate = Latch.makeUnsafe(false)
    const worker = numbered((_n, job) =>
      Effect.gen(function* () {
        yield* gate.await
        yield* job.progress({ percent: 10 })
        yield* Effect.sleep(100)
        yield* job.progress({ percent: 20 })
        yield* Effect.sleep(100)
      }),
    )
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      const all = yield* Effect.forkChild(collect(id))
      const some = yield* Effect.forkChild(collect(id, 2))
      yield* settle
      yield* gate.open
      yield* advance(100)
      yield* advance(100)
      const updates = tags(yield* Fiber.join(all))
      expect(updates.filter((update) => !update.endsWith("%"))).toEqual([
        "1 JobEnqueued",
        "2 JobStarted",
        "3 JobProgressed",
        "4 JobCompleted",
      ])
      expect(updates.filter((update) => update.endsWith("%"))).toEqual(["10 %", "20 %"])
      expect(updates.at(-1)).toBe("4 JobCompleted")
      expect(tags(yield* Fiber.join(some)).filter((update) => !update.endsWith("%"))).toEqual([
        "3 JobProgressed",
        "4 JobCompleted",
      ])
      // Afterwards it is history, as far as it has not been seen.
      expect(tags(yield* collect(id, 3))).toEqual(["4 JobCompleted"])
      expect(yield* collect(id, 4)).toEqual([])
      expect(yield* collect(id, 400)).toEqual([])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("goes on past the ends that a redrive has undone", () => {
    let broken = true
    const gate = Latch.makeUnsafe(false)
    const worker = numbered(() =>
      broken ? Effect.fail({ retryable: false }) : Effect.as(gate.await, "mended"),
    )
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* ended(id)
      broken = false
      yield* queue.retry(id)
      const follower = yield* Effect.forkChild(collect(id))
      const bogus = yield* Effect.forkChild(collect(id, 99))
      const waiter = yield* Effect.forkChild(queue.await(id))
      yield* settle
      expect(follower.pollUnsafe()).toBeUndefined()
      yield* gate.open
      expect(tags(yield* Fiber.join(follower))).toEqual([
        "1 JobEnqueued",
        "2 JobStarted",
        "3 JobAttemptFailed",
        "4 JobDeadLettered",
        "5 JobRedriven",
        "6 JobStarted",
        "7 JobCompleted",
      ])
      expect(tags(yield* Fiber.join(bogus)).at(-1)).toBe("7 JobCompleted")
      expect((yield* Fiber.join(waiter)).state.result).toBe("mended")
    }).pipe(Effect.provide(running(worker)))
  })
})

describe("several types and handlers", () => {
  it.effect("a type is known for as long as its handler's layer lives", () =>
    Effect.gen(function* () {
      const Extra = Job.make("extra", {})
      const queue = yield* Queue
      const names = Effect.map(queue.types, (types) => types.map(({ type }) => type))
      const before = yield* names
      const job = yield* Effect.gen(function* () {
        expect(yield* names).toEqual([...before, "extra"])
        const { id } = yield* Queue.enqueue(Extra, undefined)
        return yield* ended(id)
      }).pipe(Effect.provide(Extra.toLayer(() => Effect.void)))
      expect(job).toMatchObject({ status: "completed", result: null })
      expect(yield* names).toEqual(before)
      expect((yield* Effect.flip(Queue.enqueue(Extra, undefined)))._tag).toBe("UnknownJobType")
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("a job waits for a handler of its type, and starts when there is one", () =>
    Effect.gen(function* () {
      const { id } = yield* Effect.gen(function* () {
        yield* (yield* Queue).quiesce
        return yield* Queue.enqueue(Numbered, { n: 4 })
      }).pipe(Effect.provide(queueWith(echo)))
      yield* Effect.gen(function* () {
        yield* settle
        expect(yield* statusOf(id)).toBe("waiting")
        expect(yield* ended(id).pipe(Effect.provide(echo))).toMatchObject({ result: 8 })
      }).pipe(Effect.provide(queueWith(Layer.empty)))
    }).pipe(Effect.provide(store)),
  )
})
