import { describe, expect, it } from "vitest"
import { given } from "../../../src/actor/BehaviorSpec.ts"
import { CATCH_UP_MAX, ON_TIME_MS, type CatchUp } from "../../../src/jobs/schedules/CatchUp.ts"
import { ScheduleBehavior } from "../../../src/jobs/schedules/Schedule.ts"
import type { ScheduleEvent } from "../../../src/jobs/schedules/ScheduleEvents.ts"

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const DAY_MS = 24 * HOUR_MS
const NOON = Date.parse("2026-01-14T12:00:00Z")
const JOB = { type: "report", payload: { days: 7 } }

const HOURLY = {
  name: "hourly",
  cron: "0 * * * *",
  time_zone: "UTC",
  job: JOB,
  catch_up: "latest" as CatchUp,
}

const created = (settings: Partial<typeof HOURLY> = {}, next = NOON): ScheduleEvent => ({
  _tag: "ScheduleCreated",
  ...HOURLY,
  ...settings,
  next_tick_at: next,
})
const ticked = (tick: number, next: number | null, job = "job_1"): ScheduleEvent => ({
  _tag: "ScheduleTicked",
  tick_at: tick,
  job_id: job,
  next_tick_at: next,
})
const skipped = (from: number, catchUp: CatchUp, next: number | null): ScheduleEvent => ({
  _tag: "ScheduleTicksSkipped",
  from,
  catch_up: catchUp,
  next_tick_at: next,
})
const paused: ScheduleEvent = { _tag: "SchedulePaused" }
const deleted: ScheduleEvent = { _tag: "ScheduleDeleted" }

const givenSchedule = (...history: ReadonlyArray<ScheduleEvent>) => given(ScheduleBehavior, ...history)
const tickAt = (now: number, ...history: ReadonlyArray<ScheduleEvent>) =>
  givenSchedule(...history).when("Tick", { job_id: "job_x" }, { now })

describe("a schedule", () => {
  it("begins with the first tick after it is made", () => {
    givenSchedule()
      .when("Create", HOURLY, { now: NOON })
      .thenEvents(created({}, NOON + HOUR_MS))
    givenSchedule(created())
      .when("Create", HOURLY, { now: NOON + DAY_MS })
      .thenEvents()
  })

  it("does not tick early, and ticks on the millisecond", () => {
    const early = tickAt(NOON - 1, created()).thenEvents()
    early.thenAnswer({ ticked: false, state: early.state })
    const onTime = tickAt(NOON, created()).thenEvents(ticked(NOON, NOON + HOUR_MS, "job_x"))
    onTime.thenAnswer({ ticked: true, state: onTime.state })
    expect(onTime.state.lastTick).toEqual({ at: NOON, job_id: "job_x" })
  })

  it("never gives a moment a second tick, however far the clock steps back", () => {
    const history = [created(), ticked(NOON, NOON + HOUR_MS)]
    for (const now of [NOON, NOON - 1, NOON - 30 * DAY_MS, NOON + HOUR_MS - 1]) {
      tickAt(now, ...history).thenEvents()
    }
    // Nor by way of another expression.
    givenSchedule(...history)
      .when("Update", { cron: "*/30 * * * *" }, { now: NOON - DAY_MS })
      .thenEvents({ _tag: "ScheduleUpdated", cron: "*/30 * * * *", next_tick_at: NOON + HOUR_MS / 2 })
  })

  it("that has no tick any more rests", () => {
    tickAt(NOON + DAY_MS, created(), ticked(NOON, null)).thenEvents()
  })

  it("that is deleted is not there", () => {
    const gone = givenSchedule(created(), deleted)
    for (const tag of ["Get", "Pause", "Resume", "Delete"] as const) {
      gone.when(tag, undefined).thenRefused("ScheduleNotFound")
    }
    gone.when("Update", { name: "other" }).thenRefused("ScheduleNotFound")
    gone.when("Tick", { job_id: "job_x" }, { now: NOON }).thenRefused("ScheduleNotFound")
    givenSchedule().when("Get", undefined).thenRefused("ScheduleNotFound")
    givenSchedule(created()).when("Delete", undefined).thenEvents(deleted)
  })

  it("keeps its next tick when something else about it changes", () => {
    givenSchedule(created())
      .when("Update", { name: "other", job: { ...JOB, queue: "reports" } }, { now: NOON - 5 * MINUTE_MS })
      .thenEvents({
        _tag: "ScheduleUpdated",
        name: "other",
        job: { ...JOB, queue: "reports" },
        next_tick_at: NOON,
      })
    givenSchedule(created()).when("Update", {}).thenEvents()
  })

  it("in another zone ticks at the same time by the clock there", () => {
    const daily = created({ cron: "0 9 * * *" }, NOON + 21 * HOUR_MS)
    givenSchedule(daily)
      .when("Update", { time_zone: "America/New_York" }, { now: NOON })
      .thenEvents({
        _tag: "ScheduleUpdated",
        time_zone: "America/New_York",
        next_tick_at: Date.parse("2026-01-14T14:00:00Z"),
      })
  })
})

describe("missed ticks", () => {
  const late = NOON + 5 * HOUR_MS + 20 * MINUTE_MS
  const newest = NOON + 5 * HOUR_MS
  const next = NOON + 6 * HOUR_MS

  it("latest: only the newest gets a job", () => {
    tickAt(late, created()).thenEvents(skipped(NOON, "latest", newest), ticked(newest, next, "job_x"))
  })

  it("latest: a single one gets its job, however late", () => {
    tickAt(NOON + 59 * MINUTE_MS, created()).thenEvents(ticked(NOON, NOON + HOUR_MS, "job_x"))
  })

  it("skip: none gets a job", () => {
    const outcome = tickAt(late, created({ catch_up: "skip" })).thenEvents(skipped(NOON, "skip", next))
    outcome.thenAnswer({ ticked: false, state: outcome.state })
    tickAt(NOON + ON_TIME_MS + 1, created({ catch_up: "skip" })).thenEvents(
      skipped(NOON, "skip", NOON + HOUR_MS),
    )
  })

  it("skip: one that is a moment late is not missed", () => {
    tickAt(NOON + ON_TIME_MS, created({ catch_up: "skip" })).thenEvents(ticked(NOON, NOON + HOUR_MS, "job_x"))
    tickAt(newest + 1, created({ catch_up: "skip" })).thenEvents(
      skipped(NOON, "skip", newest),
      ticked(newest, next, "job_x"),
    )
  })

  it("all: each gets a job, oldest first", () => {
    const history = [created({ catch_up: "all" })]
    for (let tick = NOON; tick <= newest; tick += HOUR_MS) {
      const isLast = tick === newest
      const event = {
        ...ticked(tick, tick + HOUR_MS, "job_x"),
        ...(isLast ? {} : { missed_through: newest }),
      } as ScheduleEvent
      tickAt(late, ...history).thenEvents(event)
      history.push(event)
    }
    tickAt(late, ...history).thenEvents()
  })

  it("all: no more than the newest thousand, and the history says that older ones were left out", () => {
    const count = CATCH_UP_MAX + 500
    const now = NOON + (count - 1) * HOUR_MS
    let outcome = tickAt(now, created({ catch_up: "all" }))
    const first = NOON + 500 * HOUR_MS
    outcome.thenEvents(skipped(NOON, "all", first), {
      _tag: "ScheduleTicked",
      tick_at: first,
      job_id: "job_x",
      next_tick_at: first + HOUR_MS,
      missed_through: now,
    })
    // Time goes on while it catches up; of those that were promised a job none is left out.
    let jobs = 1
    let state = outcome.state
    for (;;) {
      const decision = ScheduleBehavior.decide.Tick(
        state,
        { job_id: "job_x" },
        { id: "s", now: now + HOUR_MS },
      )
      if (decision._tag === "Refused" || decision.events.length === 0) break
      expect(decision.events.map(({ _tag }) => _tag)).toEqual(["ScheduleTicked"])
      state = decision.events.reduce((state, event) => ScheduleBehavior.evolve(state, event, now), state)
      jobs++
    }
    expect(jobs).toBe(CATCH_UP_MAX + 1)
    expect(state.lastTick?.at).toBe(now + HOUR_MS)
  })

  it("of a year of seconds are not counted one by one, which would take a quarter of an hour", () => {
    const now = NOON + 365 * DAY_MS
    for (const catch_up of ["skip", "latest", "all"] as const) {
      const outcome = tickAt(now, created({ cron: "* * * * * *", catch_up }))
      expect(outcome.state.nextTickAt).toBe(
        catch_up === "all" ? now - (CATCH_UP_MAX - 2) * 1_000 : now + 1_000,
      )
    }
  })
})

describe("a paused schedule", () => {
  const pausedSchedule = (catch_up: CatchUp) => givenSchedule(created({ catch_up }), paused)
  const later = NOON + 2 * HOUR_MS + MINUTE_MS

  it("does not tick", () => {
    tickAt(later, created(), paused).thenEvents()
    givenSchedule(created()).when("Pause", undefined).thenEvents(paused)
    givenSchedule(created(), paused).when("Pause", undefined).thenEvents()
    givenSchedule(created()).when("Resume", undefined).thenEvents()
  })

  it("has missed the ticks of the pause when it is resumed", () => {
    pausedSchedule("latest")
      .when("Resume", undefined, { now: later })
      .thenEvents({ _tag: "ScheduleResumed", next_tick_at: NOON })
  })

  it("that skips them goes on with the next one, even if the last was a moment ago", () => {
    const next = NOON + 3 * HOUR_MS
    pausedSchedule("skip")
      .when("Resume", undefined, { now: NOON + 2 * HOUR_MS + 1 })
      .thenEvents(skipped(NOON, "skip", next), { _tag: "ScheduleResumed", next_tick_at: next })
  })

  it("that has missed none goes on as before", () => {
    pausedSchedule("skip")
      .when("Resume", undefined, { now: NOON - 1 })
      .thenEvents({ _tag: "ScheduleResumed", next_tick_at: NOON })
  })
})

describe("a job that is refused", () => {
  const refused: ScheduleEvent = {
    _tag: "ScheduleJobRefused",
    tick_at: NOON,
    job_id: "job_1",
    reason: "unknown_job_type",
  }
  const refuse = (jobId: string, ...history: ReadonlyArray<ScheduleEvent>) =>
    givenSchedule(...history).when("RefuseJob", { job_id: jobId, reason: "unknown_job_type" })

  it("is recorded with its tick, once, and the schedule goes on", () => {
    const history = [created(), ticked(NOON, NOON + HOUR_MS)]
    const { state } = refuse("job_1", ...history).thenEvents(refused)
    expect(state.lastTick?.refused).toBe("unknown_job_type")
    expect(state.nextTickAt).toBe(NOON + HOUR_MS)
    refuse("job_1", ...history, refused).thenEvents()
  })

  it("is nothing to a later tick", () => {
    refuse(
      "job_1",
      created(),
      ticked(NOON, NOON + HOUR_MS),
      ticked(NOON + HOUR_MS, null, "job_2"),
    ).thenEvents()
    refuse("job_1", created()).thenEvents()
  })
})
