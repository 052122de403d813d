/**
 * What becomes of ticks that were missed while the process was down, the schedule paused, or the clock stepping forward.
 * Pure: given the first tick that is due and the moment, the tick that gets a job now, those that get none, and what
 * comes next.
 */
import { type Cron, Schema } from "effect"
import { firstOfLast, lastTick, nextTick } from "./CronTime.ts"

/**
 * `skip`: missed ticks get no job. `latest`: the newest of them gets one. `all`: each gets one, up to
 * {@link CATCH_UP_MAX}; older ones are left out.
 */
export const CatchUp = Schema.Literals(["skip", "latest", "all"])
export type CatchUp = typeof CatchUp.Type

/** Missed ticks that get a job at once; a schedule of every minute has missed as many in 17 hours. */
export const CATCH_UP_MAX = 1_000
/** A tick that is handled within this time counts as on time: a restart or a busy moment misses nothing. */
export const ON_TIME_MS = 10_000

export interface CatchUpPlan {
  /** The tick that gets a job; absent when none does. */
  readonly tick: number | undefined
  /** The first tick that gets none; those up to the one that does get none either. */
  readonly skippedFrom: number | undefined
  /** The first tick that is still to be looked at. */
  readonly next: number | null
  /** Ticks up to here have been counted and each gets a job. */
  readonly missedThrough: number | undefined
}

/** The next step of a schedule whose tick `due` is not after `now`. `missedThrough`: as the last plan said. */
export const planCatchUp = (options: {
  readonly cron: Cron.Cron
  readonly policy: CatchUp
  readonly due: number
  readonly now: number
  readonly missedThrough: number | undefined
}): CatchUpPlan => {
  const { cron, due, missedThrough, now, policy } = options
  const next = nextTick(cron, due)
  const tick = (at: number, through?: number): CatchUpPlan => ({
    tick: at,
    skippedFrom: at === due ? undefined : due,
    next: at === due ? next : nextTick(cron, at),
    missedThrough: through,
  })
  const isLast = next === null || next > now
  if (policy === "all") {
    if (isLast) return tick(due)
    if (missedThrough !== undefined && due <= missedThrough) return tick(due, missedThrough)
    return tick(firstOfLast(cron, due, now, CATCH_UP_MAX), lastTick(cron, due, now))
  }
  const last = isLast ? due : lastTick(cron, due, now)
  if (policy === "latest" || now - last <= ON_TIME_MS) return tick(last)
  return { tick: undefined, skippedFrom: due, next: nextTick(cron, now), missedThrough: undefined }
}
