import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Latch, Layer, Schema, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as Job from "../../src/jobs/Job.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { PRIORITIES, type Priority } from "../../src/jobs/JobEvents.ts"
import { LANE_CAPACITY } from "../../src/jobs/Lane.ts"
import { LEASE_DURATION_MS } from "../../src/jobs/Leases.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { forAll } from "../support/Property.ts"
import { inMemory } from "../support/TestDatabase.ts"
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
  storeOn,
} from "./QueueFixture.ts"

const echo = numbered((n) => Effect.succeed(n * 2))

/** Remembers which numbers ran, in order; each waits for the gate. */
const gated = (gate: Latch.Latch, ran: Array<number>, options?: { readonly concurrency?: number }) =>
  numbered(
    (n) =>
      Effect.andThen(
        Effect.sync(() => ran.push(n)),
        gate.await,
      ),
    options,
  )

describe("a job", () => {
  it.effect("starts at once where somebody is idle, and its result is kept: no timer is needed", () =>
    Effect.gen(function* () {
      const { id, deduplicated } = yield* Queue.enqueue(Numbered, { n: 21 })
      expect(deduplicated).toBe(false)
      const state = yield* ended(id)
      expect(state).toMatchObject({ status: "completed", result: 42, attempt: 1, failures: 0 })
      expect(yield* historyOf(id)).toEqual(["Enqueued", "Started", "Completed"])
      // A second one finds the queue idle again.
      expect(yield* ended((yield* Queue.enqueue(Numbered, { n: 1 })).id)).toMatchObject({ result: 2 })
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("carries what its submitter said of it", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(
        Numbered,
        { n: 1 },
        { tags: ["red", "red", "blue"], priority: "high", maxAttempts: 7, metadata: { principal: "user_1" } },
      )
      expect(yield* ended(id)).toMatchObject({
        queue: "default",
        type: "numbered",
        priority: "high",
        payload: { n: 1 },
        maxAttempts: 7,
        tags: ["red", "blue"],
      })
      const journal = yield* Journal
      expect((yield* journal.readStream(id))[0]!.metadata).toEqual({ principal: "user_1" })
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("of a type that nobody runs here is refused, with the types that are", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      expect(yield* Effect.flip(queue.submit({ type: "unheard", payload: null }))).toMatchObject({
        _tag: "UnknownJobType",
        known: ["numbered"],
      })
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("with a payload that does not fit, unknown fields included, is refused", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const journal = yield* Journal
      for (const payload of [null, {}, { n: "1" }, { n: 1.5 }, { n: 1, colour: "red" }, []]) {
        const error = yield* Effect.flip(queue.submit({ type: "numbered", payload }))
        expect(error._tag).toBe("InvalidPayload")
      }
      expect(yield* journal.head).toBe(0)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("nobody knows of is not found", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const id = "job_01h455vb4pex5vsknk084sn02q"
      const outcomes = yield* Effect.all([
        Effect.flip(queue.get(id)),
        Effect.flip(queue.cancel(id)),
        Effect.flip(queue.retry(id)),
        Effect.flip(queue.await(id)),
      ])
      expect(outcomes).toEqual(outcomes.map(() => expect.objectContaining({ _tag: "JobNotFound", id })))
    }).pipe(Effect.provide(running(echo))),
  )
})

describe("the order of jobs", () => {
  it.effect("is by priority, then due time, then enqueue order", () => {
    const gate = Latch.makeUnsafe(false)
    const ran: Array<number> = []
    return Effect.gen(function* () {
      yield* Queue.enqueue(Numbered, { n: 0 })
      yield* settle
      const enqueue = (n: number, priority: Priority, delay?: number) =>
        Queue.enqueue(Numbered, { n }, { priority, delay })
      yield* enqueue(1, "low")
      yield* enqueue(2, "normal", 20_000)
      yield* enqueue(3, "normal", 10_000)
      yield* enqueue(4, "normal")
      yield* enqueue(5, "normal")
      yield* enqueue(6, "urgent", 30_000)
      yield* enqueue(7, "high")
      yield* enqueue(8, "urgent", 30_000)
      yield* enqueue(9, "urgent")
      const { id } = yield* enqueue(10, "low")
      yield* advance(30_000)
      expect(ran).toEqual([0])
      yield* gate.open
      yield* ended(id)
      expect(ran).toEqual([0, 9, 6, 8, 7, 4, 5, 3, 2, 1, 10])
    }).pipe(Effect.provide(running(gated(gate, ran), { concurrency: 1 })))
  })

  it.effect("holds for a backlog that memory does not hold, whatever its mix", () => {
    const backlog = 4 * LANE_CAPACITY
    return Effect.gen(function* () {
      const journal = yield* Journal
      const submissions = Array.from({ length: backlog }, (_, n) => ({
        type: "numbered",
        payload: { n },
        priority: PRIORITIES[(n * 7) % 10 < 7 ? 2 : n % 4]!,
        dueAt: START + 1 + ((n * 37) % 100),
      }))
      yield* Effect.gen(function* () {
        const queue = yield* Queue
        yield* queue.quiesce
        for (let i = 0; i < backlog; i += 500) yield* queue.submitBatch(submissions.slice(i, i + 500))
      }).pipe(Effect.provide(queueWith(echo)))
      yield* TestClock.adjust(1_000)
      const drained = journal.subscribe({ afterPosition: backlog }).pipe(
        Stream.filter(({ event }) => event._tag === "JobCompleted"),
        Stream.take(backlog),
        Stream.runDrain,
      )
      yield* Effect.provide(drained, queueWith(echo, { concurrency: 20 }))
      const events = yield* journal.readAll({ afterPosition: 0, limit: 10 * backlog })
      const numberOf = new Map(events.slice(0, backlog).map(({ stream }, n) => [stream, n]))
      const started = events.filter(({ event }) => event._tag === "JobStarted")
      const order = submissions
        .map(({ priority, dueAt }, n) => ({ priority: PRIORITIES.indexOf(priority), dueAt, n }))
        .toSorted((a, b) => a.priority - b.priority || a.dueAt - b.dueAt || a.n - b.n)
      expect(started.map(({ stream }) => numberOf.get(stream))).toEqual(order.map(({ n }) => n))
    }).pipe(Effect.provide(storeOn(inMemory)))
  })

  it.effect("holds when more places are free than memory holds jobs, and all of them are taken", () => {
    const gate = Latch.makeUnsafe(false)
    const ran: Array<number> = []
    const concurrency = LANE_CAPACITY + 200
    return Effect.gen(function* () {
      const half = Math.ceil(concurrency / 2) + 50
      const batch = Array.from({ length: half }, (_, n) => n)
      const submit = (priority: Priority, from: number) =>
        Effect.flatMap(Queue, (queue) =>
          queue.submitBatch(batch.map((n) => ({ type: "numbered", payload: { n: from + n }, priority }))),
        )
      yield* Effect.gen(function* () {
        yield* (yield* Queue).quiesce
        yield* submit("low", 2 * half)
        yield* submit("urgent", 0)
        yield* submit("urgent", half)
      }).pipe(Effect.provide(queueWith(echo)))
      yield* Effect.gen(function* () {
        yield* settle
        expect(ran).toEqual(Array.from({ length: concurrency }, (_, n) => n))
        yield* gate.open
      }).pipe(Effect.provide(queueWith(gated(gate, ran), { concurrency })))
    }).pipe(Effect.provide(storeOn(inMemory)))
  })
})

describe("time", () => {
  it.effect("a delayed job is not started a millisecond early, and no later than that", () => {
    const ran: Array<number> = []
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 }, { delay: "10 seconds" })
      yield* advance(9_999)
      expect(ran).toEqual([])
      expect(yield* statusOf(id)).toBe("waiting")
      yield* advance(1)
      expect(ran).toEqual([1])
      expect((yield* ended(id)).attempts).toMatchObject([{ startedAt: START + 10_000, waitMs: 0 }])
    }).pipe(Effect.provide(running(numbered((n) => Effect.sync(() => ran.push(n))))))
  })

  it.effect("whatever the delays, each job starts when it is due", () =>
    forAll(
      fc.array(fc.integer({ min: 0, max: 5_000 }), { minLength: 1, maxLength: 20 }),
      (delays) =>
        Effect.gen(function* () {
          const jobs = yield* Effect.forEach(delays, (delay, n) => Queue.enqueue(Numbered, { n }, { delay }))
          for (const moment of delays.toSorted((a, b) => a - b)) {
            yield* settle
            yield* TestClock.setTime(START + moment)
          }
          const states = yield* Effect.forEach(jobs, ({ id }) => ended(id), { concurrency: "unbounded" })
          expect(states.map(({ attempts }) => attempts[0]!.startedAt)).toEqual(
            delays.map((delay) => START + delay),
          )
        }).pipe(
          Effect.provide(queueWith(echo, { concurrency: 100 }).pipe(Layer.provideMerge(storeOn(inMemory)))),
          Effect.provide(TestClock.layer()),
          Effect.scoped,
        ),
      { runs: 25 },
    ),
  )

  it.effect("a failed attempt is repeated after its backoff, which doubles", () => {
    let tries = 0
    const flaky = numbered(() =>
      ++tries < 3 ? Effect.fail(new Error(`try ${tries}`)) : Effect.succeed("done"),
    )
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* advance(999)
      expect(tries).toBe(1)
      yield* advance(1)
      expect(tries).toBe(2)
      yield* advance(1_999)
      expect(tries).toBe(2)
      yield* advance(1)
      const state = yield* ended(id)
      expect(state).toMatchObject({ status: "completed", result: "done", attempt: 3, failures: 2 })
      expect(state.attempts.map(({ startedAt, outcome }) => [startedAt - START, outcome])).toEqual([
        [0, "failed"],
        [1_000, "failed"],
        [3_000, "completed"],
      ])
      expect(state.attempts[1]!.error).toEqual({ name: "Error", message: "try 2", data: expect.anything() })
    }).pipe(Effect.provide(running(flaky)))
  })

  it.effect("jitter draws the wait between nothing and the ceiling", () => {
    const Jittery = Job.make("jittery", {
      error: Schema.String,
      retry: { maxAttempts: 2, base: "10 seconds", jitter: true },
    })
    return Effect.gen(function* () {
      const waits: Array<number> = []
      for (let i = 0; i < 20; i++) {
        const { id } = yield* Queue.enqueue(Jittery, undefined)
        yield* settle
        const events = yield* eventsOf(id)
        waits.push((events.at(-1)!["retry_at"] as number) - START)
      }
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(0)
      expect(Math.max(...waits)).toBeLessThanOrEqual(10_000)
      expect(new Set(waits).size).toBeGreaterThan(10)
      expect(waits.every(Number.isInteger)).toBe(true)
    }).pipe(Effect.provide(running(Jittery.toLayer(() => Effect.fail("no")))))
  })

  it.effect("an attempt's time limit counts from its start, and the limit is a failure", () => {
    const finalized: Array<number> = []
    const forever = numbered((n) =>
      Effect.never.pipe(Effect.onInterrupt(() => Effect.sync(() => finalized.push(n)))),
    )
    return Effect.gen(function* () {
      const first = yield* Queue.enqueue(Numbered, { n: 1 }, { timeoutMs: 60_000, maxAttempts: 1 })
      const second = yield* Queue.enqueue(Numbered, { n: 2 }, { timeoutMs: 60_000, maxAttempts: 1 })
      yield* advance(59_999)
      expect(finalized).toEqual([])
      yield* advance(1)
      expect(yield* ended(first.id)).toMatchObject({
        status: "dead_letter",
        error: { name: "TimedOut", message: "took longer than 60000 ms" },
      })
      // The second one waited all that time for the only place.
      yield* advance(59_999)
      expect(yield* statusOf(second.id)).toBe("processing")
      yield* advance(1)
      expect(yield* ended(second.id)).toMatchObject({ status: "dead_letter" })
      expect(finalized).toEqual([1, 2])
    }).pipe(Effect.provide(running(forever, { concurrency: 1 })))
  })

  it.effect("a lease is renewed for as long as its handler lives", () => {
    const gate = Latch.makeUnsafe(false)
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      for (let i = 0; i < 10; i++) yield* advance(LEASE_DURATION_MS / 2)
      expect(yield* historyOf(id)).toEqual(["Enqueued", "Started"])
      yield* gate.open
      expect(yield* ended(id)).toMatchObject({ status: "completed", attempt: 1 })
    }).pipe(Effect.provide(running(gated(gate, []))))
  })

  it.effect("a wait that nobody can count is cut to one that they can", () => {
    const errors = [{ retryAfter: Infinity }, { retryAfter: "soon" }, { retryAfter: -5 }, { retryAfter: 1.5 }]
    return Effect.gen(function* () {
      for (const n of errors.keys()) {
        const { id } = yield* Queue.enqueue(Numbered, { n })
        yield* settle
        const failed = (yield* eventsOf(id)).find(({ _tag }) => _tag === "JobAttemptFailed")!
        expect(Number.isSafeInteger(failed["retry_at"])).toBe(true)
        expect(failed["retry_at"]).toBeGreaterThanOrEqual(START)
      }
      const { id } = yield* Queue.enqueue(Numbered, { n: 0 }, { delay: "1500 micros" })
      expect((yield* eventsOf(id))[0]!["due_at"]).toBe(START + 2)
      const queue = yield* Queue
      yield* queue.reschedule(id, START + 10.5)
      expect((yield* eventsOf(id)).at(-1)!["due_at"]).toBe(START + 11)
    }).pipe(Effect.provide(running(numbered((n) => Effect.fail(errors[n])))))
  })
})

describe("errors", () => {
  it.effect("that say so are not retried, or not before they say", () => {
    const errors = [
      { _tag: "Fatal", retryable: false },
      { _tag: "Busy", retryAfter: "1 minute" },
    ]
    return Effect.gen(function* () {
      const fatal = yield* Queue.enqueue(Numbered, { n: 0 })
      expect(yield* ended(fatal.id)).toMatchObject({
        status: "dead_letter",
        failures: 1,
        error: { name: "Fatal", data: errors[0] },
      })
      expect((yield* eventsOf(fatal.id)).at(-1)).toMatchObject({ reason: "not_retryable" })
      const busy = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* advance(59_999)
      expect(yield* historyOf(busy.id)).toEqual(["Enqueued", "Started", "AttemptFailed"])
      yield* advance(1)
      expect((yield* historyOf(busy.id)).slice(3)).toEqual(["Started", "AttemptFailed"])
    }).pipe(Effect.provide(running(numbered((n) => Effect.fail(errors[n])))))
  })

  it.effect("nobody expected are failures like others, and the queue goes on", () => {
    const surprises = [
      () => Effect.die(new TypeError("surprise")),
      () => {
        throw new RangeError("thrown")
      },
      () => Effect.interrupt,
      () => Effect.succeed(1n),
      () => Effect.fail(Object.create(null) as unknown),
      () => Effect.fail(undefined),
    ]
    return Effect.gen(function* () {
      const names: Array<string | undefined> = []
      for (const n of surprises.keys()) {
        const { id } = yield* Queue.enqueue(Numbered, { n }, { maxAttempts: 1 })
        const state = yield* ended(id)
        expect(state.status).toBe("dead_letter")
        names.push(state.error?.name)
      }
      expect(names.slice(0, 2)).toEqual(["TypeError", "RangeError"])
    }).pipe(Effect.provide(running(numbered((n) => surprises[n]!()))))
  })

  it.effect("end in a dead letter when the attempts are used up, which can be redriven", () => {
    let broken = true
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 }, { maxAttempts: 2 })
      yield* advance("1 second")
      expect(yield* ended(id)).toMatchObject({ status: "dead_letter", attempt: 2, failures: 2 })
      broken = false
      yield* queue.retry(id)
      expect(yield* ended(id)).toMatchObject({ status: "completed", attempt: 3, failures: 0 })
      expect(yield* historyOf(id)).toEqual([
        "Enqueued",
        "Started",
        "AttemptFailed",
        "Started",
        "AttemptFailed",
        "DeadLettered",
        "Redriven",
        "Started",
        "Completed",
      ])
      expect(yield* Effect.flip(queue.retry(id))).toMatchObject({ _tag: "JobConflict", status: "completed" })
    }).pipe(
      Effect.provide(running(numbered(() => (broken ? Effect.fail("broken") : Effect.succeed("fine"))))),
    )
  })
})

describe("steps", () => {
  it.effect("run once for the whole job: a later attempt gets their results", () => {
    const ran: Array<string> = []
    const seen: Array<unknown> = []
    const stepwise = numbered((_n, job) =>
      Effect.gen(function* () {
        const run = <A extends string | null>(name: string, result: A) =>
          job.step(
            name,
            Effect.sync(() => (ran.push(name), result)),
          )
        seen.push(job.hasStep("plan"))
        seen.push(yield* run("plan", "frames"))
        seen.push(yield* run("nothing", null))
        seen.push(
          yield* job.step(
            "date",
            Effect.sync(() => (ran.push("date"), new Date(5))),
            Schema.DateFromString,
          ),
        )
        if (job.attempt === 1) return yield* Effect.fail("after the steps")
        return yield* run("encode", "video")
      }),
    )
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* advance("1 second")
      expect(yield* ended(id)).toMatchObject({ status: "completed", result: "video" })
      expect(ran).toEqual(["plan", "nothing", "date", "encode"])
      expect(seen).toEqual([false, "frames", null, new Date(5), true, "frames", null, new Date(5)])
      expect((yield* historyOf(id)).filter((tag) => tag === "StepCompleted")).toHaveLength(4)
    }).pipe(Effect.provide(running(stepwise)))
  })

  it.effect("that fail are not kept", () => {
    let tries = 0
    const stepwise = numbered((_n, job) =>
      job.step(
        "plan",
        Effect.suspend(() => (++tries === 1 ? Effect.fail("no") : Effect.succeed("yes"))),
      ),
    )
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* advance("1 second")
      expect(yield* ended(id)).toMatchObject({ status: "completed", result: "yes" })
    }).pipe(Effect.provide(running(stepwise)))
  })
})

describe("progress", () => {
  it.effect("is live at once, and in the journal at most once a second", () =>
    Effect.gen(function* () {
      const reported = yield* Deferred.make<void>()
      const gate = Latch.makeUnsafe(false)
      const worker = numbered((_n, job) =>
        Effect.gen(function* () {
          for (let percent = 0; percent <= 50; percent += 5) yield* job.progress({ percent })
          yield* Deferred.succeed(reported, undefined)
          yield* gate.await
          yield* job.progress({ percent: 250, message: "nearly", detail: { frames: 3 } })
          yield* job.progress({ percent: Number.NaN })
          yield* Effect.never
        }),
      )
      yield* Effect.gen(function* () {
        const queue = yield* Queue
        const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
        yield* Deferred.await(reported)
        expect((yield* queue.get(id)).liveProgress).toMatchObject({ percent: 50, attempt: 1, at: START })
        yield* advance(1_000)
        yield* gate.open
        yield* settle
        expect((yield* queue.get(id)).liveProgress).toMatchObject({ percent: 0 })
        expect((yield* eventsOf(id)).filter(({ _tag }) => _tag === "JobProgressed")).toEqual([
          { _tag: "JobProgressed", attempt: 1, percent: 0 },
          { _tag: "JobProgressed", attempt: 1, percent: 100, message: "nearly", detail: { frames: 3 } },
        ])
        yield* queue.cancel(id)
        expect((yield* queue.get(id)).liveProgress).toBeUndefined()
      }).pipe(Effect.provide(running(worker)))
    }),
  )
})

describe("concurrency", () => {
  it.effect("is bounded for each type, and every place is used", () => {
    const Other = Job.make("other", {})
    const gate = Latch.makeUnsafe(false)
    const now = { numbered: 0, other: 0 }
    const most = { numbered: 0, other: 0 }
    const work = (type: keyof typeof now) =>
      Effect.sync(() => (most[type] = Math.max(most[type], ++now[type]))).pipe(
        Effect.andThen(gate.await),
        Effect.ensuring(Effect.sync(() => now[type]--)),
      )
    const workers = Layer.mergeAll(
      numbered(() => work("numbered"), { concurrency: 3 }),
      Other.toLayer(() => Effect.asVoid(work("other"))),
    )
    return Effect.gen(function* () {
      const queue = yield* Queue
      const jobs = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, n) => n),
        (n) => (n % 2 === 0 ? Queue.enqueue(Numbered, { n }) : Queue.enqueue(Other, undefined)),
        { concurrency: "unbounded" },
      )
      yield* settle
      expect(now).toEqual({ numbered: 3, other: 2 })
      expect((yield* queue.activity).get("default")!.running).toEqual(
        new Map([
          ["numbered", 3],
          ["other", 2],
        ]),
      )
      yield* gate.open
      yield* Effect.forEach(jobs, ({ id }) => ended(id), { concurrency: "unbounded" })
      expect(most).toEqual({ numbered: 3, other: 2 })
      expect(now).toEqual({ numbered: 0, other: 0 })
    }).pipe(Effect.provide(running(workers, { concurrency: 2 })))
  })

  it.effect("is each queue's own", () => {
    const gate = Latch.makeUnsafe(false)
    const ran: Array<number> = []
    return Effect.gen(function* () {
      yield* Queue.enqueue(Numbered, { n: 1 }, { queue: "a" })
      yield* Queue.enqueue(Numbered, { n: 2 }, { queue: "a" })
      yield* Queue.enqueue(Numbered, { n: 3 }, { queue: "b" })
      yield* settle
      expect(ran.toSorted()).toEqual([1, 3])
    }).pipe(Effect.provide(running(gated(gate, ran), { concurrency: 1 })))
  })

  it.effect("a place that becomes free is taken in the same commit", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const [first] = yield* Effect.gen(function* () {
        const queue = yield* Queue
        const jobs = yield* queue.submitBatch([1, 2].map((n) => ({ type: "numbered", payload: { n } })))
        yield* ended(jobs[1]!.id)
        return jobs
      }).pipe(Effect.provide(queueWith(echo, { concurrency: 1 })))
      const events = yield* journal.readAll({ afterPosition: 0, limit: 100 })
      expect(events.map(({ stream, event }) => [stream === first!.id ? 1 : 2, event._tag])).toEqual([
        [1, "JobEnqueued"],
        [2, "JobEnqueued"],
        [1, "JobStarted"],
        [1, "JobCompleted"],
        [2, "JobStarted"],
        [2, "JobCompleted"],
      ])
    }).pipe(Effect.provide(store)),
  )
})
