/**
 * Moving whole streams from the journal to the archive. First they are written to the archive and are durable there; then
 * they are read back, compared with the journal, and only what is equal leaves it. A crash in between leaves a stream in
 * both: the journal's is the one that counts, and the next move finishes it.
 */
import { Clock, Context, Effect } from "effect"
import type { SqliteClient } from "../sqlite/SqliteClient.ts"
import { type Archive, archivedTotals, type ArchivedTotals } from "./Archive.ts"
import { BLOCK_BYTES, type StoredStream } from "./ArchiveBlock.ts"
import { ArchiveCorrupt, ArchiveError, toArchiveError } from "./ArchiveError.ts"
import { takenByAll } from "./Checkpoints.ts"
import type { EventCatalog } from "./DomainEvent.ts"
import { EVENT_COLUMNS, type EventRow, fromRow, SELECT_STREAM } from "./EventRows.ts"
import type { GroupCommit } from "./GroupCommit.ts"
import { HistoryReader } from "./HistoryReader.ts"
import { JournalError, StoreFailed } from "./Journal.ts"
import { letOthersRun } from "../sqlite/EventLoop.ts"

/**
 * Streams and events that leave in one transaction, unless one stream has more: appends wait for it (measured: 64 jobs of
 * three events take about 1 ms, the commit included).
 */
const REMOVED_TOGETHER_STREAMS = 64
const REMOVED_TOGETHER_EVENTS = 512
/** Streams read between two turns of the event loop. */
const READ_TOGETHER = 32
const ALL_EVENTS = -1
/** What `PRAGMA auto_vacuum` answers for INCREMENTAL. */
const INCREMENTAL_VACUUM = 2
/** Pages that go back to the file system at a time. */
const PAGES_FREED_TOGETHER = 64
/** Of an event's line beside its data and metadata. */
const ROW_CHARACTERS = 60

/** A stream that may leave, as it was when that was decided. */
export interface Leaving {
  readonly stream: string
  /** Its last version then: one that was written to since stays. */
  readonly version: number
}

/** What a move has done. */
export interface Moved {
  readonly streams: number
  readonly events: number
  /** Of the streams' rows as JSON, and of the blocks that they became. */
  readonly bytes: number
  readonly compressedBytes: number
  /**
   * Streams that stayed, since they were written to meanwhile, others refer to them, or an async projection has yet to read
   * them.
   */
  readonly stayed: number
  /** Streams that stayed, since this release cannot read one of their events. */
  readonly unreadable: number
  readonly firstUnreadable: string | undefined
}

export const NOTHING_MOVED: Moved = {
  streams: 0,
  events: 0,
  bytes: 0,
  compressedBytes: 0,
  stayed: 0,
  unreadable: 0,
  firstUnreadable: undefined,
}

/** Both moves together. */
export const addMoved = (a: Moved, b: Moved): Moved => ({
  streams: a.streams + b.streams,
  events: a.events + b.events,
  bytes: a.bytes + b.bytes,
  compressedBytes: a.compressedBytes + b.compressedBytes,
  stayed: a.stayed + b.stayed,
  unreadable: a.unreadable + b.unreadable,
  firstUnreadable: a.firstUnreadable ?? b.firstUnreadable,
})

/** The archive of the running journal. */
export class JournalArchive extends Context.Service<
  JournalArchive,
  {
    readonly filename: string
    /**
     * Moves these streams, in blocks of {@link BLOCK_BYTES} and with turns for everybody else in between. Whose they are
     * and whether they may go is the caller's business. It may be repeated: what has left already is passed over.
     */
    readonly move: (streams: ReadonlyArray<Leaving>) => Effect.Effect<Moved, ArchiveError | JournalError>
    /** What has left the journal so far. */
    readonly totals: Effect.Effect<ArchivedTotals, JournalError>
    /** Reads events of these types from the archive and the journal, for whoever makes rows of them. */
    readonly history: (wanted: ReadonlySet<string>) => HistoryReader
  }
>()("renderowl/journal/JournalArchive") {}

export const makeArchiving = (options: {
  readonly client: Pick<SqliteClient["Service"], "reader" | "writer" | "writeLock">
  readonly catalog: EventCatalog
  readonly commits: GroupCommit
  readonly archive: Archive
}): JournalArchive["Service"] => {
  const { archive, catalog, commits } = options
  const { reader, writeLock, writer } = options.client
  const totals = readJournal(() => archivedTotals(reader))
  const use = <A>(body: (totals: ArchivedTotals) => A): Effect.Effect<A, ArchiveError | JournalError> =>
    Effect.flatMap(totals, (now) =>
      Effect.try({ try: () => body(now), catch: (cause) => toArchiveError(archive.filename, cause) }),
    )

  /** The rows of a stream; undefined when it is not in the journal. Fails where one of its events is unreadable. */
  const readStored = (stream: string): StoredStream | undefined => {
    const events = reader.prepare(SELECT_STREAM).all(stream, 0, ALL_EVENTS) as Array<EventRow>
    for (const row of events) fromRow(catalog, row)
    return events.length === 0 ? undefined : { stream, events }
  }

  /** Nothing leaves the journal that the archive does not give back as it was. */
  const requireEqual = (streams: ReadonlyArray<StoredStream>) =>
    use((now) => {
      for (const stored of streams) {
        const copy = archive.readCopy(now, stored.stream)
        if (copy !== undefined && isEqual(copy.events, stored.events)) continue
        const detail = `what was written of ${stored.stream} is not what is read`
        throw new ArchiveError({ filename: archive.filename, reason: new ArchiveCorrupt({ detail }) })
      }
    })

  const moveBlock = Effect.fnUntraced(function* (block: ReadonlyArray<StoredStream>) {
    const at = yield* Clock.currentTimeMillis
    const { bytes, compressedBytes } = yield* use((now) => archive.add(now, block, at))
    let streams = 0
    let events = 0
    for (const batch of batchesOf(block)) {
      yield* letOthersRun
      yield* requireEqual(batch)
      for (const gone of yield* commits.remove(batch)) {
        streams++
        events += gone.events.length
      }
    }
    return { ...NOTHING_MOVED, streams, events, bytes, compressedBytes, stayed: block.length - streams }
  })

  /**
   * Gives free pages back to the file system, where the database was made for that (`auto_vacuum = INCREMENTAL`). Elsewhere
   * they are used again by what comes next, and the file keeps its size.
   */
  const shrink = Effect.suspend((): Effect.Effect<void, JournalError> => {
    if (reader.prepare("PRAGMA auto_vacuum").get()?.["auto_vacuum"] !== INCREMENTAL_VACUUM) return Effect.void
    const step = writeLock.withPermit(
      readJournal(() => {
        writer.exec(`PRAGMA incremental_vacuum(${PAGES_FREED_TOGETHER})`)
        return writer.prepare("PRAGMA freelist_count").get()!["freelist_count"] === 0
      }),
    )
    return Effect.asVoid(Effect.repeat(Effect.andThen(letOthersRun, step), { until: (isDone) => isDone }))
  })

  const move = Effect.fnUntraced(function* (leaving: ReadonlyArray<Leaving>) {
    let moved = NOTHING_MOVED
    let block: Array<StoredStream> = []
    let bytes = 0
    const versions = new Map(leaving.map(({ stream, version }) => [stream, version]))
    // Looked at again when they are removed; but what cannot leave need not be written to the archive either.
    const taken = yield* readJournal(() => takenByAll(reader))
    for (const [index, [name, version]] of [...versions].entries()) {
      if (index % READ_TOGETHER === READ_TOGETHER - 1) yield* letOthersRun
      const stored = yield* Effect.result(readJournal(() => readStored(name)))
      if (stored._tag === "Failure") {
        if (!isUnreadable(stored.failure)) return yield* stored.failure
        moved = addMoved(moved, { ...NOTHING_MOVED, unreadable: 1, firstUnreadable: name })
        continue
      }
      if (stored.success === undefined) continue
      const { events } = stored.success
      if (events.length !== version || events.at(-1)!.position > taken) {
        moved = addMoved(moved, { ...NOTHING_MOVED, stayed: 1 })
        continue
      }
      block.push(stored.success)
      bytes += sizeOf(stored.success)
      if (bytes < BLOCK_BYTES) continue
      moved = addMoved(moved, yield* moveBlock(block))
      block = []
      bytes = 0
    }
    if (block.length > 0) moved = addMoved(moved, yield* moveBlock(block))
    yield* use(() => archive.checkpoint())
    yield* shrink
    return moved
  })

  return JournalArchive.of({
    filename: archive.filename,
    move,
    totals,
    history: (wanted) => new HistoryReader({ journal: reader, archive, catalog, wanted }),
  })
}

const readJournal = <A>(body: () => A): Effect.Effect<A, JournalError> =>
  Effect.try({ try: body, catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }) })

const isUnreadable = ({ reason }: JournalError): boolean =>
  reason._tag === "StoreFailed" &&
  (reason.cause as { readonly _tag?: unknown } | null)?._tag === "UnreadableEvent"

const isEqual = (a: ReadonlyArray<EventRow>, b: ReadonlyArray<EventRow>): boolean =>
  a.length === b.length && a.every((row, i) => EVENT_COLUMNS.every((column) => row[column] === b[i]![column]))

/** About as many characters as its line in a block will have. */
const sizeOf = ({ events }: StoredStream): number =>
  events.reduce(
    (size, { data, metadata }) => size + data.length + (metadata?.length ?? 0) + ROW_CHARACTERS,
    0,
  )

/** What leaves in one transaction each. */
const batchesOf = function* (streams: ReadonlyArray<StoredStream>): Iterable<ReadonlyArray<StoredStream>> {
  let batch: Array<StoredStream> = []
  let events = 0
  for (const stored of streams) {
    const isFull =
      batch.length === REMOVED_TOGETHER_STREAMS || events + stored.events.length > REMOVED_TOGETHER_EVENTS
    if (batch.length > 0 && isFull) {
      yield batch
      batch = []
      events = 0
    }
    batch.push(stored)
    events += stored.events.length
  }
  if (batch.length > 0) yield batch
}
