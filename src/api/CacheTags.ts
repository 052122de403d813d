/**
 * What makes cached answers out of date: each event concerns the tags that are named here. The cache is told in the turn in
 * which a commit becomes visible, and before whoever wrote is answered, so nobody sees less than has been acknowledged. At
 * the start it is told of what happened since its file was written.
 */
import { Effect, Layer } from "effect"
import { BEGINNING, type Mark } from "../cache/Answer.ts"
import { TaggedCache } from "../cache/TaggedCache.ts"
import { Journal, type JournalError, type RecordedEvent } from "../journal/Journal.ts"

/** Events that are gone through at the start: after more, the cache begins empty. */
const CATCH_UP_EVENTS_MAX = 10_000

/** What depends on more than can be named: any event at all concerns it. */
export const ANY_EVENT = "*"
/** What can be rendered: no event changes it. */
export const COMPOSITIONS = "compositions"
/** Lists of projects. */
export const PROJECTS = "projects"

/** Which tags events concern: those of their streams, and of the lists that they are in. */
function* tagsOf(events: ReadonlyArray<RecordedEvent>): Iterable<string> {
  yield ANY_EVENT
  for (const { stream } of events) {
    yield stream
    if (stream.startsWith("proj_")) yield PROJECTS
  }
}

const markOf = ({ position, recordedAt, stream, version }: RecordedEvent): Mark => ({
  position,
  of: `${stream} ${version} ${recordedAt}`,
})

/** Keeps the cache true to the journal, and warms it up once it is. */
export const CacheTagsLive: Layer.Layer<never, JournalError, TaggedCache | Journal> = Layer.effectDiscard(
  Effect.gen(function* () {
    const cache = yield* TaggedCache
    const journal = yield* Journal
    const known = cache.mark()
    yield* journal.onCommit((events) => cache.invalidate(tagsOf(events), markOf(events.at(-1)!)))

    // From the marked event on, to see that it is the one: the journal may be another, or an earlier state of this one.
    const since = yield* journal.readAll({
      afterPosition: Math.max(0, known.position - 1),
      limit: CATCH_UP_EVENTS_MAX,
    })
    const [first] = since
    yield* Effect.forkScoped(cache.warmUp)
    const isSame =
      known.position === BEGINNING.position || (first !== undefined && markOf(first).of === known.of)
    if (isSame && since.length < CATCH_UP_EVENTS_MAX) {
      const missed = since.filter(({ position }) => position > known.position)
      if (missed.length > 0) cache.invalidate(tagsOf(missed), latest(cache.mark(), markOf(missed.at(-1)!)))
      return
    }
    const head = yield* journal.head
    const [last] = yield* journal.readAll({ afterPosition: Math.max(0, head - 1), limit: 1 })
    cache.clear(last === undefined ? BEGINNING : markOf(last))
  }),
)

/** A commit may have come in between. */
const latest = (a: Mark, b: Mark): Mark => (a.position > b.position ? a : b)
