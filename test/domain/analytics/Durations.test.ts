import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { DURATION_MS_MAX, Durations } from "../../../src/domain/analytics/Durations.ts"

const millis = fc.oneof(fc.nat(20), fc.nat(5_000), fc.nat(DURATION_MS_MAX))
const many = fc.array(millis, { minLength: 1, maxLength: 60 })

const durationsOf = (values: ReadonlyArray<number>) => {
  const durations = new Durations()
  for (const value of values) durations.add(value)
  return durations
}

/** All there is to see of it. */
const seen = (durations: Durations) => ({
  sum: durations.sum,
  min: durations.min,
  max: durations.max,
  buckets: durations.encode(),
})

describe("durations", () => {
  it("two of them together are one of all, also after they were stored", () => {
    fc.assert(
      fc.property(many, many, (a, b) => {
        const together = Durations.decode(seen(durationsOf(b)))
        together.merge(Durations.decode(seen(durationsOf(a))))
        assert.deepStrictEqual(seen(together), seen(durationsOf([...a, ...b])))
        assert.strictEqual(together.count, a.length + b.length)
      }),
    )
  })

  it("percentiles are as far off as half a bucket, at most 6 %", () => {
    fc.assert(
      fc.property(many, fc.constantFrom(0.5, 0.95, 0.99, 1), (values, share) => {
        const exact = values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1]!
        const estimate = durationsOf(values).percentile(share)!
        assert.isAtMost(Math.abs(estimate - exact), Math.max(0.5, exact * 0.0625))
      }),
    )
  })

  it("what is longer than can be, or earlier than due, counts as the limit", () => {
    const durations = durationsOf([-5, DURATION_MS_MAX + 10, 2e12])
    assert.strictEqual(durations.min, 0)
    assert.strictEqual(durations.max, DURATION_MS_MAX)
    assert.strictEqual(durations.sum, 2 * DURATION_MS_MAX)
  })

  it("none has neither average nor percentile", () => {
    assert.isNull(new Durations().average)
    assert.isNull(new Durations().percentile(0.5))
    assert.strictEqual(new Durations().encode(), "")
  })
})
