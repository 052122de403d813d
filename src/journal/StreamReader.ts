/**
 * Reads one stream wherever it is: from the journal, or from the archive when the journal has none of it. It needs two files
 * and no running system, so tools can use it beside a server.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { type Archive, archivedTotals } from "./Archive.ts"
import type { EventCatalog } from "./DomainEvent.ts"
import { type EventRow, fromRow, SELECT_STREAM, SELECT_VERSION } from "./EventRows.ts"
import type { RecordedEvent } from "./Journal.ts"

/** SQLite reads a negative LIMIT as none. */
const NO_LIMIT = -1

/** Which events of a stream: those after a version (default 0), so many of them at most (default all). */
export interface StreamRange {
  readonly afterVersion?: number | undefined
  readonly limit?: number | undefined
}

/** Its methods throw what node:sqlite throws, `UnreadableEvent`, and `ArchiveError`. */
export class StreamReader {
  readonly #journal: SqliteDatabase
  readonly #archive: Archive
  readonly #catalog: EventCatalog

  constructor(options: {
    readonly journal: SqliteDatabase
    readonly archive: Archive
    readonly catalog: EventCatalog
  }) {
    this.#journal = options.journal
    this.#archive = options.archive
    this.#catalog = options.catalog
  }

  /** The events of a stream, oldest first. */
  read(stream: string, range: StreamRange = {}): ReadonlyArray<RecordedEvent> {
    const { afterVersion = 0, limit } = range
    const rows: ReadonlyArray<Record<string, EventRow[keyof EventRow]>> = this.#journal
      .prepare(SELECT_STREAM)
      .all(stream, afterVersion, limit ?? NO_LIMIT) as Array<EventRow>
    if (rows.length > 0) return rows.map((row) => fromRow(this.#catalog, row))
    const archived = this.#archived(stream)
    return archived
      .slice(afterVersion, limit === undefined ? undefined : afterVersion + Math.max(0, limit))
      .map((row) => fromRow(this.#catalog, row))
  }

  /** Whether a stream has left the journal for the archive. */
  isArchived(stream: string): boolean {
    return !this.#isHere(stream) && this.#archive.has(archivedTotals(this.#journal), stream)
  }

  /**
   * The rows of a stream that the journal does not have. The journal is asked first and the archive after it: what was
   * moved in between is there by then.
   */
  #archived(stream: string): ReadonlyArray<EventRow> {
    if (this.#isHere(stream)) return []
    return this.#archive.read(archivedTotals(this.#journal), stream)?.events ?? []
  }

  #isHere(stream: string): boolean {
    return this.#journal.prepare(SELECT_VERSION).get(stream)!["version"] !== 0
  }
}
