/**
 * The format and pixel size of an encoded image, read from its first bytes without decoding it.
 *
 * Decoding believes the header and allocates what it says, so a picture from outside is measured here first. Knows the
 * three formats that pictures may have (PNG: RFC 2083 §11.2.2, JPEG: ITU-T T.81 B.2.2, WebP: RFC 9649).
 */

/** What the header says. Sizes in pixels. */
export interface ImageHeader {
  readonly format: "png" | "jpeg" | "webp"
  readonly width: number
  readonly height: number
}

const textAt = (bytes: Buffer, offset: number, length: number): string =>
  bytes.toString("latin1", offset, offset + length)

const readPng = (bytes: Buffer): ImageHeader | undefined =>
  bytes.length >= 24 && textAt(bytes, 0, 8) === "\x89PNG\r\n\x1a\n" && textAt(bytes, 12, 4) === "IHDR"
    ? { format: "png", width: bytes.readUInt32BE(16), height: bytes.readUInt32BE(20) }
    : undefined

const readWebp = (bytes: Buffer): ImageHeader | undefined => {
  if (bytes.length < 30 || textAt(bytes, 0, 4) !== "RIFF" || textAt(bytes, 8, 4) !== "WEBP") return undefined
  switch (textAt(bytes, 12, 4)) {
    case "VP8 ":
      return {
        format: "webp",
        width: bytes.readUInt16LE(26) & 0x3fff,
        height: bytes.readUInt16LE(28) & 0x3fff,
      }
    case "VP8L": {
      const bits = bytes.readUInt32LE(21)
      return { format: "webp", width: (bits & 0x3fff) + 1, height: ((bits >> 14) & 0x3fff) + 1 }
    }
    case "VP8X":
      return { format: "webp", width: bytes.readUIntLE(24, 3) + 1, height: bytes.readUIntLE(27, 3) + 1 }
    default:
      return undefined
  }
}

/** Start-of-frame markers are 0xC0 to 0xCF without the three that mean something else (DHT, JPG, DAC). */
const isFrameMarker = (marker: number): boolean =>
  marker >= 0xc0 && marker <= 0xcf && marker !== 0xc4 && marker !== 0xc8 && marker !== 0xcc

const readJpeg = (bytes: Buffer): ImageHeader | undefined => {
  if (bytes.length < 4 || bytes.readUInt16BE(0) !== 0xffd8) return undefined
  let offset = 2
  while (offset + 9 <= bytes.length && bytes[offset] === 0xff) {
    const marker = bytes[offset + 1] ?? 0
    if (marker === 0xff) {
      offset += 1
      continue
    }
    if (isFrameMarker(marker)) {
      return { format: "jpeg", width: bytes.readUInt16BE(offset + 7), height: bytes.readUInt16BE(offset + 5) }
    }
    offset += 2 + bytes.readUInt16BE(offset + 2)
  }
  return undefined
}

/** The header of a PNG, JPEG or WebP image; undefined when the bytes are none of these. */
export const readImageHeader = (bytes: Buffer): ImageHeader | undefined =>
  readPng(bytes) ?? readWebp(bytes) ?? readJpeg(bytes)
