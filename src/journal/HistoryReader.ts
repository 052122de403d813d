/**
 * Everything that ever happened, a portion at a time, for whoever makes rows of it: block by block what has left for the archive,
 * then the journal in the order of positions. It needs two files and no running system. Reading an event that is not
 * wanted costs its row, and not its data.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { type Archive, archivedTotals } from "./Archive.ts"
import type { EarlierEvents } from "./AsyncProjection.ts"
import type { Checkpoint } from "./Checkpoints.ts"
import type { EventCatalog } from "./DomainEvent.ts"
import {
  type EventRow,
  fromRow,
  SELECT_ALL,
  SELECT_HEAD,
  SELECT_STREAM,
  SELECT_VERSION,
} from "./EventRows.ts"
import type { RecordedEvent } from "./Journal.ts"

/** Events of the journal that are read at a time: about a third of a millisecond. */
export const PORTION_EVENTS = 128

export interface Portion {
  /** Wanted events: of each stream in order. */
  readonly events: ReadonlyArray<RecordedEvent>
  /** Streams that have left the journal and are told with this portion, whether or not anything of them is wanted. */
  readonly archivedStreams: number
  /** How far one has come with them. */
  readonly end: Checkpoint
}

/** Its methods throw what node:sqlite throws, `UnreadableEvent`, and `ArchiveError`. */
export class HistoryReader {
  readonly #journal: SqliteDatabase
  readonly #archive: Archive
  readonly #catalog: EventCatalog
  readonly #wanted: ReadonlySet<string>

  constructor(options: {
    readonly journal: SqliteDatabase
    readonly archive: Archive
    readonly catalog: EventCatalog
    /** Tags of the events to be read. */
    readonly wanted: ReadonlySet<string>
  }) {
    this.#journal = options.journal
    this.#archive = options.archive
    this.#catalog = options.catalog
    this.#wanted = options.wanted
  }

  /**
   * The portion behind a checkpoint; undefined when there is nothing more yet. With `until`, nothing more that a projection has
   * taken whose checkpoint that is: then all that has left meanwhile is among it.
   */
  next(after: Checkpoint, until?: Checkpoint): Portion | undefined {
    return (after.position === 0 ? this.#block(after, until) : undefined) ?? this.#page(after, until)
  }

  /** See {@link EarlierEvents}; only of streams that are in the journal. */
  readonly earlier: EarlierEvents = (stream, belowVersion) =>
    this.#decode(this.#journal.prepare(SELECT_STREAM).all(stream, 0, belowVersion - 1) as Array<EventRow>)

  /** Streams that the journal has as well are its own: their move was not finished. */
  #block({ archiveBlock, position }: Checkpoint, until: Checkpoint | undefined): Portion | undefined {
    const totals = archivedTotals(this.#journal)
    if (totals.streams === 0) return undefined
    const block = this.#archive.blockAfter(totals, archiveBlock)
    if (block === undefined || (until?.position === 0 && block.id > until.archiveBlock)) return undefined
    const gone = block.streams.filter(
      ({ stream }) => this.#journal.prepare(SELECT_VERSION).get(stream)!["version"] === 0,
    )
    return {
      events: gone.flatMap((stored) => this.#decode(stored.events)),
      archivedStreams: gone.length,
      end: { archiveBlock: block.id, position },
    }
  }

  #page({ archiveBlock, position }: Checkpoint, until: Checkpoint | undefined): Portion | undefined {
    const newest = this.#journal.prepare(SELECT_HEAD).get()!["position"] as number
    const head = Math.min(newest, until?.position ?? newest)
    if (head <= position) return undefined
    const rows = (this.#journal.prepare(SELECT_ALL).all(position, PORTION_EVENTS) as Array<EventRow>).filter(
      (row) => row.position <= head,
    )
    // At the head it goes on behind what has left as well.
    const end = rows.length < PORTION_EVENTS ? head : rows.at(-1)!.position
    return { events: this.#decode(rows), archivedStreams: 0, end: { archiveBlock, position: end } }
  }

  #decode(rows: ReadonlyArray<EventRow>): ReadonlyArray<RecordedEvent> {
    return rows.filter(({ type }) => this.#wanted.has(type)).map((row) => fromRow(this.#catalog, row))
  }
}
