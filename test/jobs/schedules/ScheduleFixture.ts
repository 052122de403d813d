/** Schedules over a real database file that outlives the process, with the clock in the test's hands. */
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { ActorSystem } from "../../../src/actor/ActorSystem.ts"
import { SnapshotStore } from "../../../src/actor/SnapshotStore.ts"
import { eventTypes, projections } from "../../../src/EventModel.ts"
import * as Job from "../../../src/jobs/Job.ts"
import type { JobEnqueued } from "../../../src/jobs/JobEvents.ts"
import { JobStore } from "../../../src/jobs/JobStore.ts"
import { Queue } from "../../../src/jobs/Queue.ts"
import { ScheduleLive } from "../../../src/jobs/schedules/Schedule.ts"
import type { ScheduleEvent } from "../../../src/jobs/schedules/ScheduleEvents.ts"
import * as Scheduler from "../../../src/jobs/schedules/Scheduler.ts"
import { type NewSchedule, Schedules } from "../../../src/jobs/schedules/Schedules.ts"
import { ScheduleStore } from "../../../src/jobs/schedules/ScheduleStore.ts"
import { Journal, type RecordedEvent } from "../../../src/journal/Journal.ts"
import * as SqliteJournal from "../../../src/journal/SqliteJournal.ts"
import { filler } from "../../support/FullDisk.ts"
import { settle } from "../../support/Turns.ts"
import { databaseAt } from "../../support/TestDatabase.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"

export const SECOND_MS = 1_000
export const MINUTE_MS = 60 * SECOND_MS
export const HOUR_MS = 60 * MINUTE_MS
export const DAY_MS = 24 * HOUR_MS
/** When every test begins: a full hour. */
export const START = Date.parse("2026-01-14T12:00:00Z")

/** What the schedules of most tests submit. */
export const Report = Job.make("report", { payload: Schema.Struct({ days: Schema.Int }) })
const ReportLive = Report.toLayer(() => Effect.void)

/** What there is without a scheduler: a queue that runs `workers`, and schedules to make and change. */
export const withoutScheduler = (filename: string, workers: Layer.Layer<never, never, Queue> = ReportLive) =>
  workers.pipe(
    Layer.provideMerge(Schedules.layer),
    Layer.provideMerge(ScheduleLive),
    Layer.provideMerge(Layer.mergeAll(ActorSystem.layer, Queue.layer({ worker: "test", grace: 0 }))),
    Layer.provideMerge(Layer.mergeAll(SnapshotStore.layer, JobStore.layer, ScheduleStore.layer)),
    Layer.provideMerge(SqliteJournal.layer({ events: [...eventTypes, filler], projections: projections() })),
    Layer.provideMerge(databaseAt(filename)),
    Layer.orDie,
  )

/** One process on the database: built, used, and gone. */
export const process = (filename: string, workers?: Layer.Layer<never, never, Queue>) =>
  Layer.fresh(Scheduler.layer.pipe(Layer.provideMerge(withoutScheduler(filename, workers)), Layer.orDie))

type Services = Layer.Success<ReturnType<typeof process>>

/** A database file for as long as the scope is open, with the clock at {@link START}. */
export const newDatabase = TestClock.setTime(START).pipe(
  Effect.andThen(temporaryFolder),
  Effect.map((folder) => join(folder, "test.db")),
)

/** Runs something in a process of its own on the database, once what the start brings has happened. */
export const during = <A, E>(
  filename: string,
  use: Effect.Effect<A, E, Services>,
  workers?: Layer.Layer<never, never, Queue>,
): Effect.Effect<A, E> => Effect.provide(Effect.andThen(rest, use), process(filename, workers))

/** Lets everything happen that needs no time to pass, however many commits it takes. */
export const rest: Effect.Effect<void, never, Journal> = Effect.gen(function* () {
  const journal = yield* Journal
  for (let before = -1, head = yield* journal.head; before !== head; head = yield* journal.head) {
    before = head
    yield* settle
  }
})

/** Lets time pass, and whatever comes with it happen. */
export const pass = (millis: number) => TestClock.adjust(millis).pipe(Effect.andThen(rest))

/** Lets time pass up to a moment. */
export const passTo = (now: number) => TestClock.setTime(now).pipe(Effect.andThen(rest))

/** An hourly schedule of reports. */
export const hourly = (settings: Partial<NewSchedule> = {}): NewSchedule => ({
  name: "hourly",
  cron: "0 * * * *",
  job: { type: "report", payload: { days: 7 } },
  ...settings,
})

export const create = (schedule: NewSchedule) =>
  Effect.flatMap(Schedules, (schedules) => Effect.map(schedules.create(schedule), ({ id }) => id)).pipe(
    Effect.tap(() => rest),
  )

export const historyOf = (id: string) =>
  Effect.flatMap(Journal, (journal) =>
    Effect.map(journal.readStream(id), (events) => events.map(({ event }) => event as ScheduleEvent)),
  )

/** The ticks of a schedule and the jobs that were submitted for it, in order. */
export const outcomeOf = Effect.fnUntraced(function* (id: string) {
  const journal = yield* Journal
  const ticks = (yield* historyOf(id)).flatMap((event) => (event._tag === "ScheduleTicked" ? [event] : []))
  const jobs: Array<RecordedEvent<typeof JobEnqueued.Type>> = []
  for (const recorded of yield* journal.readAll({ afterPosition: 0, limit: 1_000_000 })) {
    const event = recorded.event as typeof JobEnqueued.Type
    if (event._tag === "JobEnqueued" && event.tags?.includes(`schedule:${id}`) === true) {
      jobs.push(recorded as RecordedEvent<typeof JobEnqueued.Type>)
    }
  }
  return { ticks: ticks.map(({ tick_at }) => tick_at), promised: ticks.map(({ job_id }) => job_id), jobs }
})

/** The moments at which a schedule has ticked, after making sure that each has its job and no other. */
export const ticksOf = (id: string) =>
  Effect.map(outcomeOf(id), ({ jobs, promised, ticks }) => {
    const submitted = jobs.map(({ stream }) => stream)
    if (submitted.join() !== promised.join()) {
      throw new Error(`promised ${promised.join()}, submitted ${submitted.join()}`)
    }
    return ticks
  })
