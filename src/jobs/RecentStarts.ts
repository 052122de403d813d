/**
 * When a queue has started attempts lately, according to the journal: so that a rate limit also holds for a process that has
 * just begun. It reads the journal backwards, in pages, and lets others have their turn in between.
 */
import { Effect } from "effect"
import type { Journal, JournalError, RecordedEvent } from "../journal/Journal.ts"
import { isJobEvent } from "./JobEvents.ts"
import type { RateLimit } from "./QueueBehavior.ts"

/** Events that are read at a time. */
const PAGE = 1_000

/** The moments of the starts that still count at `now`, oldest first: no more of them than the limit has. */
export const recentStarts = Effect.fnUntraced(function* (
  journal: Journal["Service"],
  queue: string,
  limit: RateLimit,
  now: number,
) {
  const starts: Array<number> = []
  const queues = new Map<string, string | undefined>()
  const queueOf = (id: string): Effect.Effect<string | undefined, JournalError> => {
    if (queues.has(id)) return Effect.succeed(queues.get(id))
    return Effect.map(journal.readStream(id, { limit: 1 }), ([first]) => {
      const name = first?.event._tag === "JobEnqueued" ? (first.event as { queue?: string }).queue : undefined
      queues.set(id, name)
      return name
    })
  }
  const isRecent = ({ recordedAt }: RecordedEvent) => now - recordedAt < limit.per_ms
  let before: number = (yield* journal.head) + 1
  while (before > 1 && starts.length < limit.starts) {
    const afterPosition = Math.max(0, before - 1 - PAGE)
    // Where positions are missing, the page reaches into the one before.
    const page = (yield* journal.readAll({ afterPosition, limit: PAGE })).filter(
      ({ position }) => position < before,
    )
    for (const recorded of page.toReversed()) {
      const { event, recordedAt, stream } = recorded
      if (!isJobEvent(event) || event._tag !== "JobStarted" || !isRecent(recorded)) continue
      if ((yield* queueOf(stream)) === queue) starts.push(recordedAt)
    }
    // Older pages hold older events, but for a clock that was set back in between.
    if (page.length > 0 && !page.some(isRecent)) break
    before = afterPosition + 1
    yield* Effect.yieldNow
  }
  return starts.slice(0, limit.starts).toReversed()
})
