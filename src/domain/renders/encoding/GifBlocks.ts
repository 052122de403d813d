/**
 * The blocks of a GIF file (GIF89a specification, §17–27), as far as joining files needs them.
 *
 * A GIF is a header (with the loop extension), any number of image blocks, each with its own colours and delay, and one
 * trailing byte. Joining is the header of the first file, the images of all, and the trailer.
 */

export const GIF_TRAILER = Buffer.from([0x3b])

const EXTENSION = 0x21
const IMAGE = 0x2c
const GRAPHIC_CONTROL = 0xf9

/** Bytes of the colour table that a packed field announces. */
const tableSize = (packed: number): number => ((packed & 0x80) === 0 ? 0 : 3 * 2 ** ((packed & 7) + 1))

const byteAt = (bytes: Buffer, offset: number): number => {
  const byte = bytes[offset]
  if (byte === undefined) throw new RangeError("The GIF ends in the middle of a block")
  return byte
}

/** The offset after a chain of sub-blocks that starts at `offset`. */
const afterSubBlocks = (bytes: Buffer, offset: number): number => {
  let at = offset
  while (byteAt(bytes, at) !== 0) at += byteAt(bytes, at) + 1
  return at + 1
}

/** Where the header, with its application extensions, ends and the first image begins. */
const headerEnd = (bytes: Buffer): number => {
  if (!/^GIF8[79]a/u.test(bytes.toString("latin1", 0, 6))) throw new RangeError("Not a GIF")
  let at = 13 + tableSize(byteAt(bytes, 10))
  while (byteAt(bytes, at) === EXTENSION && byteAt(bytes, at + 1) !== GRAPHIC_CONTROL)
    at = afterSubBlocks(bytes, at + 2)
  return at
}

/** Everything before the first image. */
export const gifHeader = (bytes: Buffer): Buffer => bytes.subarray(0, headerEnd(bytes))

/** Everything between the header and the trailer. */
export const gifImages = (bytes: Buffer): Buffer =>
  bytes.subarray(headerEnd(bytes), bytes.at(-1) === GIF_TRAILER[0] ? -1 : undefined)

/** How many images a GIF holds. Throws a `RangeError` when it is cut short. */
export const countGifImages = (bytes: Buffer): number => {
  let at = headerEnd(bytes)
  let images = 0
  while (byteAt(bytes, at) !== GIF_TRAILER[0]) {
    if (byteAt(bytes, at) === EXTENSION) at = afterSubBlocks(bytes, at + 2)
    else if (byteAt(bytes, at) === IMAGE) {
      at = afterSubBlocks(bytes, at + 11 + tableSize(byteAt(bytes, at + 9)))
      images += 1
    } else throw new RangeError("The GIF has an unknown block")
  }
  return images
}
