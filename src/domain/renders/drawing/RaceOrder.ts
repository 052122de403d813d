/**
 * The arithmetic of a bar chart race: values between two points in time, and where each bar stands while bars overtake.
 *
 * Every moment is computed from the data alone, never from the frame before, so any frame can be drawn first.
 */

/** A competitor: one value for each period. */
export interface Series {
  readonly name: string
  readonly values: ReadonlyArray<number>
}

/** How long an overtaking takes, in periods. */
const OVERTAKE = 0.42
/** Ranks are averaged over this many moments around the one asked for. */
const SAMPLES = 13

/** The value of a series at `moment` (0 is the first period, fractions lie between periods). */
export const valueAt = (series: Series, moment: number): number => {
  const last = series.values.length - 1
  const at = Math.min(last, Math.max(0, moment))
  const before = Math.floor(at)
  const from = series.values[before] ?? 0
  return from + ((series.values[Math.min(last, before + 1)] ?? from) - from) * (at - before)
}

/** Place of every series at `moment`, 0 for the largest; equal values keep the order they were given in. */
export const ranksAt = (all: ReadonlyArray<Series>, moment: number): ReadonlyArray<number> => {
  const order = all
    .map((series, index) => ({ index, value: valueAt(series, moment) }))
    .sort((a, b) => b.value - a.value || a.index - b.index)
  const ranks = all.map(() => 0)
  for (const [rank, { index }] of order.entries()) ranks[index] = rank
  return ranks
}

/** Like `ranksAt`, but an overtaking is a smooth change of place: ranks averaged over a short window with soft edges. */
export const smoothRanksAt = (all: ReadonlyArray<Series>, moment: number): ReadonlyArray<number> => {
  const sums = all.map(() => 0)
  let weights = 0
  for (let sample = 0; sample < SAMPLES; sample++) {
    const offset = (sample / (SAMPLES - 1)) * 2 - 1
    const weight = 0.02 + Math.cos((offset * Math.PI) / 2) ** 2
    weights += weight
    for (const [index, rank] of ranksAt(all, moment + (offset * OVERTAKE) / 2).entries()) {
      sums[index] = (sums[index] ?? 0) + rank * weight
    }
  }
  return sums.map((sum) => sum / weights)
}

/** Round numbers for grid lines from 0 up to `top`, about `count` of them: steps of 1, 2 or 5 times a power of ten. */
export const ticksUpTo = (top: number, count: number): ReadonlyArray<number> => {
  if (!(top > 0)) return []
  const rough = top / count
  const power = 10 ** Math.floor(Math.log10(rough))
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= rough) ?? 10)
  return Array.from({ length: Math.floor(top / step + 1e-9) }, (_, index) => (index + 1) * step)
}
