/**
 * The blocks of the archive: many whole streams, one a line of JSON, compressed together by zstd. A line says itself which
 * stream it is, so a block can be read without anything else (`zstd -d`). Pure; it touches no file.
 */
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib"
import { ArchiveCorrupt } from "./ArchiveError.ts"
import type { EventRow } from "./EventRows.ts"

/**
 * Bytes of JSON that a block takes before it is closed: some 400 small jobs. Larger ones save nothing, and reading one
 * stream decompresses its whole block (measured, three events a job with 75 bytes of randomness each: 16 KiB 125 bytes
 * a job, 64 KiB 111, 256 KiB 110, 1 MiB 113; 0.15 ms to decompress 256 KiB).
 */
export const BLOCK_BYTES = 256 * 1024
/**
 * Higher levels cost more than they save (measured, bytes and µs a job: level 1 109 and 0.8, 3 110 and 1.1, 9 106 and 5,
 * 15 105 and 14, 19 101 and 180); 3 gains most on text that repeats.
 */
const ZSTD_LEVEL = 3
const COMPRESSION = {
  params: { [constants.ZSTD_c_compressionLevel]: ZSTD_LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
}
const LINE_END = 0x0a

/** A stream as its rows in `events`, oldest first, all of them. */
export interface StoredStream {
  readonly stream: string
  readonly events: ReadonlyArray<EventRow>
}

/** A block to be, and where in it each stream begins. */
export interface PackedBlock {
  readonly data: Uint8Array
  /** Bytes before compression. */
  readonly size: number
  /** The byte at which each stream's line begins, in order. */
  readonly places: ReadonlyArray<number>
}

/** A stream's line, without its end. Text is kept as it is, so what comes out is what went in, character by character. */
export const encodeStream = ({ events, stream }: StoredStream): string =>
  JSON.stringify({
    stream,
    events: events.map(({ data, metadata, position, recorded_at, revision, type, version }) => [
      position,
      version,
      type,
      revision,
      data,
      metadata,
      recorded_at,
    ]),
  })

/** Compresses lines of {@link encodeStream} to a block. */
export const packBlock = (lines: ReadonlyArray<string>): PackedBlock => {
  const places: Array<number> = []
  let size = 0
  for (const line of lines) {
    places.push(size)
    size += Buffer.byteLength(line) + 1
  }
  const text = Buffer.from(lines.map((line) => `${line}\n`).join(""))
  return { data: zstdCompressSync(text, COMPRESSION), size, places }
}

/** The lines of a block of `size` bytes. Throws {@link ArchiveCorrupt}; a checksum guards the content. */
export const unpackBlock = (data: Uint8Array, size: number): Buffer => {
  let text: Buffer
  try {
    text = zstdDecompressSync(data, { maxOutputLength: Math.max(1, size) })
  } catch (cause) {
    throw new ArchiveCorrupt({ detail: `a block cannot be decompressed: ${String(cause)}` })
  }
  if (text.length === size) return text
  throw new ArchiveCorrupt({ detail: `a block has ${text.length} bytes instead of ${size}` })
}

/** The stream whose line begins at a byte of a block's text. Throws {@link ArchiveCorrupt}. */
export const decodeStream = (text: Buffer, place: number): StoredStream => {
  const end = text.indexOf(LINE_END, place)
  try {
    if (end === -1) throw new Error("it does not end")
    const { events, stream } = JSON.parse(text.toString("utf8", place, end)) as {
      readonly stream: string
      readonly events: ReadonlyArray<readonly [number, number, string, number, string, string | null, number]>
    }
    return {
      stream,
      events: events.map(([position, version, type, revision, data, metadata, recorded_at]) => ({
        position,
        stream,
        version,
        type,
        revision,
        data,
        metadata,
        recorded_at,
      })),
    }
  } catch (cause) {
    throw new ArchiveCorrupt({
      detail: `the line at byte ${place} of a block is unreadable: ${String(cause)}`,
    })
  }
}

/** The bytes at which the lines of a block's text begin. */
export const placesIn = (text: Buffer): ReadonlyArray<number> => {
  const places: Array<number> = []
  let place = 0
  while (place < text.length) {
    places.push(place)
    const end = text.indexOf(LINE_END, place)
    place = end === -1 ? text.length : end + 1
  }
  return places
}
