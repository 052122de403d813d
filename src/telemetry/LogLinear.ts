/**
 * Buckets that widen with the value, as HdrHistogram has them: each power of two is cut into equal parts, 2 to the power of `bits`
 * of them, so that half a bucket is at most 1 / 2^(bits + 1) of any value in it, and finding a bucket is a few bit
 * operations and no logarithm. For whole numbers from 0 to 2^32 - 1; below two octaves each has a bucket of its own.
 */

const HIGHEST_BIT = 31

/** The bucket of a value. */
export const bucketOf = (value: number, bits: number): number => {
  if (value < 2 << bits) return value
  const shift = HIGHEST_BIT - Math.clz32(value) - bits
  return (shift << bits) + (value >>> shift)
}

/** How far the values of a bucket were shifted. */
const shiftOf = (bucket: number, bits: number): number => (bucket < 2 << bits ? 0 : (bucket >> bits) - 1)

/** How many values share a bucket. */
export const widthOf = (bucket: number, bits: number): number => 2 ** shiftOf(bucket, bits)

/** The least value of a bucket. */
export const lowestOf = (bucket: number, bits: number): number => {
  const shift = shiftOf(bucket, bits)
  return (bucket - (shift << bits)) * 2 ** shift
}

/** The middle of a bucket, which need not be a whole number. */
export const middleOf = (bucket: number, bits: number): number =>
  lowestOf(bucket, bits) + (widthOf(bucket, bits) - 1) / 2
