/**
 * A schedule: a cron expression in a time zone, and the job that each of its ticks submits. An actor; `ScheduleBehavior`
 * below is all of its rules. Ticks only go forward: whatever the clock does, a moment that has had its tick never gets
 * another, because each tick is decided here, against the history, before its job is submitted.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Actor from "../../actor/Actor.ts"
import { accept, type Accepted, type Behavior, refuse } from "../../actor/Behavior.ts"
import { type CatchUpPlan, planCatchUp } from "./CatchUp.ts"
import { nextTick, parseKnown } from "./CronTime.ts"
import { ScheduleNotFound } from "./ScheduleErrors.ts"
import {
  RefusalReason,
  scheduleChanges,
  type ScheduleEvent,
  scheduleEventTypes,
  scheduleFields,
} from "./ScheduleEvents.ts"

const Tick = Schema.Struct({ at: Schema.Int, job_id: Schema.String })

export const ScheduleState = Schema.Struct({
  status: Schema.Literals(["absent", "active", "paused", "deleted"]),
  ...scheduleFields,
  /** The first tick that has not been decided about, in milliseconds since 1970; null: there is none any more. */
  nextTickAt: Schema.NullOr(Schema.Int),
  lastTick: Schema.optionalKey(Schema.Struct({ ...Tick.fields, refused: Schema.optionalKey(RefusalReason) })),
  /** Missed ticks up to here get a job each. */
  missedThrough: Schema.optionalKey(Schema.Int),
  createdAt: Schema.Int,
  updatedAt: Schema.Int,
})
export type ScheduleState = typeof ScheduleState.Type

const commands = [
  Rpc.make("Create", { payload: scheduleFields, success: ScheduleState }),
  Rpc.make("Update", { payload: scheduleChanges, success: ScheduleState, error: ScheduleNotFound }),
  Rpc.make("Pause", { success: ScheduleState, error: ScheduleNotFound }),
  Rpc.make("Resume", { success: ScheduleState, error: ScheduleNotFound }),
  /** Decides about the tick that is due, if one is; `job_id` becomes its job's. */
  Rpc.make("Tick", {
    payload: { job_id: Schema.String },
    success: Schema.Struct({ ticked: Schema.Boolean, state: ScheduleState }),
    error: ScheduleNotFound,
  }),
  /** The job of the last tick cannot be submitted, now or later. */
  Rpc.make("RefuseJob", {
    payload: { job_id: Schema.String, reason: RefusalReason },
    success: ScheduleState,
    error: ScheduleNotFound,
  }),
  Rpc.make("Delete", { success: ScheduleState, error: ScheduleNotFound }),
  Rpc.make("Get", { success: ScheduleState, error: ScheduleNotFound }),
] as const

type ScheduleCommands = (typeof commands)[number]

const absent: ScheduleState = {
  status: "absent",
  name: "",
  cron: "",
  time_zone: "",
  job: { type: "", payload: null },
  catch_up: "latest",
  nextTickAt: null,
  createdAt: 0,
  updatedAt: 0,
}

const itself = (state: ScheduleState) => state

const live = <Answer>(
  state: ScheduleState,
  id: string,
  decide: () => Accepted<ScheduleState, ScheduleEvent, Answer>,
) => {
  const isThere = state.status === "active" || state.status === "paused"
  return isThere ? decide() : refuse(new ScheduleNotFound({ id }))
}

/** The first tick after now that is also after every tick that was decided about. */
const firstTick = (
  state: ScheduleState,
  { cron, time_zone }: Pick<ScheduleState, "cron" | "time_zone">,
  now: number,
): number | null => nextTick(parseKnown(cron, time_zone), Math.max(now, state.lastTick?.at ?? now))

const planOf = (state: ScheduleState, due: number, now: number): CatchUpPlan =>
  planCatchUp({
    cron: parseKnown(state.cron, state.time_zone),
    policy: state.catch_up,
    due,
    now,
    missedThrough: state.missedThrough,
  })

const eventsOf = (state: ScheduleState, plan: CatchUpPlan, jobId: string): ReadonlyArray<ScheduleEvent> => {
  const { missedThrough, next, skippedFrom, tick } = plan
  const events: Array<ScheduleEvent> = []
  if (skippedFrom !== undefined) {
    events.push({
      _tag: "ScheduleTicksSkipped",
      from: skippedFrom,
      catch_up: state.catch_up,
      next_tick_at: tick ?? next,
    })
  }
  if (tick !== undefined) {
    events.push({
      _tag: "ScheduleTicked",
      tick_at: tick,
      job_id: jobId,
      next_tick_at: next,
      ...(missedThrough === undefined ? {} : { missed_through: missedThrough }),
    })
  }
  return events
}

export const ScheduleBehavior: Behavior<ScheduleState, ScheduleEvent, ScheduleCommands> = {
  initial: absent,
  decide: {
    Create: (state, schedule, { now }) =>
      // Ids are made for one schedule each; the same creation again is the same schedule.
      state.status === "absent"
        ? accept(
            [{ _tag: "ScheduleCreated", ...schedule, next_tick_at: firstTick(state, schedule, now) }],
            itself,
          )
        : accept([], itself),
    Update: (state, changes, { id, now }) =>
      live(state, id, () => {
        if (Object.keys(changes).length === 0) return accept([], itself)
        const { cron = state.cron, time_zone = state.time_zone } = changes
        // Other ticks: those that the old ones missed are no longer of interest.
        const isRetimed = cron !== state.cron || time_zone !== state.time_zone
        const next_tick_at = isRetimed ? firstTick(state, { cron, time_zone }, now) : state.nextTickAt
        return accept([{ _tag: "ScheduleUpdated", ...changes, next_tick_at }], itself)
      }),
    Pause: (state, _payload, { id }) =>
      live(state, id, () => accept(state.status === "paused" ? [] : [{ _tag: "SchedulePaused" }], itself)),
    Resume: (state, _payload, { id, now }) =>
      live(state, id, () => {
        if (state.status === "active") return accept([], itself)
        const { nextTickAt } = state
        const isMissed = state.catch_up === "skip" && nextTickAt !== null && nextTickAt <= now
        const resumed: ScheduleEvent = {
          _tag: "ScheduleResumed",
          next_tick_at: isMissed ? firstTick(state, state, now) : nextTickAt,
        }
        if (!isMissed) return accept([resumed], itself)
        const { next_tick_at } = resumed
        return accept(
          [{ _tag: "ScheduleTicksSkipped", from: nextTickAt, catch_up: "skip", next_tick_at }, resumed],
          itself,
        )
      }),
    Tick: (state, { job_id }, { id, now }) =>
      live(state, id, () => {
        const { nextTickAt, status } = state
        const isDue = status === "active" && nextTickAt !== null && nextTickAt <= now
        if (!isDue) return accept([], (state) => ({ ticked: false, state }))
        const plan = planOf(state, nextTickAt, now)
        return accept(eventsOf(state, plan, job_id), (state) => ({ ticked: plan.tick !== undefined, state }))
      }),
    RefuseJob: (state, { job_id, reason }, { id }) =>
      live(state, id, () => {
        const { lastTick } = state
        if (lastTick?.job_id !== job_id || lastTick.refused !== undefined) return accept([], itself)
        return accept([{ _tag: "ScheduleJobRefused", tick_at: lastTick.at, job_id, reason }], itself)
      }),
    Delete: (state, _payload, { id }) => live(state, id, () => accept([{ _tag: "ScheduleDeleted" }], itself)),
    Get: (state, _payload, { id }) => live(state, id, () => accept([], itself)),
  },
  evolve: (state, event, at) => {
    switch (event._tag) {
      case "ScheduleCreated": {
        const { _tag, next_tick_at, ...schedule } = event
        return { ...schedule, status: "active", nextTickAt: next_tick_at, createdAt: at, updatedAt: at }
      }
      case "ScheduleUpdated": {
        const { _tag, next_tick_at, ...changes } = event
        const { missedThrough: _, ...rest } = state
        return { ...rest, ...changes, nextTickAt: next_tick_at, updatedAt: at }
      }
      case "SchedulePaused":
        return { ...state, status: "paused", updatedAt: at }
      case "ScheduleResumed":
        return { ...state, status: "active", nextTickAt: event.next_tick_at, updatedAt: at }
      case "ScheduleTicked": {
        const { missedThrough: _, ...rest } = state
        const { job_id, missed_through, next_tick_at, tick_at } = event
        return {
          ...rest,
          lastTick: { at: tick_at, job_id },
          nextTickAt: next_tick_at,
          ...(missed_through === undefined ? {} : { missedThrough: missed_through }),
        }
      }
      case "ScheduleTicksSkipped":
        return { ...state, nextTickAt: event.next_tick_at }
      case "ScheduleJobRefused":
        return { ...state, lastTick: { at: event.tick_at, job_id: event.job_id, refused: event.reason } }
      case "ScheduleDeleted":
        return { ...state, status: "deleted", nextTickAt: null }
    }
  },
}

/** The actor; its ids are `sched_…`. */
export const Schedule = Actor.make("schedule", {
  state: ScheduleState,
  events: scheduleEventTypes,
  commands,
})

export const ScheduleLive = Schedule.toLayer(ScheduleBehavior)
