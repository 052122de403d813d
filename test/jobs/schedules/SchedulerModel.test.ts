import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { copyFileSync } from "node:fs"
import type { CatchUp } from "../../../src/jobs/schedules/CatchUp.ts"
import { nextTick, nextTicks, parseKnown } from "../../../src/jobs/schedules/CronTime.ts"
import { Schedules } from "../../../src/jobs/schedules/Schedules.ts"
import { forAll } from "../../support/Property.ts"
import { withSteps } from "../../support/SteppedClock.ts"
import {
  create,
  HOUR_MS,
  hourly,
  MINUTE_MS,
  newDatabase,
  outcomeOf,
  pass,
  process,
  rest,
  SECOND_MS,
  START,
  ticksOf,
} from "./ScheduleFixture.ts"

/** What can happen to a schedule beside its ticks. */
type Happening =
  | { readonly kind: "time passes"; readonly millis: number }
  | { readonly kind: "clock steps"; readonly millis: number }
  | { readonly kind: "pause" | "resume" }
  /** So many turns of the event loop after the next tick has come the process is stopped or killed; it starts later. */
  | { readonly kind: "stop" | "kill"; readonly turns: number; readonly downtime: number }

const span = fc.oneof(
  fc.integer({ min: 0, max: 90 * MINUTE_MS }),
  fc.integer({ min: 0, max: 6 * 60 }).map((minutes) => minutes * MINUTE_MS),
)

const happening: fc.Arbitrary<Happening> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("time passes" as const), millis: span }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant("clock steps" as const),
      millis: fc.tuple(span, fc.boolean()).map(([millis, back]) => (back ? -millis : millis)),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("pause" as const, "resume" as const) }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("stop" as const, "kill" as const),
      turns: fc.integer({ min: 0, max: 3 }),
      downtime: span,
    }),
  },
)

/** No more than a thousand ticks in all the time that may pass: what is left out of more is tested elsewhere. */
const cron = fc.constantFrom(
  "0 * * * *",
  "*/10 * * * *",
  "7,31 */2 * * *",
  "30 0 13 * * *",
  "0 0,12 * * *",
  "*/15 * * * mon-wed",
)
const timeZone = fc.constantFrom("UTC", "Europe/Berlin", "Asia/Kathmandu")

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** A database as a process that ended right now would leave it. */
const copyOf = (database: string): string => {
  const copy = `${database}.next`
  copyFileSync(database, copy)
  copyFileSync(`${database}-wal`, `${copy}-wal`)
  return copy
}

/** Lives through it all, and answers the moments at which the schedule ticked and how late it was at the end. */
const live = (
  settings: { readonly cron: string; readonly time_zone: string; readonly catch_up: CatchUp },
  story: ReadonlyArray<Happening>,
) =>
  withSteps((step) =>
    Effect.gen(function* () {
      let database = yield* newDatabase
      const start = Effect.gen(function* () {
        const scope = yield* Scope.make()
        const services = yield* Layer.buildWithScope(process(database), scope)
        return { scope, services }
      })
      let running = yield* start
      const inside = <A, E>(effect: Effect.Effect<A, E, Layer.Success<ReturnType<typeof process>>>) =>
        Effect.suspend(() => Effect.provideContext(effect, running.services))
      const restart = (kind: "stop" | "kill", turns: number, downtime: number) =>
        Effect.gen(function* () {
          for (let i = 0; i < turns; i++) yield* turn
          // A stop finishes what has begun. A kill leaves what is on the disk at this moment.
          if (kind === "kill") database = copyOf(database)
          yield* Scope.close(running.scope, Exit.void)
          yield* TestClock.adjust(downtime)
          running = yield* start
        })

      const id = yield* inside(create(hourly(settings)))
      const command = (name: "pause" | "resume") =>
        inside(Effect.flatMap(Schedules, (schedules) => Effect.andThen(schedules[name](id), rest)))
      for (const happened of story) {
        if (happened.kind === "time passes") yield* inside(pass(happened.millis))
        else if (happened.kind === "clock steps") yield* step(happened.millis)
        else if (happened.kind === "stop" || happened.kind === "kill") {
          const now = yield* Clock.currentTimeMillis
          const next = nextTick(parseKnown(settings.cron, settings.time_zone), now) ?? now
          yield* TestClock.adjust(Math.min(next - now, 6 * HOUR_MS))
          yield* restart(happened.kind, happened.turns, happened.downtime)
        } else yield* command(happened.kind)
      }
      yield* command("resume")
      yield* restart("stop", 0, 0)
      yield* inside(pass(MINUTE_MS))

      const ticks = yield* inside(ticksOf(id))
      const { jobs } = yield* inside(outcomeOf(id))
      const end = yield* Clock.currentTimeMillis
      yield* Scope.close(running.scope, Exit.void)
      return { ticks, submittedAt: jobs.map(({ recordedAt }) => recordedAt), end }
    }).pipe(Effect.scoped),
  ).pipe(Effect.provide(TestClock.layer()))

const story = fc.array(happening, { maxLength: 10 })

describe("whatever happens to process and clock", () => {
  it.live(
    "no tick has more than one job, none comes early, and each is one that the expression names",
    () =>
      forAll(
        fc.tuple(
          fc.record({
            cron,
            time_zone: timeZone,
            catch_up: fc.constantFrom("skip" as const, "latest" as const),
          }),
          story,
        ),
        ([settings, happenings]) =>
          Effect.map(live(settings, happenings), ({ submittedAt, ticks }) => {
            const expression = parseKnown(settings.cron, settings.time_zone)
            ticks.forEach((tick, index) => {
              assert.isAbove(tick, ticks[index - 1] ?? START)
              assert.strictEqual(nextTick(expression, tick - SECOND_MS), tick)
            })
            // A job that was submitted after its tick may be recorded by a clock that has been set back since.
            if (happenings.every((happened) => happened.kind !== "clock steps" || happened.millis >= 0)) {
              submittedAt.forEach((at, index) => assert.isAtLeast(at, ticks[index]!))
            }
          }),
        { runs: 40 },
      ),
    60_000,
  )

  it.live(
    "with `all`, every tick has exactly one",
    () =>
      forAll(
        fc.tuple(fc.record({ cron, time_zone: timeZone, catch_up: fc.constant("all" as const) }), story),
        ([settings, happenings]) =>
          Effect.map(live(settings, happenings), ({ end, ticks }) => {
            const expression = parseKnown(settings.cron, settings.time_zone)
            // The clock may have been ahead before: what it then reached is not undone.
            const expected = nextTicks(expression, START, ticks.length)
            assert.deepStrictEqual(ticks, [...expected])
            const next = nextTick(expression, ticks.at(-1) ?? START)
            assert.isAbove(next ?? Number.POSITIVE_INFINITY, end)
          }),
        { runs: 40 },
      ),
    60_000,
  )
})
