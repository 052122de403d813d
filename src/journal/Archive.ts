/**
 * The archive as the journal sees it: which streams have left, and the file they went to, opened when it is first needed and
 * opened anew after any trouble, so that a file that is put back is found. The journal's own row about it (`archived`)
 * decides whether the file must be there: a missing archive is never taken for an empty one.
 */
import { existsSync } from "node:fs"
import { IN_MEMORY, type SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import type { StoredStream } from "./ArchiveBlock.ts"
import { ArchiveError, ArchiveMissing } from "./ArchiveError.ts"
import { type ArchivedBlock, ArchiveFile, type ArchiveMode, type BlockSize } from "./ArchiveFile.ts"

/** What has left the journal: the row of `archived`. */
export interface ArchivedTotals {
  readonly streams: number
  /** So many positions below the head are not in `events`. */
  readonly events: number
  readonly lastPosition: number
  /** The greatest id that left, as JavaScript orders text. */
  readonly lastStream: string
}

/** Index: the primary key; there is one row. */
const SELECT_TOTALS = "SELECT streams, events, last_position, last_stream FROM archived WHERE id = 1"
const ADD_TOTALS = `UPDATE archived SET
  streams = streams + ?, events = events + ?, last_position = max(last_position, ?), last_stream = ? WHERE id = 1`

/** What has left this journal. Throws node:sqlite's error. */
export const archivedTotals = (journal: SqliteDatabase): ArchivedTotals => {
  const row = journal.prepare(SELECT_TOTALS).get()!
  return {
    streams: row["streams"] as number,
    events: row["events"] as number,
    lastPosition: row["last_position"] as number,
    lastStream: row["last_stream"] as string,
  }
}

/** Writes down that these streams leave, within the transaction that takes them out. Answers the totals from then on. */
export const countArchived = (
  journal: SqliteDatabase,
  streams: ReadonlyArray<StoredStream>,
): ArchivedTotals => {
  const before = archivedTotals(journal)
  let { lastStream } = before
  let events = 0
  let lastPosition = 0
  for (const stored of streams) {
    events += stored.events.length
    lastPosition = Math.max(lastPosition, stored.events.at(-1)!.position)
    if (stored.stream > lastStream) lastStream = stored.stream
  }
  journal.prepare(ADD_TOTALS).run(streams.length, events, lastPosition, lastStream)
  return archivedTotals(journal)
}

/**
 * Whether a stream can be among those that left. Ids are ordered by their time, so for one that was just made this is a
 * comparison and no look-up: enqueueing costs the same with an archive as without.
 */
export const mayHaveLeft = ({ lastStream, streams }: ArchivedTotals, stream: string): boolean =>
  streams > 0 && stream <= lastStream

/** Every method throws {@link ArchiveError} and nothing else. */
export class Archive {
  readonly filename: string
  readonly #readOnly: boolean
  #file: ArchiveFile | undefined

  constructor(filename: string, options: { readonly readOnly?: boolean } = {}) {
    this.filename = filename
    this.#readOnly = options.readOnly ?? false
  }

  /** Whether the file has a stream. One that the journal has as well has not left: its move was not finished. */
  has(totals: ArchivedTotals, stream: string): boolean {
    return mayHaveLeft(totals, stream) && this.#use(totals, (file) => file.has(stream))
  }

  /** A stream that the journal does not have; undefined when it never was. */
  read(totals: ArchivedTotals, stream: string): StoredStream | undefined {
    return mayHaveLeft(totals, stream) ? this.readCopy(totals, stream) : undefined
  }

  /** The file's copy of a stream, whether or not the stream has left the journal. */
  readCopy(totals: ArchivedTotals, stream: string): StoredStream | undefined {
    return this.#use(totals, (file) => file.read(stream))
  }

  /** The first block behind another one (0: the first of all), with the streams whose place is in it. */
  blockAfter(totals: ArchivedTotals, after: number): ArchivedBlock | undefined {
    return this.#use(totals, (file) => file.blockAfter(after))
  }

  /** Writes a block of these streams; it is on the disk when this returns. */
  add(totals: ArchivedTotals, streams: ReadonlyArray<StoredStream>, at: number): BlockSize {
    return this.#use(totals, (file) => file.add(streams, at), "create")
  }

  /** Makes the file alone the archive, without a write-ahead log beside it. */
  checkpoint(): void {
    if (this.#file !== undefined) this.#use(undefined, (file) => file.checkpoint())
  }

  close(): void {
    this.#file?.close()
    this.#file = undefined
  }

  #use<A>(
    totals: ArchivedTotals | undefined,
    body: (file: ArchiveFile) => A,
    mode: ArchiveMode = this.#readOnly ? "read" : "write",
  ): A {
    this.#file ??= this.#open(totals, mode)
    try {
      return body(this.#file)
    } catch (cause) {
      // One in memory is gone when it is closed.
      if (this.filename !== IN_MEMORY) this.close()
      throw cause
    }
  }

  #open(totals: ArchivedTotals | undefined, mode: ArchiveMode): ArchiveFile {
    const streams = totals?.streams ?? 0
    if (streams > 0 && !existsSync(this.filename))
      throw new ArchiveError({ filename: this.filename, reason: new ArchiveMissing({ streams }) })
    return ArchiveFile.open(this.filename, mode)
  }
}
