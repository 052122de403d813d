/**
 * Random ids for traces and requests, in lower-case hexadecimal. Bytes are drawn from the system 8 KiB at a time: an id needs a
 * few of them, and a draw costs more than they do.
 */
import { randomFillSync } from "node:crypto"

const POOL_BYTES = 8192
const pool = Buffer.alloc(POOL_BYTES)
let used = POOL_BYTES

/** So many random bytes (100 at most), as two digits each. */
export const randomHex = (bytes: number): string => {
  if (used + bytes > POOL_BYTES) {
    randomFillSync(pool)
    used = 0
  }
  const start = used
  used += bytes
  return pool.toString("hex", start, used)
}
