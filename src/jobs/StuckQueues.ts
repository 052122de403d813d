/**
 * Queues that do not move although they should: jobs are due, and for a while no attempt has begun, told of anything or ended. Either
 * nobody works there, or whoever does is stuck.
 */
import type { QueueActivity } from "./QueueActor.ts"
import type { QueueLevel } from "./QueueStats.ts"

/** How long jobs must be due. Where no attempt is under way, nothing else is to be waited for. */
export const STUCK_AFTER_MS = 60_000
/** How long attempts under way may be silent meanwhile: some have nothing to tell before they end. */
export const SILENT_AFTER_MS = 120_000

export interface StuckQueue {
  readonly name: string
  /** Milliseconds for which the oldest ready job has been due. */
  readonly dueMs: number
  /** Attempts under way. */
  readonly running: number
}

/** Those that are paused, or held back by a rate, wait because somebody wanted it. */
export const stuckQueues = (
  levels: ReadonlyArray<QueueLevel>,
  activities: ReadonlyMap<string, QueueActivity>,
): ReadonlyArray<StuckQueue> => {
  const stuck: Array<StuckQueue> = []
  for (const { name, oldestPendingMs: dueMs } of levels) {
    if (dueMs === null || dueMs < STUCK_AFTER_MS) continue
    const activity = activities.get(name)
    const running = activity?.running.values().reduce((sum, attempts) => sum + attempts, 0) ?? 0
    if (activity === undefined || isStuck(activity, running)) stuck.push({ name, dueMs, running })
  }
  return stuck
}

const isStuck = ({ quietMs, settings: { limits, paused } }: QueueActivity, running: number): boolean =>
  !paused && limits.rate_limit === null && quietMs >= (running === 0 ? STUCK_AFTER_MS : SILENT_AFTER_MS)
