/**
 * What a queue may do at a time, checked on its journal event by event: paused, it starts nothing; its limits hold; no
 * attempt starts before its job is due, nor after it has expired.
 */
import type { JobEvent } from "../../src/jobs/JobEvents.ts"
import type { JobState } from "../../src/jobs/JobState.ts"
import { QueueBehavior, type QueueEvent, type QueueState } from "../../src/jobs/QueueBehavior.ts"

interface Activity {
  state: QueueState
  /** Attempts under way: of all, and of each concurrency key. */
  running: number
  readonly byKey: Map<string, number>
  /** When attempts started since the limits were last changed. */
  starts: Array<number>
}

export class QueueRules {
  readonly #queues = new Map<string, Activity>()

  #of(name: string): Activity {
    const known = this.#queues.get(name)
    if (known !== undefined) return known
    const fresh: Activity = { state: QueueBehavior.initial, running: 0, byKey: new Map(), starts: [] }
    this.#queues.set(name, fresh)
    return fresh
  }

  /** Takes in an event of the queue's own. */
  govern(name: string, event: QueueEvent, at: number): void {
    const queue = this.#of(name)
    queue.state = QueueBehavior.evolve(queue.state, event, at)
    if (event._tag === "QueueLimitsChanged") queue.starts = []
  }

  /** Takes in an event of a job; answers what is wrong with it. */
  follow(before: JobState, event: JobEvent, after: JobState, at: number): string | undefined {
    const queue = this.#of(after.queue)
    const fault = event._tag === "JobStarted" ? startFault(queue, before, at) : undefined
    if (event._tag === "JobStarted") queue.starts.push(at)
    this.#count(queue, after.concurrencyKey, isRunning(after) - isRunning(before))
    return fault
  }

  #count(queue: Activity, key: string | undefined, change: number): void {
    queue.running += change
    if (key !== undefined) queue.byKey.set(key, (queue.byKey.get(key) ?? 0) + change)
  }
}

const isRunning = ({ status }: JobState): number => (status === "processing" ? 1 : 0)

/** What forbids the start of a job. */
const startFault = (
  { byKey, running, starts, state }: Activity,
  { concurrencyKey: key, dueAt, expiresAt, queue }: JobState,
  at: number,
): string | undefined => {
  const { concurrency, key_concurrency: keyConcurrency, rate_limit: rate } = state.limits
  if (at < dueAt) return `started ${dueAt - at} ms early`
  if (expiresAt !== undefined && at >= expiresAt) return `started ${at - expiresAt} ms after it had expired`
  if (state.paused) return `started while ${queue} is paused`
  if (concurrency !== null && running >= concurrency)
    return `started as one more than ${concurrency} in ${queue}`
  if (key !== undefined && (byKey.get(key) ?? 0) >= keyConcurrency)
    return `started as one more than ${keyConcurrency} with the key ${key} in ${queue}`
  const earlier = rate === null ? undefined : starts.at(-rate.starts)
  return earlier !== undefined && at - earlier < rate!.per_ms
    ? `started as one more than ${rate!.starts} in ${rate!.per_ms} ms in ${queue}`
    : undefined
}
