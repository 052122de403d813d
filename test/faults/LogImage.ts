/**
 * The bytes of a write-ahead log (https://sqlite.org/fileformat2.html#the_write_ahead_log), and what can become of them. A
 * damage is made from the bytes alone; where the log is then to be believed no more follows from the first byte that differs.
 */

const HEADER_BYTES = 32
const FRAME_HEADER_BYTES = 24
/** Offsets within the header of the log, and within that of a frame. */
const PAGE_SIZE_AT = 8
const SALTS_AT = 16
const COMMIT_AT = 4
const FRAME_SALTS_AT = 8
const SALTS_BYTES = 8

/** A frame: a page as a transaction left it. */
export interface Frame {
  readonly start: number
  readonly end: number
  /** The last one of its transaction. */
  readonly isCommit: boolean
}

/** A log that was written in one go and not damaged, with what an earlier log left behind it. */
export class LogImage {
  readonly bytes: Buffer
  /** Without those of an earlier log, which have other salts. */
  readonly frames: ReadonlyArray<Frame>

  constructor(bytes: Buffer) {
    this.bytes = bytes
    this.frames = framesOf(bytes)
  }

  /** Where the last frame ends. */
  get end(): number {
    return this.frames.at(-1)?.end ?? HEADER_BYTES
  }

  /** Whether frames of an earlier log follow. */
  get hasStaleTail(): boolean {
    return this.bytes.length > this.end
  }

  /** Where the last whole transaction before the first byte that differs ends; 0 when not even the header holds. */
  survivingEnd(damaged: Buffer): number {
    let first = 0
    while (first < this.end && this.bytes[first] === damaged[first]) first++
    if (first < HEADER_BYTES) return 0
    return this.frames.findLast(({ end, isCommit }) => isCommit && end <= first)?.end ?? HEADER_BYTES
  }
}

const framesOf = (bytes: Buffer): ReadonlyArray<Frame> => {
  const frames: Array<Frame> = []
  if (bytes.length < HEADER_BYTES) return frames
  const size = FRAME_HEADER_BYTES + bytes.readUInt32BE(PAGE_SIZE_AT)
  const salts = bytes.subarray(SALTS_AT, SALTS_AT + SALTS_BYTES)
  for (let start = HEADER_BYTES; start + size <= bytes.length; start += size) {
    const saltsAt = start + FRAME_SALTS_AT
    if (!bytes.subarray(saltsAt, saltsAt + SALTS_BYTES).equals(salts)) break
    frames.push({ start, end: start + size, isCommit: bytes.readUInt32BE(start + COMMIT_AT) !== 0 })
  }
  return frames
}

/** One thing that can become of a log. */
export interface Damage {
  readonly name: string
  readonly of: (bytes: Buffer) => Buffer
}

/** The file ends here: what came later was never written. */
export const cut = (at: number): Damage => ({ name: `cut at ${at}`, of: (bytes) => bytes.subarray(0, at) })

/** The file has its length, but its blocks were never written. */
export const zeroed = (from: number, to?: number): Damage => ({
  name: `zeroes from ${from} to ${to ?? "the end"}`,
  of: (bytes) => Buffer.from(bytes).fill(0, from, to),
})

/** One bit is another one. */
export const flipped = (at: number, bit: number): Damage => ({
  name: `bit ${bit} of byte ${at} flipped`,
  of: (bytes) => {
    const copy = Buffer.from(bytes)
    copy[at]! ^= 1 << bit
    return copy
  },
})

/** Salts as of another log, with everything else in order. */
export const saltedOtherwise = ({ start }: Frame): Damage => ({
  name: `other salts at ${start}`,
  of: (bytes) => {
    const copy = Buffer.from(bytes)
    copy.writeUInt32BE((copy.readUInt32BE(start + FRAME_SALTS_AT) + 1) >>> 0, start + FRAME_SALTS_AT)
    return copy
  },
})

/** Two frames of one size have changed places. */
export const swapped = (one: Frame, other: Frame): Damage => ({
  name: `frames at ${one.start} and ${other.start} swapped`,
  of: (bytes) => {
    const copy = Buffer.from(bytes)
    bytes.copy(copy, one.start, other.start, other.end)
    bytes.copy(copy, other.start, one.start, one.end)
    return copy
  },
})
