import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Job from "../../../src/jobs/Job.ts"
import { Queue } from "../../../src/jobs/Queue.ts"
import { CATCH_UP_MAX } from "../../../src/jobs/schedules/CatchUp.ts"
import { Schedules } from "../../../src/jobs/schedules/Schedules.ts"
import { Journal } from "../../../src/journal/Journal.ts"
import { fillDisk, fillPages, freeDisk } from "../../support/FullDisk.ts"
import { withSteps } from "../../support/SteppedClock.ts"
import { statusOf } from "../QueueFixture.ts"
import {
  create,
  DAY_MS,
  during,
  historyOf,
  HOUR_MS,
  hourly,
  MINUTE_MS,
  newDatabase,
  outcomeOf,
  pass,
  Report,
  rest,
  SECOND_MS,
  START,
  passTo,
  ticksOf,
  withoutScheduler,
} from "./ScheduleFixture.ts"

/** Has a payload that needs room. */
const Long = Job.make("long", { payload: Schema.Struct({ days: Schema.Int, note: Schema.String }) })
const LongLive = Long.toLayer(() => Effect.void)

const hours = (...numbers: ReadonlyArray<number>) => numbers.map((hour) => START + hour * HOUR_MS)
const tagsOf = (id: string) =>
  Effect.map(historyOf(id), (events) => events.map(({ _tag }) => _tag.replace("Schedule", "")))

describe("a schedule", () => {
  it.effect("submits one job a tick, on time and never early", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const id = yield* create(
            hourly({ job: yield* Schedules.job(Report, { days: 1 }, { priority: "low" }) }),
          )
          yield* passTo(START + HOUR_MS - 1)
          assert.deepStrictEqual(yield* ticksOf(id), [])
          yield* passTo(START + HOUR_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1))
          yield* passTo(START + HOUR_MS + 1)
          yield* passTo(START + 2 * HOUR_MS)
          yield* passTo(START + 3 * HOUR_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2, 3))

          const { jobs } = yield* outcomeOf(id)
          for (const { event, metadata, recordedAt, stream } of jobs) {
            assert.include(hours(1, 2, 3), recordedAt)
            assert.deepInclude(event, { type: "report", payload: { days: 1 }, priority: "low" })
            assert.deepStrictEqual(metadata, { causation_id: id })
            assert.strictEqual(yield* statusOf(stream), "completed")
          }
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("of every second keeps up, and does not keep others waiting", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const often = yield* create(hourly({ cron: "* * * * * *" }))
          const seldom = yield* create(hourly({ cron: "30 0 * * * *" }))
          for (let second = 1; second <= 90; second++) yield* passTo(START + second * SECOND_MS)
          assert.lengthOf(yield* ticksOf(often), 90)
          assert.deepStrictEqual(yield* ticksOf(seldom), [START + 30 * SECOND_MS])
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("that is made, changed, paused, resumed or deleted is heeded at once", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const schedules = yield* Schedules
          yield* create(hourly())
          // The clock is asleep until the full hour when these come.
          const id = yield* create(hourly({ cron: "30 * * * *" }))
          yield* schedules.update(id, { cron: "10 * * * *" })
          yield* rest
          yield* passTo(START + 10 * MINUTE_MS)
          assert.lengthOf(yield* ticksOf(id), 1)
          yield* schedules.pause(id)
          yield* passTo(START + HOUR_MS + 10 * MINUTE_MS)
          assert.lengthOf(yield* ticksOf(id), 1)
          yield* schedules.resume(id)
          yield* rest
          assert.lengthOf(yield* ticksOf(id), 2)
          yield* schedules.delete(id)
          yield* passTo(START + 2 * HOUR_MS + 10 * MINUTE_MS)
          assert.lengthOf(yield* ticksOf(id), 2)
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("can be triggered beside its ticks, also while it is paused", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const schedules = yield* Schedules
          const id = yield* create(hourly())
          yield* schedules.pause(id)
          const { id: job } = yield* schedules.trigger(id, { principal: "key_1" })
          yield* rest
          const { jobs, ticks } = yield* outcomeOf(id)
          assert.deepStrictEqual(ticks, [])
          assert.deepStrictEqual(
            jobs.map(({ metadata, stream }) => ({ metadata, stream })),
            [{ stream: job, metadata: { principal: "key_1", causation_id: id } }],
          )
        }),
      )
    }).pipe(Effect.scoped),
  )
})

describe("after a restart", () => {
  it.effect("a tick that was submitted is not submitted again, and the next one comes on time", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const id = yield* during(
        database,
        Effect.tap(create(hourly()), () => passTo(START + HOUR_MS)),
      )
      yield* during(
        database,
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* ticksOf(id), hours(1))
          yield* passTo(START + 2 * HOUR_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2))
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect.each([
    ["skip", []],
    ["latest", [5]],
    ["all", [1, 2, 3, 4, 5]],
  ] as const)("the ticks of the downtime are caught up on: %s", ([catch_up, expected]) =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const id = yield* during(database, create(hourly({ catch_up })))
      yield* TestClock.setTime(START + 5.5 * HOUR_MS)
      yield* during(
        database,
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* ticksOf(id), hours(...expected))
          yield* passTo(START + 6 * HOUR_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(...expected, 6))
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("a restart of some seconds over a tick misses nothing, even with skip", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const id = yield* during(
        database,
        Effect.tap(create(hourly({ catch_up: "skip" })), () => passTo(START + HOUR_MS - SECOND_MS)),
      )
      yield* TestClock.setTime(START + HOUR_MS + 5 * SECOND_MS)
      yield* during(
        database,
        Effect.map(ticksOf(id), (ticks) => assert.deepStrictEqual(ticks, hours(1))),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("no more than the newest thousand missed ticks get a job, and others tick meanwhile", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const ids = yield* during(
        database,
        Effect.all([create(hourly({ cron: "* * * * *", catch_up: "all" })), create(hourly())]),
      )
      const now = START + 2 * DAY_MS
      yield* TestClock.setTime(now)
      yield* during(
        database,
        Effect.gen(function* () {
          const ticks = yield* ticksOf(ids[0])
          assert.lengthOf(ticks, CATCH_UP_MAX)
          assert.strictEqual(ticks[0], now - (CATCH_UP_MAX - 1) * MINUTE_MS)
          assert.strictEqual(ticks.at(-1), now)
          const { jobs } = yield* outcomeOf(ids[1])
          const { jobs: many } = yield* outcomeOf(ids[0])
          assert.isBelow(jobs[0]!.position, many[1]!.position)
        }),
      )
    }).pipe(Effect.scoped),
  )
})

describe("a process that ends between a tick and its job", () => {
  /** Ends so: the tick is in the journal, its job is not. */
  const crashed = (database: string) =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const id = yield* create(hourly())
      const tick = {
        _tag: "ScheduleTicked",
        tick_at: START + HOUR_MS,
        job_id: "job_01k8w3e5r7fm2vx9q4ztd6yhbn",
        next_tick_at: START + 2 * HOUR_MS,
      }
      yield* journal.append([{ stream: id, expectedVersion: 1, events: [tick] }], START + HOUR_MS)
      return id
    }).pipe(Effect.provide(Layer.fresh(withoutScheduler(database))))

  it.effect("is made good at the next start: that job is submitted, once", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const id = yield* crashed(database)
      yield* TestClock.setTime(START + HOUR_MS + MINUTE_MS)
      for (let start = 0; start < 3; start++) {
        yield* during(
          database,
          Effect.gen(function* () {
            const { jobs, ticks } = yield* outcomeOf(id)
            assert.deepStrictEqual(ticks, hours(1))
            assert.deepStrictEqual(
              jobs.map(({ stream }) => stream),
              ["job_01k8w3e5r7fm2vx9q4ztd6yhbn"],
            )
            assert.strictEqual(yield* statusOf("job_01k8w3e5r7fm2vx9q4ztd6yhbn"), "completed")
          }),
        )
      }
    }).pipe(Effect.scoped),
  )

  it.effect("is made good before the ticks that were missed since, and while it is paused", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const id = yield* crashed(database)
      yield* Effect.flatMap(Schedules, (schedules) => schedules.pause(id)).pipe(
        Effect.provide(Layer.fresh(withoutScheduler(database))),
      )
      yield* TestClock.setTime(START + 3 * HOUR_MS)
      yield* during(
        database,
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* ticksOf(id), hours(1))
          yield* Effect.flatMap(Schedules, (schedules) => schedules.resume(id))
          yield* rest
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 3))
        }),
      )
    }).pipe(Effect.scoped),
  )
})

describe("a clock that is stepped", () => {
  it.effect("back repeats no tick, and goes on where time was before", () =>
    withSteps((step) =>
      Effect.gen(function* () {
        yield* during(
          yield* newDatabase,
          Effect.gen(function* () {
            const id = yield* create(hourly({ catch_up: "all" }))
            yield* pass(HOUR_MS)
            yield* pass(HOUR_MS)
            yield* step(-90 * MINUTE_MS)
            for (let minute = 0; minute < 89; minute++) yield* pass(MINUTE_MS)
            assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2))
            for (let minute = 0; minute < 61; minute++) yield* pass(MINUTE_MS)
            assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2, 3))
          }),
        )
      }).pipe(Effect.scoped),
    ),
  )

  it.effect("back does not keep a new schedule from its ticks", () =>
    withSteps((step) =>
      Effect.gen(function* () {
        yield* during(
          yield* newDatabase,
          Effect.gen(function* () {
            yield* create(hourly())
            yield* step(-DAY_MS)
            const id = yield* create(hourly())
            yield* pass(HOUR_MS)
            assert.deepStrictEqual(yield* ticksOf(id), [START - DAY_MS + HOUR_MS])
          }),
        )
      }).pipe(Effect.scoped),
    ),
  )

  it.effect.each([
    ["skip", [1, 31]],
    ["latest", [1, 30, 31]],
    ["all", Array.from({ length: 31 }, (_, hour) => hour + 1)],
  ] as const)(
    "forward is noticed within a minute, and has missed the ticks in between: %s",
    ([policy, expected]) =>
      withSteps((step) =>
        Effect.gen(function* () {
          yield* during(
            yield* newDatabase,
            Effect.gen(function* () {
              const id = yield* create(hourly({ catch_up: policy }))
              yield* pass(HOUR_MS)
              yield* step(29.5 * HOUR_MS)
              yield* pass(MINUTE_MS)
              assert.deepStrictEqual(yield* ticksOf(id), hours(...expected.slice(0, -1)))
              yield* pass(29 * MINUTE_MS)
              assert.deepStrictEqual(yield* ticksOf(id), hours(...expected))
            }),
          )
        }).pipe(Effect.scoped),
      ),
  )
})

describe("a job that cannot be submitted", () => {
  it.effect("because the disk is full is submitted once there is room, and no tick is lost", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const payload = { days: 1, note: "x".repeat(200_000) }
          const id = yield* create(hourly({ job: yield* Schedules.job(Long, payload) }))
          yield* fillPages
          yield* pass(HOUR_MS)
          // The tick itself found room.
          assert.deepStrictEqual(yield* tagsOf(id), ["Created", "Ticked"])
          assert.lengthOf((yield* outcomeOf(id)).jobs, 0)
          yield* pass(2 * HOUR_MS)
          assert.deepStrictEqual(yield* tagsOf(id), ["Created", "Ticked"])
          yield* freeDisk
          yield* pass(MINUTE_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 3))
        }),
        LongLive,
      )
    }).pipe(Effect.scoped),
  )

  it.effect("and is there after all is not submitted again", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const payload = { days: 1, note: "x".repeat(200_000) }
          const job = yield* Schedules.job(Long, payload)
          const id = yield* create(hourly({ job }))
          yield* fillPages
          yield* pass(HOUR_MS)
          yield* freeDisk
          const [promised] = (yield* outcomeOf(id)).promised
          const queue = yield* Queue
          yield* queue.submit({ ...job, id: promised, tags: [`schedule:${id}`] })
          yield* pass(HOUR_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2))
        }),
        LongLive,
      )
    }).pipe(Effect.scoped),
  )

  it.effect("because its queue takes none waits until it does, and holds up nobody else", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const queue = yield* Queue
          const id = yield* create(
            hourly({ job: { type: "report", payload: { days: 1 }, queue: "drained" } }),
          )
          const other = yield* create(hourly())
          yield* queue.limit("drained", { concurrency: 1, key_concurrency: 1, rate_limit: null })
          yield* queue.drain("drained")
          yield* pass(HOUR_MS)
          yield* pass(HOUR_MS)
          assert.deepStrictEqual(yield* tagsOf(id), ["Created", "Ticked"])
          assert.deepStrictEqual(yield* ticksOf(other), hours(1, 2))
          yield* queue.resume("drained")
          yield* pass(MINUTE_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2))
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("because nothing fits on the disk waits for room, with its tick", () =>
    Effect.gen(function* () {
      yield* during(
        yield* newDatabase,
        Effect.gen(function* () {
          const id = yield* create(hourly({ catch_up: "all" }))
          yield* fillDisk
          yield* pass(2 * HOUR_MS)
          assert.deepStrictEqual(yield* ticksOf(id), [])
          yield* freeDisk
          yield* pass(MINUTE_MS)
          assert.deepStrictEqual(yield* ticksOf(id), hours(1, 2))
        }),
      )
    }).pipe(Effect.scoped),
  )

  it.effect("because nothing here runs its type is recorded, and the schedule goes on", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const id = yield* during(database, create(hourly()))
      yield* TestClock.setTime(START + HOUR_MS)
      yield* during(
        database,
        Effect.gen(function* () {
          assert.deepStrictEqual(yield* tagsOf(id), ["Created", "Ticked", "JobRefused"])
          yield* passTo(START + 2 * HOUR_MS)
          const { state } = yield* Effect.flatMap(Schedules, (schedules) => schedules.get(id))
          assert.deepInclude(state.lastTick, { at: START + 2 * HOUR_MS, refused: "unknown_job_type" })
        }),
        Layer.empty,
      )
      // A refusal is final: the handler that comes later does not get that job.
      yield* TestClock.setTime(START + 3 * HOUR_MS)
      yield* during(
        database,
        Effect.gen(function* () {
          const { jobs, ticks } = yield* outcomeOf(id)
          assert.deepStrictEqual(ticks, hours(1, 2, 3))
          assert.lengthOf(jobs, 1)
        }),
      )
    }).pipe(Effect.scoped),
  )
})
