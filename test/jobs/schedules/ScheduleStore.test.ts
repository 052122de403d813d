import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { scheduleProjection } from "../../../src/jobs/schedules/ScheduleProjection.ts"
import { SCHEDULES_MAX, Schedules } from "../../../src/jobs/schedules/Schedules.ts"
import * as ScheduleStore from "../../../src/jobs/schedules/ScheduleStore.ts"
import { Journal } from "../../../src/journal/Journal.ts"
import { SqliteClient } from "../../../src/sqlite/SqliteClient.ts"
import {
  create,
  during,
  HOUR_MS,
  hourly,
  newDatabase,
  pass,
  Report,
  withoutScheduler,
} from "./ScheduleFixture.ts"

const table = Effect.map(SqliteClient, ({ writer }) =>
  writer.prepareUncached("SELECT * FROM schedules ORDER BY position").all(),
)

describe("the table of schedules", () => {
  it.effect("is the fold of the journal, row for row", () =>
    Effect.gen(function* () {
      const database = yield* newDatabase
      const life = Effect.gen(function* () {
        const schedules = yield* Schedules
        const [often, changed, paused, resumed, deleted] = yield* Effect.all([
          create(hourly()),
          create(hourly({ catch_up: "skip" })),
          create(hourly()),
          create(hourly({ catch_up: "skip" })),
          create(hourly()),
        ])
        yield* pass(HOUR_MS)
        yield* schedules.update(changed, { cron: "5 5 * * *" })
        yield* schedules.pause(paused)
        yield* schedules.pause(resumed)
        yield* schedules.delete(deleted)
        yield* pass(HOUR_MS)
        yield* schedules.resume(resumed)
        return often
      })
      yield* during(database, life)
      // Whose type nobody runs any more: its job is refused.
      yield* during(database, pass(HOUR_MS), Layer.empty)
      yield* Effect.gen(function* () {
        const { writer } = yield* SqliteClient
        const kept = yield* table
        assert.lengthOf(kept, 4)
        const events = yield* Effect.flatMap(Journal, (journal) =>
          journal.readAll({ afterPosition: 0, limit: 1_000 }),
        )
        writer.exec("DELETE FROM schedules")
        for (let at = 0; at < events.length; at += 3) {
          writer.transaction(() => scheduleProjection().project(writer, events.slice(at, at + 3)))
        }
        assert.deepStrictEqual(yield* table, kept)
      }).pipe(Effect.provide(Layer.fresh(withoutScheduler(database))))
    }).pipe(Effect.scoped),
  )

  it.effect("holds no more than it may", () =>
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const schedules = yield* Schedules
        const { writer } = yield* SqliteClient
        writer.exec(
          `INSERT INTO schedules (position, paused) WITH RECURSIVE n (i) AS
             (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${SCHEDULES_MAX - 1}) SELECT 1000 + i, 1 FROM n`,
        )
        const job = yield* Schedules.job(Report, { days: 1 })
        const tries = yield* Effect.all(
          Array.from({ length: 3 }, () => Effect.exit(schedules.create(hourly({ job })))),
          { concurrency: "unbounded" },
        )
        assert.deepStrictEqual(tries.map(({ _tag }) => _tag).toSorted(), ["Failure", "Failure", "Success"])
        const error = yield* Effect.flip(schedules.create(hourly({ job })))
        assert.deepInclude(error, { _tag: "TooManySchedules", max: SCHEDULES_MAX })
      }).pipe(Effect.provide(Layer.fresh(withoutScheduler(yield* newDatabase))))
    }).pipe(Effect.scoped),
  )

  it.effect.each([
    ["who is due", ScheduleStore.SELECT_DUE, "s USING COVERING INDEX schedules_due (next_tick_at<?)"],
    ["who is next", ScheduleStore.SELECT_NEXT, "COVERING INDEX schedules_due (next_tick_at>?)"],
    ["a page of them", ScheduleStore.SELECT_SCHEDULES, "s USING INTEGER PRIMARY KEY (rowid<?)"],
  ] as const)("%s: by the index that is meant for it, and nothing is sorted", ([, sql, index]) =>
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const { writer } = yield* SqliteClient
        const plan = writer.prepareUncached(`EXPLAIN QUERY PLAN ${sql}`).all()
        const steps = plan.map((row) => row["detail"] as string).join("\n")
        assert.include(steps, index)
        assert.notMatch(steps, /SCAN|TEMP B-TREE|AUTOMATIC/)
      }).pipe(Effect.provide(Layer.fresh(withoutScheduler(yield* newDatabase))))
    }).pipe(Effect.scoped),
  )
})
