/**
 * The archive: a SQLite file of its own that holds whole streams in compressed blocks. A stream is found by one look-up and
 * read by decompressing one block. It knows nothing of the journal; every method throws {@link ArchiveError} and nothing
 * else.
 */
import { existsSync, mkdirSync } from "node:fs"
import { dirname } from "node:path"
import { IN_MEMORY, SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import {
  decodeStream,
  encodeStream,
  packBlock,
  placesIn,
  type StoredStream,
  unpackBlock,
} from "./ArchiveBlock.ts"
import { ArchiveCorrupt, type ArchiveError, ArchiveMissing, toArchiveError } from "./ArchiveError.ts"

/** Decompressed blocks that are kept, in bytes: whoever looks at one old job often looks again. */
const CACHE_BYTES = 4 * 1024 * 1024
/** It is used on the main thread and now and then, so it waits for nobody and keeps little. */
const BUSY_TIMEOUT_MS = 250
const PAGE_CACHE_BYTES = 2 * 1024 * 1024
/** "ROAR" in `PRAGMA application_id`: tells our files from other people's. */
const APPLICATION_ID = 0x52_4f_41_52
const FORMAT = 1

const SCHEMA = `
CREATE TABLE blocks (
  id             INTEGER PRIMARY KEY,
  size           INTEGER NOT NULL,     -- bytes before compression
  streams        INTEGER NOT NULL,
  events         INTEGER NOT NULL,
  first_position INTEGER NOT NULL,     -- lowest and highest of its events
  last_position  INTEGER NOT NULL,
  archived_at    INTEGER NOT NULL,     -- milliseconds since 1970
  data           BLOB    NOT NULL      -- zstd: a line of JSON for each stream
) STRICT;

CREATE TABLE streams (
  stream TEXT    PRIMARY KEY,
  block  INTEGER NOT NULL,             -- blocks.id
  place  INTEGER NOT NULL,             -- byte of the block's text at which its line begins
  events INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${FORMAT};
`

/** Index: the primary key of streams. */
const SELECT_PLACE = "SELECT block, place FROM streams WHERE stream = ?"
/** Index: the primary key of blocks. */
const SELECT_BLOCK = "SELECT size, data FROM blocks WHERE id = ?"
/** Index: the primary key of blocks. */
const SELECT_NEXT_BLOCK = "SELECT id, size, data FROM blocks WHERE id > ? ORDER BY id LIMIT 1"
const INSERT_BLOCK = `INSERT INTO blocks (size, streams, events, first_position, last_position, archived_at, data)
  VALUES (?, ?, ?, ?, ?, ?, ?)`
/** A copy whose move was never finished, and whose stream has gone on since, gives way to the whole stream. */
const UPSERT_STREAM = `INSERT INTO streams (stream, block, place, events) VALUES (?, ?, ?, ?)
  ON CONFLICT (stream) DO UPDATE SET block = excluded.block, place = excluded.place, events = excluded.events`

/** `create`: make the file if it is not there. `read`: refuse to write. */
export type ArchiveMode = "create" | "write" | "read"

/** What a block takes. */
export interface BlockSize {
  readonly bytes: number
  readonly compressedBytes: number
}

/** A block and what is in it. */
export interface ArchivedBlock {
  readonly id: number
  readonly streams: ReadonlyArray<StoredStream>
}

export class ArchiveFile {
  readonly filename: string
  readonly database: SqliteDatabase
  /** In order of use, the latest last. */
  readonly #texts = new Map<number, Buffer>()
  #textBytes = 0

  private constructor(filename: string, database: SqliteDatabase) {
    this.filename = filename
    this.database = database
  }

  /** Opens the file, and checks that it is an archive. Commits wait for the disk whatever the journal does. */
  static open(filename: string, mode: ArchiveMode): ArchiveFile {
    return attempt(filename, () => {
      const exists = existsSync(filename)
      if (!exists && mode !== "create") throw new ArchiveMissing({ streams: 0 })
      if (filename !== IN_MEMORY) mkdirSync(dirname(filename), { recursive: true })
      const database = SqliteDatabase.open({
        filename,
        readOnly: mode === "read",
        synchronous: "FULL",
        busyTimeout: BUSY_TIMEOUT_MS,
        pageCacheBytes: PAGE_CACHE_BYTES,
        // A mapped file that is cut short ends the process instead of failing a read.
        mmapBytes: 0,
      })
      try {
        if (mode === "create" && database.isBlank) database.transaction(() => database.exec(SCHEMA))
        requireFormat(database)
      } catch (cause) {
        database.close()
        throw cause
      }
      return new ArchiveFile(filename, database)
    })
  }

  /** Whether a stream is in it. */
  has(stream: string): boolean {
    return attempt(this.filename, () => this.database.prepare(SELECT_PLACE).get(stream) !== undefined)
  }

  /** A whole stream; undefined when it is not in it. */
  read(stream: string): StoredStream | undefined {
    return attempt(this.filename, () => {
      const found = this.database.prepare(SELECT_PLACE).get(stream)
      if (found === undefined) return undefined
      const stored = decodeStream(this.#textOf(found["block"] as number), found["place"] as number)
      if (stored.stream === stream) return stored
      throw new ArchiveCorrupt({ detail: `where ${stream} should be is ${stored.stream}` })
    })
  }

  /**
   * The first block behind another one, for whoever reads them all. A copy that a later one has replaced, after a move that
   * was not finished, is left out.
   */
  blockAfter(after: number): ArchivedBlock | undefined {
    return attempt(this.filename, () => {
      const row = this.database.prepare(SELECT_NEXT_BLOCK).get(after)
      if (row === undefined) return undefined
      const id = row["id"] as number
      const text = unpackBlock(row["data"] as Uint8Array, row["size"] as number)
      const streams = placesIn(text).flatMap((place) => {
        const stored = decodeStream(text, place)
        const current = this.database.prepare(SELECT_PLACE).get(stored.stream)
        return current?.["block"] === id && current["place"] === place ? [stored] : []
      })
      return { id, streams }
    })
  }

  /** Writes a block of these streams; it is on the disk when this returns. */
  add(streams: ReadonlyArray<StoredStream>, at: number): BlockSize {
    return attempt(this.filename, () => {
      const { data, places, size } = packBlock(streams.map(encodeStream))
      let events = 0
      let first = Number.POSITIVE_INFINITY
      let last = 0
      for (const stored of streams) {
        events += stored.events.length
        first = Math.min(first, stored.events[0]!.position)
        last = Math.max(last, stored.events.at(-1)!.position)
      }
      this.database.transaction(() => {
        const { lastInsertRowid } = this.database
          .prepare(INSERT_BLOCK)
          .run(size, streams.length, events, first, last, at, data)
        const upsert = this.database.prepare(UPSERT_STREAM)
        streams.forEach((stored, i) =>
          upsert.run(stored.stream, lastInsertRowid, places[i]!, stored.events.length),
        )
      })
      return { bytes: size, compressedBytes: data.length }
    })
  }

  /** Brings everything from the write-ahead log into the file, so that the file alone is the archive. */
  checkpoint(): void {
    attempt(this.filename, () => this.database.exec("PRAGMA wal_checkpoint(TRUNCATE)"))
  }

  close(): void {
    this.#texts.clear()
    this.database.close()
  }

  #textOf(block: number): Buffer {
    const known = this.#texts.get(block)
    if (known !== undefined) {
      this.#texts.delete(block)
      this.#texts.set(block, known)
      return known
    }
    const row = this.database.prepare(SELECT_BLOCK).get(block)
    if (row === undefined) throw new ArchiveCorrupt({ detail: `block ${block} is not there` })
    const text = unpackBlock(row["data"] as Uint8Array, row["size"] as number)
    if (text.length <= CACHE_BYTES) this.#remember(block, text)
    return text
  }

  #remember(block: number, text: Buffer): void {
    this.#texts.set(block, text)
    this.#textBytes += text.length
    for (const [oldest, { length }] of this.#texts) {
      if (this.#textBytes <= CACHE_BYTES) return
      this.#texts.delete(oldest)
      this.#textBytes -= length
    }
  }
}

const requireFormat = (database: SqliteDatabase): void => {
  if (database.pragma("application_id") !== APPLICATION_ID)
    throw new ArchiveCorrupt({ detail: "it is not an archive of RenderOwl" })
  const format = database.pragma("user_version")
  if (format !== FORMAT)
    throw new ArchiveCorrupt({
      detail: `it has the format ${String(format)}, and this release reads ${FORMAT}`,
    })
}

const attempt = <A>(filename: string, body: () => A): A => {
  try {
    return body()
  } catch (cause) {
    throw toArchiveError(filename, cause) satisfies ArchiveError
  }
}
