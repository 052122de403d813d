/**
 * Random ids for traces and requests, in lower-case hexadecimal. Bytes are drawn from the system 8 KiB at a time, and made
 * digits of 512 at a time: an id needs a few of them, and each of the two calls costs more than they do.
 */
import { randomFillSync } from "node:crypto"

const POOL_BYTES = 8192
/** No more: an id that is kept keeps the digits that it was drawn with. */
const DIGITS_BYTES = 512
const pool = Buffer.alloc(POOL_BYTES)
let used = POOL_BYTES
let digits = ""
let next = 0

/** So many random bytes (100 at most), as two digits each. */
export const randomHex = (bytes: number): string => {
  const length = 2 * bytes
  if (next + length > digits.length) refill()
  const start = next
  next += length
  return digits.slice(start, next)
}

const refill = (): void => {
  if (used === POOL_BYTES) {
    randomFillSync(pool)
    used = 0
  }
  digits = pool.toString("hex", used, used + DIGITS_BYTES)
  used += DIGITS_BYTES
  next = 0
}
