/**
 * Many durations in little room: their sum, their extremes, and how many fell into each of some 220 buckets, from which any
 * percentile is read with an error of 6 % at most. Two of them together are what one of all would have been, whatever
 * the order. Pure.
 */

import { bucketOf, middleOf } from "../../telemetry/LogLinear.ts"

/** Milliseconds: 24 days. What takes longer counts as this. */
export const DURATION_MS_MAX = 2 ** 31 - 1
/** 8 buckets for each doubling: each is at most an eighth as wide as what is in it. */
const BITS = 3

/** Sums stay what a number can say exactly. */
export const addUp = (a: number, b: number): number => Math.min(a + b, Number.MAX_SAFE_INTEGER)

export class Durations {
  sum = 0
  min: number | null = null
  max: number | null = null
  readonly #buckets = new Map<number, number>()

  /** Takes in one, in milliseconds. */
  add(millis: number): void {
    const value = Math.min(DURATION_MS_MAX, Math.max(0, Math.round(millis)))
    this.sum = addUp(this.sum, value)
    this.#widen(value, value)
    this.#count(bucketOf(value, BITS), 1)
  }

  merge(other: Durations): void {
    if (other.min === null || other.max === null) return
    this.sum = addUp(this.sum, other.sum)
    this.#widen(other.min, other.max)
    for (const [bucket, count] of other.#buckets) this.#count(bucket, count)
  }

  get count(): number {
    return this.#buckets.values().reduce((sum, count) => sum + count, 0)
  }

  /** The average in milliseconds; null where there is none. */
  get average(): number | null {
    return this.min === null ? null : Math.round(this.sum / this.count)
  }

  /** So that this share of them (0 to 1) is as short, in milliseconds; null where there is none. */
  percentile(share: number): number | null {
    if (this.min === null || this.max === null) return null
    let left = Math.max(1, Math.ceil(this.count * share))
    for (const [bucket, count] of this.#sorted()) {
      left -= count
      if (left <= 0) return Math.min(this.max, Math.max(this.min, Math.floor(middleOf(bucket, BITS))))
    }
    return this.max
  }

  /** As a column keeps it: `bucket:count`, lowest first. */
  encode(): string {
    return this.#sorted()
      .map(([bucket, count]) => `${bucket}:${count}`)
      .join(" ")
  }

  static decode(row: {
    readonly sum: number
    readonly min: number | null
    readonly max: number | null
    readonly buckets: string
  }): Durations {
    const durations = new Durations()
    durations.sum = row.sum
    durations.min = row.min
    durations.max = row.max
    if (row.buckets === "") return durations
    for (const entry of row.buckets.split(" ")) {
      const [bucket, count] = entry.split(":")
      durations.#count(Number(bucket), Number(count))
    }
    return durations
  }

  #widen(min: number, max: number): void {
    this.min = Math.min(this.min ?? min, min)
    this.max = Math.max(this.max ?? max, max)
  }

  #count(bucket: number, count: number): void {
    this.#buckets.set(bucket, (this.#buckets.get(bucket) ?? 0) + count)
  }

  #sorted(): ReadonlyArray<readonly [number, number]> {
    return [...this.#buckets].sort(([a], [b]) => a - b)
  }
}
