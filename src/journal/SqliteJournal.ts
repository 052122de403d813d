/**
 * The journal in one SQLite file: a single writer with group commit and inline projections, and point reads on a
 * read-only connection. Rows are immutable: the tables refuse UPDATE, and any DELETE but that of whole streams which the
 * archive beside it has taken in. A stream that is not here is looked for there.
 */
import { Context, Effect, Layer, Stream } from "effect"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { IN_MEMORY } from "../sqlite/SqliteDatabase.ts"
import * as DatabaseReport from "../telemetry/DatabaseReport.ts"
import { CurrentObserver } from "../telemetry/Observer.ts"
import { Archive } from "./Archive.ts"
import { ArchiveError } from "./ArchiveError.ts"
import { JournalArchive, makeArchiving } from "./Archiving.ts"
import { EventCatalog, type EventType } from "./DomainEvent.ts"
import { fromRow, SELECT_ALL } from "./EventRows.ts"
import { GroupCommit } from "./GroupCommit.ts"
import type { InlineProjection } from "./InlineProjection.ts"
import { Journal, JournalError, type RecordedEvent, StoreFailed } from "./Journal.ts"
import { StreamReader } from "./StreamReader.ts"
import { Wakeups } from "./Wakeups.ts"

/** Events a subscription reads at a time. */
const SUBSCRIPTION_PAGE = 256

/** Where the archive of a database is, unless something says otherwise. */
export const archiveBeside = (database: string): string =>
  database === IN_MEMORY ? IN_MEMORY : `${database}.archive`

/**
 * A journal over the `events` table of the `SqliteClient`'s database. `events` lists every type that may be stored,
 * `projections` run inside each append in the order given, `archive` is the file that streams may leave for (default:
 * {@link archiveBeside} the database).
 */
export const layer = (options: {
  readonly events: ReadonlyArray<EventType>
  readonly projections: ReadonlyArray<InlineProjection>
  readonly archive?: string | undefined
}): Layer.Layer<Journal | JournalArchive, never, SqliteClient> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const client = yield* SqliteClient
      const { filename, writer, reader, writeLock } = client
      const catalog = new EventCatalog(options.events)
      const archive = yield* Effect.acquireRelease(
        Effect.sync(() => new Archive(options.archive ?? archiveBeside(filename))),
        (archive) => Effect.sync(() => archive.close()),
      )
      const observer = yield* CurrentObserver
      const wakeups = new Wakeups()
      const listeners = new Set<(events: ReadonlyArray<RecordedEvent>) => void>()
      const commits = new GroupCommit({
        db: writer,
        writeLock,
        catalog,
        projections: options.projections,
        archive,
        observer,
        onCommit: (events) => {
          for (const listener of listeners) listener(events)
          wakeups.notify(events)
        },
      })
      yield* Effect.addFinalizer(() => commits.close)

      const streams = new StreamReader({ journal: reader, archive, catalog })
      const read = <A>(body: () => A): Effect.Effect<A, JournalError> =>
        Effect.catchEager(
          Effect.try({
            try: () => DatabaseReport.read(observer, body),
            catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
          }),
          (error) =>
            error.reason.cause instanceof ArchiveError
              ? Effect.andThen(Effect.logError(error.reason.cause.message), Effect.fail(error))
              : Effect.fail(error),
        )

      const readStream: Journal["Service"]["readStream"] = (stream, range) =>
        read(() => streams.read(stream, range))

      const readAll: Journal["Service"]["readAll"] = ({ afterPosition, limit }) =>
        read(() =>
          reader
            .prepare(SELECT_ALL)
            .all(afterPosition, limit)
            .map((row) => fromRow(catalog, row)),
        )

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

      const journal = Journal.of({
        append: (appends, recordedAt, options) => commits.append(appends, recordedAt, options?.hasGathered),
        readStream,
        isArchived: (stream) => read(() => streams.isArchived(stream)),
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
        onCommit: (listener) =>
          Effect.acquireRelease(
            Effect.sync(() => void listeners.add(listener)),
            () => Effect.sync(() => void listeners.delete(listener)),
          ),
        head: Effect.sync(() => commits.head),
      })
      return Context.make(Journal, journal).pipe(
        Context.add(JournalArchive, makeArchiving({ client, catalog, commits, archive })),
      )
    }),
  )
