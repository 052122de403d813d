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
}

/** Medians per second; `ratio` is the median of the rounds' own ratios. */
export interface Comparison {
  readonly figure: number
  readonly ceiling: number
  readonly ratio: number
}

const perSecond = <E, R>({ work, prepare }: Sample<E, R>): Effect.Effect<number, E, R> =>
  Effect.gen(function* () {
    const run = yield* prepare
    const start = performance.now()
    yield* run
    return work / ((performance.now() - start) / 1_000)
  })

/** Runs both in turns and compares them. Which one goes first alternates. */
export const compare = <E1, R1, E2, R2>(
  ours: Sample<E1, R1>,
  raw: Sample<E2, R2>,
): Effect.Effect<Comparison, E1 | E2, R1 | R2> =>
  Effect.gen(function* () {
    const figures: Array<number> = []
    const ceilings: Array<number> = []
    for (let round = -WARM_UP_ROUNDS; round < rounds(ROUNDS); round++) {
      let figure: number
      let ceiling: number
      if (round % 2 === 0) {
        figure = yield* perSecond(ours)
        ceiling = yield* perSecond(raw)
      } else {
        ceiling = yield* perSecond(raw)
        figure = yield* perSecond(ours)
      }
      if (round < 0) continue
      figures.push(figure)
      ceilings.push(ceiling)
    }
    return {
      figure: median(figures),
      ceiling: median(ceilings),
      ratio: median(figures.map((figure, round) => figure / ceilings[round]!)),
    }
  })
