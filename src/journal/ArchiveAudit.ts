/**
 * Proves that journal and archive together still hold every event that was ever recorded: each block decompresses, each
 * archived stream is whole, and the positions of both are 1 to the head without gap or overlap. It only reads, and tells
 * every fault it finds instead of ending at the first.
 */
import { Effect } from "effect"
import { existsSync } from "node:fs"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../sqlite/SqliteError.ts"
import type { SqlError } from "effect/sql/SqlError"
import { archivedTotals, type ArchivedTotals } from "./Archive.ts"
import { decodeStream, placesIn, type StoredStream, unpackBlock } from "./ArchiveBlock.ts"
import { ArchiveError, ArchiveMissing, toArchiveError } from "./ArchiveError.ts"
import { ArchiveFile } from "./ArchiveFile.ts"
import { SELECT_HEAD, SELECT_VERSION } from "./EventRows.ts"
import { letOthersRun } from "../sqlite/EventLoop.ts"

/** Faults that are spelled out; all are counted. */
const FAULTS_SHOWN = 20
/** Bits. */
const BYTE = 8
/** Positions of the journal that are read at a time. */
const POSITIONS_PER_PAGE = 10_000

/** Index: the primary key of blocks. */
const SELECT_BLOCKS = "SELECT id FROM blocks ORDER BY id"
const SELECT_BLOCK = "SELECT size, data FROM blocks WHERE id = ?"
const SELECT_STREAM_ROW = "SELECT block, place, events FROM streams WHERE stream = ?"
const COUNT_STREAMS = "SELECT count(*) AS streams FROM streams"
/** Index: the primary key of events. */
const SELECT_POSITIONS = `SELECT position FROM events
  WHERE position > ? AND position <= ? ORDER BY position LIMIT ${POSITIONS_PER_PAGE}`

/** Positions, at the cost of a bit each. */
class PositionSet {
  readonly #bits: Uint8Array

  constructor(head: number) {
    this.#bits = new Uint8Array(Math.floor(head / BYTE) + 1)
  }

  add(position: number): void {
    this.#bits[Math.floor(position / BYTE)]! |= 1 << (position % BYTE)
  }

  has(position: number): boolean {
    return (this.#bits[Math.floor(position / BYTE)]! & (1 << (position % BYTE))) !== 0
  }

  /** How many of those from `first` to `last`, both included, are in it. */
  countWithin(first: number, last: number): number {
    let count = 0
    for (let position = first; position <= last; position++) if (this.has(position)) count++
    return count
  }
}

/** What was found. */
export interface ArchiveReport {
  readonly blocks: number
  /** Archived streams and their events. */
  readonly streams: number
  readonly events: number
  /** Streams of the archive that the journal has as well: moves that the next run finishes. No fault. */
  readonly unfinished: number
  /** The last position ever given, when the audit began. */
  readonly head: number
  /** The positions whose events have left the journal, for whoever finds them missing there. */
  readonly archived: Pick<PositionSet, "has" | "countWithin">
  readonly faultCount: number
  /** The first of them, in words. */
  readonly faults: ReadonlyArray<string>
}

export interface ArchiveAuditOptions {
  /** The journal's database, open for reading. */
  readonly journal: SqliteDatabase
  /** The archive's file; it need not exist while nothing was archived. */
  readonly archive: string
  /** Whether every position must be in one of the files. Default: true; whoever reads all events finds gaps itself. */
  readonly positions?: boolean | undefined
  /** Told after each block and each page of positions. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined
}

/**
 * Audits both files; memory is two bits a position and one block. Beside a running server it may report streams that move
 * at this moment. Fails where a file cannot be read at all.
 */
export const auditArchive = ({
  archive: filename,
  journal,
  onProgress = () => {},
  positions = true,
}: ArchiveAuditOptions): Effect.Effect<ArchiveReport, ArchiveError | SqlError> =>
  Effect.gen(function* () {
    const totals = yield* attempt(() => archivedTotals(journal))
    const head = yield* attempt(() => journal.prepare(SELECT_HEAD).get()!["position"] as number)
    const audit = new Audit(journal, head)
    const exists = existsSync(filename)
    if (!exists && totals.streams > 0)
      return yield* new ArchiveError({ filename, reason: new ArchiveMissing({ streams: totals.streams }) })
    if (exists) {
      const read = <A>(body: () => A) =>
        Effect.try({ try: body, catch: (cause) => toArchiveError(filename, cause) })
      const file = yield* Effect.acquireRelease(
        read(() => ArchiveFile.open(filename, "read")),
        (file) => Effect.sync(() => file.close()),
      )
      const blocks = yield* read(() => file.database.prepare(SELECT_BLOCKS).all())
      for (const [index, { id }] of blocks.entries()) {
        yield* read(() => audit.block(file.database, id as number))
        onProgress(index + 1, blocks.length)
        yield* letOthersRun
      }
      yield* read(() => audit.streams(file.database, totals))
    }
    let after = positions ? 0 : head
    while (after < head) {
      const rows = yield* attempt(() => journal.prepare(SELECT_POSITIONS).all(after, head))
      if (rows.length === 0) break
      for (const row of rows) audit.claim(row["position"] as number)
      after = rows.at(-1)!["position"] as number
      onProgress(after, head)
      yield* letOthersRun
    }
    if (positions) audit.requireAll()
    return audit.report()
  }).pipe(Effect.scoped)

const attempt = <A>(body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, "audit the archive") })

class Audit {
  readonly #journal: SqliteDatabase
  readonly #head: number
  readonly #seen: PositionSet
  readonly #archived: PositionSet
  readonly #faults: Array<string> = []
  #faultCount = 0
  #blocks = 0
  #streams = 0
  #events = 0
  #unfinished = 0

  constructor(journal: SqliteDatabase, head: number) {
    this.#journal = journal
    this.#head = head
    this.#seen = new PositionSet(head)
    this.#archived = new PositionSet(head)
  }

  block(archive: SqliteDatabase, id: number): void {
    this.#blocks++
    try {
      const row = archive.prepare(SELECT_BLOCK).get(id)!
      const text = unpackBlock(row["data"] as Uint8Array, row["size"] as number)
      for (const place of placesIn(text)) {
        const stored = decodeStream(text, place)
        const current = archive.prepare(SELECT_STREAM_ROW).get(stored.stream)
        // A copy that a later one has replaced, after a move that was not finished.
        if (current !== undefined && (current["block"] !== id || current["place"] !== place)) continue
        if (current?.["events"] === stored.events.length) this.#stream(stored)
        else
          this.#fault(
            `${stored.stream} has ${stored.events.length} events in block ${id} and is listed otherwise`,
          )
      }
    } catch (cause) {
      this.#fault(`block ${id}: ${cause instanceof Error ? cause.message : String(cause)}`)
    }
  }

  /** After all blocks: every stream that is listed was seen in one, and so was every one that left the journal. */
  streams(archive: SqliteDatabase, totals: ArchivedTotals): void {
    const listed = archive.prepare(COUNT_STREAMS).get()!["streams"] as number
    const seen = this.#streams + this.#unfinished
    if (listed !== seen) this.#fault(`${listed} streams are listed, and ${seen} are in the blocks`)
    if (totals.streams !== this.#streams || totals.events !== this.#events) {
      this.#fault(
        `${totals.events} events of ${totals.streams} streams have left the journal, and the archive has ` +
          `${this.#events} of ${this.#streams}`,
      )
    }
  }

  /** A position that an event has. */
  claim(position: number): void {
    if (position < 1 || position > this.#head)
      this.#fault(`position ${position} is beyond the head ${this.#head}`)
    else if (this.#seen.has(position)) this.#fault(`position ${position} is there twice`)
    else this.#seen.add(position)
  }

  /** After all positions were claimed: none is left. */
  requireAll(): void {
    for (let position = 1; position <= this.#head; position++)
      if (!this.#seen.has(position)) this.#fault(`position ${position} is in neither file`)
  }

  report(): ArchiveReport {
    return {
      blocks: this.#blocks,
      streams: this.#streams,
      events: this.#events,
      unfinished: this.#unfinished,
      head: this.#head,
      archived: this.#archived,
      faultCount: this.#faultCount,
      faults: this.#faults,
    }
  }

  #stream({ events, stream }: StoredStream): void {
    if (events.some(({ version }, i) => version !== i + 1))
      this.#fault(`the versions of ${stream} are not 1, 2, 3 …`)
    if ((this.#journal.prepare(SELECT_VERSION).get(stream)!["version"] as number) > 0)
      return void this.#unfinished++
    this.#streams++
    this.#events += events.length
    for (const { position } of events) {
      this.claim(position)
      this.#archived.add(position)
    }
  }

  #fault(words: string): void {
    this.#faultCount++
    if (this.#faults.length < FAULTS_SHOWN) this.#faults.push(words)
  }
}
