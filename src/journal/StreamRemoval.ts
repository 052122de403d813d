/**
 * The one way for events to leave the journal: whole streams, with all that projections made of them, in one transaction
 * that gives itself the permits which the table's trigger asks for. Whoever calls this has seen them in the archive.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { countArchived } from "./Archive.ts"
import { takenByAll } from "./Checkpoints.ts"
import type { StoredStream } from "./ArchiveBlock.ts"
import type { EventCatalog } from "./DomainEvent.ts"
import { fromRow } from "./EventRows.ts"
import type { InlineProjection } from "./InlineProjection.ts"

/**
 * Those of a JSON object `{stream: events}` that have exactly so many. Index: UNIQUE (stream, version), two seeks each.
 */
export const SELECT_UNCHANGED = `SELECT key AS stream FROM json_each(?)
  WHERE EXISTS (SELECT 1 FROM events WHERE stream = key AND version = atom)
    AND NOT EXISTS (SELECT 1 FROM events WHERE stream = key AND version > atom)`
const PERMIT = "INSERT INTO archiving (stream) SELECT atom FROM json_each(?)"
/** Index: UNIQUE (stream, version); the trigger looks up the permit of each row. */
export const DELETE_STREAMS = `DELETE FROM events
  WHERE position IN (SELECT e.position FROM json_each(?) wanted CROSS JOIN events e ON e.stream = wanted.atom)`
const END_PERMITS = "DELETE FROM archiving"

/**
 * Removes these streams, but for those that have other events by now, that a projection retains, or that an async one has yet
 * to take. Throws node:sqlite's error and `UnreadableEvent`.
 */
export const removeStreams = (
  db: SqliteDatabase,
  catalog: EventCatalog,
  projections: ReadonlyArray<InlineProjection>,
  streams: ReadonlyArray<StoredStream>,
): ReadonlyArray<StoredStream> =>
  db.transaction(() => {
    const versions = Object.fromEntries(streams.map(({ events, stream }) => [stream, events.length]))
    const unchanged = new Set(
      db
        .prepare(SELECT_UNCHANGED)
        .all(JSON.stringify(versions))
        .map((row) => row["stream"]),
    )
    const eventsOf = (some: ReadonlyArray<StoredStream>) =>
      some.flatMap((stored) => stored.events.map((row) => fromRow(catalog, row)))
    const taken = takenByAll(db)
    const candidates = streams.filter(
      ({ events, stream }) => unchanged.has(stream) && events.at(-1)!.position <= taken,
    )
    const all = eventsOf(candidates)
    const retained = new Set(projections.flatMap((projection) => [...(projection.retained?.(db, all) ?? [])]))
    const leaving = candidates.filter(({ stream }) => !retained.has(stream))
    if (leaving.length === 0) return leaving
    const events = retained.size === 0 ? all : eventsOf(leaving)
    for (const projection of projections) projection.remove?.(db, events)
    const names = JSON.stringify(leaving.map(({ stream }) => stream))
    db.prepare(PERMIT).run(names)
    const { changes } = db.prepare(DELETE_STREAMS).run(names)
    db.prepare(END_PERMITS).run()
    if (changes !== events.length)
      throw new Error(`${changes} events would leave instead of ${events.length}`)
    countArchived(db, leaving)
    return leaving
  })
