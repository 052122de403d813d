import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { LatencyHistogram, RELATIVE_ERROR } from "../../src/telemetry/LatencyHistogram.ts"

/** Half a microsecond is lost when a time is counted. */
const ROUNDING_MS = 0.000_5

const histogramOf = (times: ReadonlyArray<number>): LatencyHistogram => {
  const histogram = new LatencyHistogram()
  for (const time of times) histogram.record(time)
  return histogram
}

/** The definition: the smallest time that is not exceeded by so many. */
const nearestRank = (times: ReadonlyArray<number>, percent: number): number => {
  const sorted = times.toSorted((a, b) => a - b)
  return sorted[Math.max(1, Math.ceil((percent / 100) * sorted.length)) - 1]!
}

/** Times of all sizes, from nothing to an hour, in milliseconds. */
const time = fc.oneof(
  fc.double({ min: 0, max: 1, noNaN: true }),
  fc.double({ min: 0, max: 1_000, noNaN: true }),
  fc.double({ min: 0, max: 3_600_000, noNaN: true }),
  fc.constantFrom(0, 0.001, 0.127, 0.128, 0.129, 1.024, 131.072),
)
const times = fc.array(time, { minLength: 1, maxLength: 300 })
const percent = fc.double({ min: 0, max: 100, noNaN: true })

const close = (found: number, exact: number): boolean =>
  Math.abs(found - exact) <= exact * RELATIVE_ERROR + 2 * ROUNDING_MS

const everything = (histogram: LatencyHistogram) => [histogram.summary(), [...histogram.buckets()]]

describe("a histogram of latencies", () => {
  it("answers any percentile within its relative error", () => {
    fc.assert(
      fc.property(times, percent, (times, percent) =>
        close(histogramOf(times).percentile(percent), nearestRank(times, percent)),
      ),
      { numRuns: 2_000 },
    )
  })

  it("errs by less than one percent", () => {
    assert.isBelow(RELATIVE_ERROR, 0.01)
  })

  it("knows how many there were, the shortest, the longest and the mean", () => {
    fc.assert(
      fc.property(times, (times) => {
        const { count, max, mean, min } = histogramOf(times).summary()
        assert.strictEqual(count, times.length)
        assert.closeTo(min, Math.min(...times), ROUNDING_MS * 1.01)
        assert.closeTo(max, Math.max(...times), ROUNDING_MS * 1.01)
        assert.closeTo(mean, times.reduce((sum, time) => sum + time, 0) / times.length, ROUNDING_MS * 1.01)
      }),
    )
  })

  it("is the same whether times are counted in one or added up from several, in any order", () => {
    fc.assert(
      fc.property(times, times, (left, right) => {
        const [one, other] = [histogramOf(left), histogramOf(right)]
        one.add(histogramOf(right))
        other.add(histogramOf(left))
        const whole = everything(histogramOf([...left, ...right]))
        assert.deepStrictEqual(JSON.stringify(everything(one)[1]), JSON.stringify(whole[1]))
        assert.deepStrictEqual(everything(other)[1], whole[1])
        assert.strictEqual(one.percentile(99), other.percentile(99))
        assert.strictEqual(one.count, left.length + right.length)
      }),
    )
  })

  it("has buckets without gap or overlap, in which every time is found", () => {
    fc.assert(
      fc.property(times, (times) => {
        const buckets = [...histogramOf(times).buckets()]
        assert.strictEqual(
          buckets.reduce((sum, { count }) => sum + count, 0),
          times.length,
        )
        for (const [i, { from, to }] of buckets.entries()) {
          assert.isBelow(from, to)
          if (i > 0) assert.isAtLeast(from, buckets[i - 1]!.to - 1e-9)
        }
        for (const time of times)
          assert.isTrue(buckets.some(({ from, to }) => time >= from - ROUNDING_MS && time < to + ROUNDING_MS))
      }),
    )
  })

  it("counts equal times at once", () => {
    const histogram = new LatencyHistogram()
    histogram.record(5, 99)
    histogram.record(500)
    assert.strictEqual(histogram.count, 100)
    assert.closeTo(histogram.percentile(99), 5, 5 * RELATIVE_ERROR)
    assert.strictEqual(histogram.percentile(99.5), 500)
  })

  it("is empty at first and again after a reset, and takes what cannot be for the nearest that can", () => {
    const histogram = histogramOf([1, 2, 3])
    histogram.reset()
    assert.deepStrictEqual(everything(histogram), everything(new LatencyHistogram()))
    assert.deepStrictEqual(
      Object.values(histogram.summary()),
      Array.from({ length: 9 }, () => 0),
    )
    histogram.record(-1)
    assert.strictEqual(histogram.max, 0)
    histogram.record(Number.POSITIVE_INFINITY)
    assert.isAbove(histogram.max, 3_600_000)
    assert.throws(() => histogram.record(Number.NaN), RangeError)
  })
})
