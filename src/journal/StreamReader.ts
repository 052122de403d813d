/**
 * Reads one stream wherever it is: from the journal, or from the archive when the journal has none of it. It needs two files
 * and no running system, so tools can use it beside a server.
 */
import { Effect } from "effect"
import { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { Archive, archivedTotals } from "./Archive.ts"
import { EventCatalog, type EventType } from "./DomainEvent.ts"
import { type EventRow, fromRow, SELECT_STREAM, SELECT_VERSION } from "./EventRows.ts"
import { JournalError, type RecordedEvent, StoreFailed } from "./Journal.ts"

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

/** Where a journal is, for tools that only read. */
export interface JournalFiles {
  /** The journal's database file, with every migration applied. */
  readonly database: string
  /** The archive's file; it need not exist while nothing was archived. */
  readonly archive: string
  readonly events: ReadonlyArray<EventType>
}

/** The whole stream from the files, beside a running server or without one. Empty when it never was. */
export const readStreamOf = (
  files: JournalFiles,
  stream: string,
): Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError> =>
  Effect.try({
    try: () => {
      using journal = SqliteDatabase.open({ filename: files.database, readOnly: true })
      const archive = new Archive(files.archive, { readOnly: true })
      try {
        return new StreamReader({ journal, archive, catalog: new EventCatalog(files.events) }).read(stream)
      } finally {
        archive.close()
      }
    },
    catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }),
  })
