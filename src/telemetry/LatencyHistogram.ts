/**
 * How long things take, as counts in buckets that widen with the value: any number of times in 6 to 14 kilobytes, and every
 * percentile within {@link RELATIVE_ERROR} of the truth. Histograms can be added up, which percentiles cannot.
 * To record one costs some 20 ns (measured).
 */

import { bucketOf, lowestOf, middleOf, widthOf } from "./LogLinear.ts"

/** 64 buckets for each power of two. */
const BITS = 6
/** Half a bucket, which is where the answer lies, by the least value in it. */
export const RELATIVE_ERROR = 1 / 2 ** (BITS + 1)
/** Times are kept in whole microseconds. */
const MICROSECONDS_PER_MILLISECOND = 1_000
/** What is longer counts as this: about 71 minutes. */
const MICROSECONDS_MAX = 2 ** 32 - 1
/** Of {@link MICROSECONDS_MAX}, and one more. */
const BUCKETS_MAX = bucketOf(MICROSECONDS_MAX, BITS) + 1
/** Times up to 130 ms; a histogram that gets longer ones grows. */
const BUCKETS_AT_FIRST = 768

/** What people want to know of many times, in milliseconds. */
export interface LatencySummary {
  readonly count: number
  readonly mean: number
  readonly min: number
  readonly p50: number
  readonly p90: number
  readonly p95: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export class LatencyHistogram {
  #counts = new Float64Array(BUCKETS_AT_FIRST)
  #count = 0
  #sum = 0
  #min = Number.POSITIVE_INFINITY
  #max = 0

  /** Counts a time in milliseconds, or several equal ones. Negative ones, of a clock that was put back, count as 0. */
  record(millis: number, count = 1): void {
    if (Number.isNaN(millis)) throw new RangeError("a time must be a number")
    const micros = Math.min(Math.max(Math.round(millis * MICROSECONDS_PER_MILLISECOND), 0), MICROSECONDS_MAX)
    const bucket = bucketOf(micros, BITS)
    if (bucket >= this.#counts.length) this.#grow(bucket)
    this.#counts[bucket]! += count
    this.#count += count
    this.#sum += micros * count
    if (micros < this.#min) this.#min = micros
    if (micros > this.#max) this.#max = micros
  }

  /** Counts everything that another one has counted. */
  add(other: LatencyHistogram): void {
    if (other.#counts.length > this.#counts.length) this.#grow(other.#counts.length - 1)
    for (let bucket = 0; bucket < other.#counts.length; bucket++)
      this.#counts[bucket]! += other.#counts[bucket]!
    this.#count += other.#count
    this.#sum += other.#sum
    this.#min = Math.min(this.#min, other.#min)
    this.#max = Math.max(this.#max, other.#max)
  }

  /** Forgets everything, and keeps its memory. */
  reset(): void {
    this.#counts.fill(0)
    this.#count = 0
    this.#sum = 0
    this.#min = Number.POSITIVE_INFINITY
    this.#max = 0
  }

  get count(): number {
    return this.#count
  }

  /** The shortest, exact to the microsecond; 0 when nothing was counted. */
  get min(): number {
    return this.#count === 0 ? 0 : this.#min / MICROSECONDS_PER_MILLISECOND
  }

  /** The longest, exact to the microsecond. */
  get max(): number {
    return this.#max / MICROSECONDS_PER_MILLISECOND
  }

  get mean(): number {
    return this.#count === 0 ? 0 : this.#sum / this.#count / MICROSECONDS_PER_MILLISECOND
  }

  /**
   * The time that `percent` of all are not longer than (the nearest rank), from 0 to 100; 0 when nothing was counted.
   */
  percentile(percent: number): number {
    if (this.#count === 0) return 0
    const rank = Math.max(1, Math.ceil((percent / 100) * this.#count))
    let seen = 0
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      seen += this.#counts[bucket]!
      if (seen >= rank) return this.#within(middleOf(bucket, BITS)) / MICROSECONDS_PER_MILLISECOND
    }
    return this.max
  }

  /** The buckets that are not empty, shortest first: from, up to and without `to`, in milliseconds. */
  *buckets(): Iterable<{ readonly from: number; readonly to: number; readonly count: number }> {
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      const count = this.#counts[bucket]!
      if (count === 0) continue
      const from = lowestOf(bucket, BITS) / MICROSECONDS_PER_MILLISECOND
      yield { from, to: from + widthOf(bucket, BITS) / MICROSECONDS_PER_MILLISECOND, count }
    }
  }

  summary(): LatencySummary {
    return {
      count: this.count,
      mean: this.mean,
      min: this.min,
      p50: this.percentile(50),
      p90: this.percentile(90),
      p95: this.percentile(95),
      p99: this.percentile(99),
      p999: this.percentile(99.9),
      max: this.max,
    }
  }

  /** No answer lies outside of what was counted. */
  #within(micros: number): number {
    return Math.min(Math.max(micros, this.#min), this.#max)
  }

  #grow(bucket: number): void {
    const grown = new Float64Array(Math.min(BUCKETS_MAX, Math.max(bucket + 1, this.#counts.length * 2)))
    grown.set(this.#counts)
    this.#counts = grown
  }
}
