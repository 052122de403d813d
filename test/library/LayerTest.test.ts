import { describe, expect, it } from "@effect/vitest"
import { Clock, Effect, Exit, Layer, Random, Schema, Scope } from "effect"
import { TestClock } from "effect/testing"
import { existsSync } from "node:fs"
import * as Job from "../../src/jobs/Job.ts"
import { JobList } from "../../src/jobs/JobList.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import * as Scheduler from "../../src/jobs/schedules/Scheduler.ts"
import { Schedules } from "../../src/jobs/schedules/Schedules.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"

const MINUTE_MS = 60_000

/** Fails as often as it is told to, with jitter in between. */
const Flaky = Job.make("flaky", {
  payload: Schema.Struct({ failures: Schema.Int }),
  success: Schema.Struct({ attempt: Schema.Int, luck: Schema.Number }),
  error: Schema.String,
  retry: { maxAttempts: 100, base: "1 minute", max: "1 hour" },
})
const FlakyLive = Flaky.toLayer(({ failures }, { attempt }) =>
  attempt <= failures ? Effect.fail("not yet") : Effect.map(Random.next, (luck) => ({ attempt, luck })),
)

const Sleepy = Job.make("sleepy", { payload: Schema.Struct({ ms: Schema.Int }) })
const SleepyLive = Sleepy.toLayer(({ ms }) => Effect.sleep(ms))

/** Fresh, since two systems of one test would share the handlers otherwise. */
const system = (config?: RenderOwl.TestConfig) =>
  Layer.mergeAll(FlakyLive, SleepyLive).pipe(Layer.provideMerge(RenderOwl.layerTest(config)), Layer.fresh)

/** Everything that there is to know about what has happened. */
const everything = Effect.gen(function* () {
  const journal = yield* Journal
  return yield* journal.readAll({ afterPosition: 0, limit: 10_000 })
})

/** Jobs of all kinds, and what the journal then says. */
const story = Effect.gen(function* () {
  for (let n = 0; n < 10; n++) {
    yield* Queue.enqueue(Flaky, { failures: n })
    yield* Queue.enqueue(Sleepy, { ms: n * 1_000 }, { delay: "1 minute", queue: `queue-${n % 3}` })
  }
  yield* TestClock.adjust("1 day")
  return yield* everything
})

const startsOf = (id: string) =>
  Effect.gen(function* () {
    const { state } = yield* (yield* Queue).get(id)
    return state.attempts.map(({ startedAt }) => startedAt)
  })

describe("time in a system for tests", () => {
  it.effect("passes only when the test says so", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Sleepy, { ms: MINUTE_MS }, { delay: "1 hour" })
      const status = Effect.map(queue.get(id), ({ state }) => state.status)
      yield* TestClock.adjust(3_599_999)
      expect(yield* status).toBe("waiting")
      yield* TestClock.adjust(1)
      expect(yield* status).toBe("processing")
      yield* TestClock.adjust(MINUTE_MS - 1)
      expect(yield* status).toBe("processing")
      yield* TestClock.adjust(1)
      expect(yield* status).toBe("completed")
      expect(yield* Clock.currentTimeMillis).toBe(61 * MINUTE_MS)
    }).pipe(Effect.provide(system())),
  )

  it.effect("goes in whole milliseconds, as the journal does", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Sleepy, { ms: 0 })
      yield* Effect.forkChild(Effect.andThen(Effect.sleep("1500 micros"), Queue.enqueue(Sleepy, { ms: 0 })))
      yield* TestClock.adjust("1 second")
      const times = (yield* everything).map(({ recordedAt }) => recordedAt)
      expect(new Set(times)).toEqual(new Set([0, 2]))
      expect((yield* startsOf(id)).length).toBe(1)
    }).pipe(Effect.provide(system())),
  )

  it.effect("moves at once over all that happens meanwhile, and each thing happens on time", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Flaky, { failures: 20 })
      yield* TestClock.adjust("1 day")
      expect((yield* Queue.await(Flaky, id)).attempt).toBe(21)
      const events = yield* everything
      const due = events.flatMap(({ event }) =>
        event._tag === "JobAttemptFailed" ? [(event as unknown as { retry_at: number }).retry_at] : [],
      )
      expect(yield* startsOf(id)).toEqual([0, ...due])
      expect(events.map(({ recordedAt }) => recordedAt)).toEqual(
        events.map(({ recordedAt }) => recordedAt).toSorted((a, b) => a - b),
      )
    }).pipe(Effect.provide(system())),
  )

  it.effect("does not move before what needs no time has happened, however much it is", () =>
    Effect.gen(function* () {
      for (let n = 0; n < 500; n++) yield* Queue.enqueue(Flaky, { failures: 0 })
      yield* TestClock.adjust(0)
      const completed = (yield* everything).filter(({ event }) => event._tag === "JobCompleted")
      expect(completed.length).toBe(500)
      expect(new Set(completed.map(({ recordedAt }) => recordedAt))).toEqual(new Set([0]))
    }).pipe(Effect.provide(system({ concurrency: 1 }))),
  )

  it.effect("moves schedules too: a day has its 24 ticks, each on the hour", () =>
    Effect.gen(function* () {
      const schedules = yield* Schedules
      const job = { type: "sleepy", payload: { ms: 0 } }
      yield* schedules.create({ name: "hourly", cron: "0 * * * *", time_zone: "UTC", job })
      yield* TestClock.adjust("1 day")
      const starts = (yield* everything).filter(({ event }) => event._tag === "JobStarted")
      expect(starts.map(({ recordedAt }) => recordedAt / (60 * MINUTE_MS))).toEqual(
        Array.from({ length: 24 }, (_, hour) => hour + 1),
      )
    }).pipe(Effect.provide(Layer.provideMerge(Scheduler.layer, system()))),
  )

  it.effect("begins where the test wants it", () =>
    Effect.gen(function* () {
      expect(yield* Clock.currentTimeMillis).toBe(Date.parse("2026-03-01T00:00:00Z"))
      const { id } = yield* Queue.enqueue(Flaky, { failures: 0 }, { delay: "1 minute" })
      yield* TestClock.setTime(Date.parse("2026-03-01T00:05:00Z"))
      expect(yield* startsOf(id)).toEqual([Date.parse("2026-03-01T00:01:00Z")])
    }).pipe(Effect.provide(system({ startAt: Date.parse("2026-03-01T00:00:00Z") }))),
  )

  it.effect("is the test's own: what it waits for and what the system waits for come in order", () =>
    Effect.gen(function* () {
      const seen: Array<string> = []
      const before = yield* Effect.forkChild(
        Effect.andThen(
          Effect.sleep(30_000),
          Effect.sync(() => seen.push("test")),
        ),
      )
      yield* Effect.gen(function* () {
        const { id } = yield* Queue.enqueue(Sleepy, { ms: 20_000 })
        yield* Effect.forkChild(
          Effect.andThen(
            Effect.ignore((yield* Queue).await(id)),
            Effect.sync(() => seen.push("job")),
          ),
        )
        yield* TestClock.adjust("1 minute")
      }).pipe(Effect.provide(system()))
      expect(before.pollUnsafe()).toBeDefined()
      expect(seen).toEqual(["job", "test"])
      expect(yield* Clock.currentTimeMillis).toBe(MINUTE_MS)
    }),
  )

  it("needs no test clock around it", () =>
    Effect.runPromise(
      Effect.gen(function* () {
        const { id } = yield* Queue.enqueue(Flaky, { failures: 3 })
        yield* TestClock.adjust("1 day")
        expect((yield* Queue.await(Flaky, id)).attempt).toBe(4)
      }).pipe(Effect.provide(system())),
    ))
})

describe("chance in a system for tests", () => {
  it.effect("is the same every time: ids, waits, and what handlers draw", () =>
    Effect.gen(function* () {
      const run = (config?: RenderOwl.TestConfig) => Effect.provide(story, system({ startAt: 0, ...config }))
      const first = yield* run()
      expect(yield* run()).toEqual(first)
      expect(yield* run({ folder: true })).toEqual(first)
      const other = yield* run({ seed: 42 })
      expect(other.map(({ event }) => event._tag).toSorted()).toEqual(
        first.map(({ event }) => event._tag).toSorted(),
      )
      const ids = new Set(first.map(({ stream }) => stream))
      expect(other.filter(({ stream }) => ids.has(stream))).toEqual([])
      expect(other.map(({ recordedAt }) => recordedAt)).not.toEqual(first.map(({ recordedAt }) => recordedAt))
    }),
  )
})

describe("several systems for tests", () => {
  it.effect("side by side or one within the other, know nothing of each other and share the clock", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([
        Layer.build(system({ seed: "a" })),
        Layer.build(system({ seed: "b", folder: true })),
      ])
      const first = yield* Effect.provide(Queue.enqueue(Flaky, { failures: 0 }, { delay: "1 minute" }), a)
      const second = yield* Effect.provide(Queue.enqueue(Flaky, { failures: 0 }, { delay: "2 minutes" }), b)
      yield* Effect.provide(TestClock.adjust("1 hour"), a)
      expect(yield* Effect.provide(startsOf(first.id), a)).toEqual([MINUTE_MS])
      expect(yield* Effect.provide(startsOf(second.id), b)).toEqual([2 * MINUTE_MS])
      for (const [context, { id }] of [
        [a, second],
        [b, first],
      ] as const)
        expect(yield* Effect.flip(Effect.provide(startsOf(id), context))).toMatchObject({
          _tag: "JobNotFound",
        })
      const within = Effect.gen(function* () {
        yield* Queue.enqueue(Flaky, { failures: 0 })
        return yield* (yield* JobList).page({}, { before: Number.MAX_SAFE_INTEGER, limit: 10 })
      })
      expect(yield* within.pipe(Effect.provide(system()), Effect.provide(a))).toHaveLength(1)
    }),
  )
})

describe("one system", () => {
  it.effect("is what all have whom the same layer is provided to, in memory or in a file", () =>
    Effect.gen(function* () {
      for (const folder of [false, true]) {
        const shared = RenderOwl.layerTest({ folder })
        const workers = Layer.mergeAll(
          FlakyLive.pipe(Layer.provideMerge(shared)),
          SleepyLive.pipe(Layer.provideMerge(shared)),
        )
        const both = Effect.gen(function* () {
          expect((yield* Queue.run(Flaky, { failures: 0 })).attempt).toBe(1)
          yield* Queue.run(Sleepy, { ms: 0 })
          expect((yield* everything).map(({ event }) => event._tag)).toHaveLength(6)
        })
        yield* Effect.provide(both, Layer.fresh(workers))
      }
    }),
  )
})

describe("a system for tests", () => {
  it.effect("leaves nothing behind: no file, no connection, no attempt", () =>
    Effect.gen(function* () {
      let stopped = 0
      const Endless = Job.make("endless", {})
      const live = Endless.toLayer(() =>
        Effect.ensuring(
          Effect.never,
          Effect.sync(() => stopped++),
        ),
      ).pipe(Layer.provideMerge(RenderOwl.layerTest({ folder: true })))
      const scope = yield* Scope.make()
      const { filename, writer } = yield* Effect.gen(function* () {
        yield* Queue.enqueue(Endless, undefined)
        yield* TestClock.adjust("1 minute")
        const client = yield* SqliteClient
        expect(existsSync(client.filename)).toBe(true)
        return client
      }).pipe(Effect.provide(yield* Layer.buildWithScope(live, scope)))
      expect(stopped).toBe(0)
      yield* Scope.close(scope, Exit.void)
      expect(stopped).toBe(1)
      expect(existsSync(filename)).toBe(false)
      expect(() => writer.exec("SELECT 1")).toThrow(/not open/)
    }),
  )

  it.effect("says so when something goes on without waiting for time", () =>
    Effect.gen(function* () {
      const Busy = Job.make("busy", {})
      const live = Busy.toLayer(() => Effect.forever(Effect.yieldNow)).pipe(
        Layer.provideMerge(RenderOwl.layerTest()),
      )
      const adjusted = Effect.andThen(Queue.enqueue(Busy, undefined), Effect.exit(TestClock.adjust(1)))
      expect(String(yield* Effect.provide(adjusted, live))).toContain("without waiting for time")
    }),
  )
})
