import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { bucketOf, lowestOf, middleOf, widthOf } from "../../src/telemetry/LogLinear.ts"

const VALUE_MAX = 2 ** 32 - 1

const values = fc.oneof(fc.nat(1_000), fc.nat(VALUE_MAX), fc.constant(VALUE_MAX))
const bits = fc.integer({ min: 1, max: 8 })

describe("buckets that widen with the value", () => {
  it("every value is in its bucket, whose middle is as near as promised", () => {
    fc.assert(
      fc.property(values, bits, (value, bits) => {
        const bucket = bucketOf(value, bits)
        const from = lowestOf(bucket, bits)
        assert.isTrue(from <= value && value < from + widthOf(bucket, bits))
        assert.isAtMost(Math.abs(middleOf(bucket, bits) - value), value / 2 ** (bits + 1))
      }),
    )
  })

  it("they follow each other without a gap, and there are few", () => {
    fc.assert(
      fc.property(fc.nat(), bits, (value, bits) => {
        const bucket = bucketOf(value, bits)
        assert.strictEqual(bucketOf(lowestOf(bucket, bits) + widthOf(bucket, bits), bits), bucket + 1)
      }),
      {
        examples: [
          [15, 3],
          [16, 3],
          [2 ** 31 - 1, 6],
        ],
      },
    )
    assert.isBelow(bucketOf(VALUE_MAX, 3), 8 * 31)
  })
})
