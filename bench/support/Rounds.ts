/**
 * Measuring two things that are to be compared: in turns of a fraction of a second each, so that what else happens on
 * the machine hits both, and with medians, so that a pause in one round decides nothing.
 */
import { Effect } from "effect"

/** Rounds whose figures are thrown away: the first ones run code that is not compiled yet. */
const WARM_UP_ROUNDS = 8
const ROUNDS = 31

/** Rounds that count: as many as `--rounds=…` says, or the default. */
export const rounds = (byDefault: number): number =>
  Number(process.argv.find((flag) => flag.startsWith("--rounds="))?.slice("--rounds=".length) ?? byDefault)

/** The middle of some numbers. */
export const median = (values: ReadonlyArray<number>): number => {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** The value below which a share of the numbers lies (nearest rank). */
export const percentile = (values: ReadonlyArray<number>, share: number): number => {
  const sorted = values.toSorted((a, b) => a - b)
  return sorted[Math.min(sorted.length - 1, Math.ceil(share * sorted.length) - 1)]!
}

/** Does a known amount of work; `work` is how much, in the unit of the figure. */
export interface Sample<E = never, R = never> {
  readonly work: number
  /** What must be there first, outside of the measured time; answers what is measured. */
  readonly prepare: Effect.Effect<Effect.Effect<void, E, R>, E, R>
  /** What has been used up so far of something else than time, such as a processor. */
  readonly spent?: (() => number) | undefined
}

/** Medians; `ratio` is the median of the rounds' own ratios. */
export interface Medians {
  readonly figure: number
  readonly ceiling: number
  readonly ratio: number
}

/** Work a second, and what was spent on each unit of it where both samples tell. */
export interface Comparison extends Medians {
  readonly spent: Medians | undefined
}

interface Measured {
  readonly perSecond: number
  readonly spent: number | undefined
}

const measure = <E, R>({ work, prepare, spent }: Sample<E, R>): Effect.Effect<Measured, E, R> =>
  Effect.gen(function* () {
    const run = yield* prepare
    const before = spent?.()
    const start = performance.now()
    yield* run
    const perSecond = work / ((performance.now() - start) / 1_000)
    return { perSecond, spent: before === undefined ? undefined : (spent!() - before) / work }
  })

const mediansOf = (figures: ReadonlyArray<number>, ceilings: ReadonlyArray<number>): Medians => ({
  figure: median(figures),
  ceiling: median(ceilings),
  ratio: median(figures.map((figure, round) => figure / ceilings[round]!)),
})

/** Runs both in turns and compares them. Which one goes first alternates. */
export const compare = <E1, R1, E2, R2>(
  ours: Sample<E1, R1>,
  raw: Sample<E2, R2>,
): Effect.Effect<Comparison, E1 | E2, R1 | R2> =>
  Effect.gen(function* () {
    const figures: Array<Measured> = []
    const ceilings: Array<Measured> = []
    for (let round = -WARM_UP_ROUNDS; round < rounds(ROUNDS); round++) {
      let figure: Measured
      let ceiling: Measured
      if (round % 2 === 0) {
        figure = yield* measure(ours)
        ceiling = yield* measure(raw)
      } else {
        ceiling = yield* measure(raw)
        figure = yield* measure(ours)
      }
      if (round < 0) continue
      figures.push(figure)
      ceilings.push(ceiling)
    }
    const spentBy = (measured: ReadonlyArray<Measured>) =>
      measured.flatMap(({ spent }) => (spent === undefined ? [] : [spent]))
    const [mine, theirs] = [spentBy(figures), spentBy(ceilings)]
    return {
      ...mediansOf(
        figures.map(({ perSecond }) => perSecond),
        ceilings.map(({ perSecond }) => perSecond),
      ),
      spent: mine.length === theirs.length && mine.length > 0 ? mediansOf(mine, theirs) : undefined,
    }
  })
