/**
 * The journal in one SQLite file: a single writer with group commit and inline projections, and point reads on a
 * read-only connection. Rows are immutable; the tables refuse UPDATE and DELETE.
 */
import { Effect, Layer, Stream } from "effect"
import type { SQLInputValue } from "node:sqlite"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { EventCatalog, type EventType } from "./DomainEvent.ts"
import { fromRow, SELECT_ALL, SELECT_STREAM } from "./EventRows.ts"
import { GroupCommit } from "./GroupCommit.ts"
import type { InlineProjection } from "./InlineProjection.ts"
import { Journal, JournalError, type RecordedEvent, StoreFailed } from "./Journal.ts"
import { Wakeups } from "./Wakeups.ts"

/** Events a subscription reads at a time. */
const SUBSCRIPTION_PAGE = 256
/** SQLite reads a negative LIMIT as none. */
const NO_LIMIT = -1

/**
 * A journal over the `events` table of the `SqliteClient`'s database. `events` lists every type that may be stored,
 * `projections` run inside each append in the order given.
 */
export const layer = (options: {
  readonly events: ReadonlyArray<EventType>
  readonly projections: ReadonlyArray<InlineProjection>
}): Layer.Layer<Journal, never, SqliteClient> =>
  Layer.effect(
    Journal,
    Effect.gen(function* () {
      const { writer, reader, writeLock } = yield* SqliteClient
      const catalog = new EventCatalog(options.events)
      const wakeups = new Wakeups()
      const commits = new GroupCommit({
        db: writer,
        writeLock,
        catalog,
        projections: options.projections,
        onCommit: (events) => wakeups.notify(events),
      })
      yield* Effect.addFinalizer(() => commits.close)

      const select = (sql: string, ...parameters: ReadonlyArray<SQLInputValue>) =>
        Effect.try({
          try: () =>
            reader
              .prepare(sql)
              .all(...parameters)
              .map((row) => fromRow(catalog, row)),
          catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
        })

      const readStream: Journal["Service"]["readStream"] = (stream, range) =>
        select(SELECT_STREAM, stream, range?.afterVersion ?? 0, range?.limit ?? NO_LIMIT)

      const readAll: Journal["Service"]["readAll"] = ({ afterPosition, limit }) =>
        select(SELECT_ALL, afterPosition, limit)

      /** Reads pages after a moving cursor, and waits for a commit whenever it has caught up. */
      const follow = (
        stream: string | undefined,
        start: number,
        read: (after: number) => Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError>,
        cursorOf: (event: RecordedEvent) => number,
      ) =>
        Stream.unwrap(
          Effect.map(wakeups.register(stream), (latch) => {
            let after = start
            const next: Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError> = Effect.suspend(() => {
              latch.closeUnsafe()
              return Effect.flatMap(read(after), (page) => {
                if (page.length === 0) return Effect.andThen(latch.await, next)
                after = cursorOf(page.at(-1)!)
                return Effect.succeed(page)
              })
            })
            return Stream.flattenIterable(Stream.fromEffectRepeat(next))
          }),
        )

      return Journal.of({
        append: (appends, recordedAt) => commits.append(appends, recordedAt),
        readStream,
        readAll,
        subscribe: ({ afterPosition }) =>
          follow(
            undefined,
            afterPosition,
            (after) => readAll({ afterPosition: after, limit: SUBSCRIPTION_PAGE }),
            (event) => event.position,
          ),
        subscribeStream: (stream, range) =>
          follow(
            stream,
            range?.afterVersion ?? 0,
            (after) => readStream(stream, { afterVersion: after, limit: SUBSCRIPTION_PAGE }),
            (event) => event.version,
          ),
        head: Effect.sync(() => commits.head),
      })
    }),
  )
