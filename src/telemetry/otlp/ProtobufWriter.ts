/**
 * Writes protobuf in one pass into memory that it keeps: a message begins with room for its length, which is filled in when it
 * ends. Small texts, which is what spans are made of, are written by hand, because a call into Node for each costs more.
 *
 * @source https://protobuf.dev/programming-guides/encoding/
 */

/** What is written of a text at most, in bytes, for each of its UTF-16 code units. */
const BYTES_PER_CODE_UNIT = 3
/** Texts so short have a length of one byte whatever is in them. */
const SHORT_TEXT_MAX = Math.floor(127 / BYTES_PER_CODE_UNIT)
const VARINT_BYTES_MAX = 10
const LOW_7_BITS = 0x7f
const MORE = 0x80
const ASCII_MAX = 0x7f
const TWO_TO_32 = 2 ** 32

/** By the code of a hexadecimal digit. */
const NIBBLES = new Uint8Array(ASCII_MAX + 1)
for (let value = 0; value < 16; value++) NIBBLES[value.toString(16).charCodeAt(0)] = value

const sizeOfVarint = (value: number): number => {
  let size = 1
  for (let rest = value; rest > LOW_7_BITS; rest = Math.floor(rest / MORE)) size++
  return size
}

export class ProtobufWriter {
  #bytes: Buffer
  #view: DataView
  #at = 0

  readonly #charactersMax: number

  /** It grows where `initialBytes` are not enough. `charactersMax`: of a text that is {@link clipped}. */
  constructor(initialBytes: number, charactersMax = Number.POSITIVE_INFINITY) {
    this.#charactersMax = charactersMax
    this.#bytes = Buffer.allocUnsafeSlow(initialBytes)
    this.#view = new DataView(this.#bytes.buffer)
  }

  /** Forgets what was written; the memory is used again. */
  reset(): void {
    this.#at = 0
  }

  /** What was written, until the next write or reset. */
  get written(): Uint8Array {
    return this.#bytes.subarray(0, this.#at)
  }

  /** Bytes that are what is written already. */
  raw(bytes: Uint8Array): void {
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#at)
    this.#at += bytes.length
  }

  /** Where something stands that {@link end} is told of. The tag is field number × 8 + 2. `room`: bytes that its length probably takes. */
  begin(tag: number, room = 1): number {
    this.#reserve(VARINT_BYTES_MAX)
    this.#tag(tag)
    this.#at += room
    return this.#at
  }

  /** Ends what began at `start`. */
  end(start: number, room = 1): void {
    const length = this.#at - start
    const needed = sizeOfVarint(length)
    if (needed !== room) {
      this.#reserve(VARINT_BYTES_MAX)
      this.#bytes.copyWithin(start + needed - room, start, this.#at)
    }
    this.#at = start - room
    this.#varint(length)
    this.#at += length
  }

  /** A number that is not negative. */
  unsigned(tag: number, value: number): void {
    this.#reserve(2 * VARINT_BYTES_MAX)
    this.#tag(tag)
    this.#varint(value)
  }

  /** A whole number of 64 bits with a sign, as far as a double holds it. */
  int64(tag: number, value: number): void {
    if (value >= 0) return this.unsigned(tag, value)
    this.#reserve(2 * VARINT_BYTES_MAX)
    this.#tag(tag)
    for (let rest = BigInt.asUintN(64, BigInt(value)); ; rest >>= 7n) {
      if (rest <= BigInt(LOW_7_BITS)) {
        this.#bytes[this.#at++] = Number(rest)
        return
      }
      this.#bytes[this.#at++] = Number(rest & BigInt(LOW_7_BITS)) | MORE
    }
  }

  fixed32(tag: number, value: number): void {
    this.#reserve(2 * VARINT_BYTES_MAX)
    this.#tag(tag)
    this.#view.setUint32(this.#at, value, true)
    this.#at += 4
  }

  double(tag: number, value: number): void {
    this.#reserve(2 * VARINT_BYTES_MAX)
    this.#tag(tag)
    this.#view.setFloat64(this.#at, value, true)
    this.#at += 8
  }

  /** A whole number of nanoseconds that is not negative (fixed64). */
  nanos(tag: number, nanos: number): void {
    this.#reserve(2 * VARINT_BYTES_MAX)
    this.#tag(tag)
    const high = Math.floor(nanos / TWO_TO_32)
    this.#view.setUint32(this.#at, nanos - high * TWO_TO_32, true)
    this.#view.setUint32(this.#at + 4, high, true)
    this.#at += 8
  }

  /** Bytes, given as lower-case hexadecimal. */
  hex(tag: number, digits: string): void {
    const length = digits.length >> 1
    this.#reserve(2 * VARINT_BYTES_MAX + length)
    this.#tag(tag)
    this.#varint(length)
    const bytes = this.#bytes
    let at = this.#at
    for (let i = 0; i < digits.length; i += 2)
      bytes[at++] = (NIBBLES[digits.charCodeAt(i)]! << 4) | NIBBLES[digits.charCodeAt(i + 1)]!
    this.#at = at
  }

  clipped(tag: number, text: string): void {
    this.text(tag, text.length > this.#charactersMax ? text.slice(0, this.#charactersMax) : text)
  }

  text(tag: number, text: string): void {
    this.#reserve(2 * VARINT_BYTES_MAX + text.length * BYTES_PER_CODE_UNIT)
    this.#tag(tag)
    if (text.length > SHORT_TEXT_MAX) {
      this.#varint(Buffer.byteLength(text))
      this.#at += this.#bytes.write(text, this.#at)
      return
    }
    const bytes = this.#bytes
    const start = this.#at + 1
    let at = start
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      if (code > ASCII_MAX) {
        at = start + bytes.write(text, start)
        break
      }
      bytes[at++] = code
    }
    bytes[start - 1] = at - start
    this.#at = at
  }

  #tag(tag: number): void {
    if (tag <= LOW_7_BITS) this.#bytes[this.#at++] = tag
    else this.#varint(tag)
  }

  #varint(value: number): void {
    let rest = value
    while (rest > LOW_7_BITS) {
      this.#bytes[this.#at++] = (rest % MORE) | MORE
      rest = Math.floor(rest / MORE)
    }
    this.#bytes[this.#at++] = rest
  }

  /** Makes sure that so many bytes have room. */
  #reserve(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#bytes.length))
    larger.set(this.#bytes.subarray(0, this.#at))
    this.#bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}
