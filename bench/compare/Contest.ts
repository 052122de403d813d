/**
 * One discipline of the comparison: everybody in turns, each with as much work as takes it about the same time, medians in
 * the end. Ratios are taken round by round, so that what else happens on the machine hits both sides.
 */
import { Effect } from "effect"
import type { Figure } from "../support/Figure.ts"
import { median, rounds } from "../support/Rounds.ts"
import type { Contestant } from "./Contestant.ts"

/** Rounds that are thrown away; in them the amount of work is found as well. */
const WARM_UP_ROUNDS = 4
const ROUNDS = 9
/** What a turn should take. */
const TURN_MS = 300
const STEPS_MAX = 512

export interface Contest {
  readonly name: string
  readonly unit: string
  /** Milliseconds, for instance. */
  readonly lessIsMore: boolean
  /** Default: false. */
  readonly isDrain?: boolean
  /** The amount of work is a multiple of it. */
  readonly step: number
  /** Answers the figure. */
  readonly measure: (contestant: Contestant, jobs: number) => Effect.Effect<number>
}

interface Score {
  readonly contestant: Contestant
  steps: number
  readonly figures: Array<number>
}

/** RenderOwl beside each rival. */
export const contest = Effect.fnUntraced(function* (
  { lessIsMore, measure, name, step, unit }: Contest,
  owl: Contestant,
  rivals: ReadonlyArray<Contestant>,
  note: (line: string) => void,
) {
  note(name)
  const scores = [owl, ...rivals].map((contestant): Score => ({ contestant, steps: 1, figures: [] }))
  const count = rounds(ROUNDS)
  for (let round = -WARM_UP_ROUNDS; round < count; round++) {
    // Who goes first changes.
    for (const score of round % 2 === 0 ? scores : scores.toReversed()) {
      const { contestant, steps } = score
      yield* contestant.prepare
      const figure = yield* measure(contestant, steps * step)
      if (round >= 0) score.figures.push(figure)
      else if (!lessIsMore)
        score.steps = Math.min(STEPS_MAX, Math.max(1, Math.round((figure * TURN_MS) / 1_000 / step)))
    }
  }
  const [mine, ...theirs] = scores
  return theirs.map(({ contestant, figures }): Figure => {
    const ratio = median(mine!.figures.map((figure, round) => figure / figures[round]!))
    return {
      name: `${name} · ${contestant.name}, ${contestant.durability}`,
      unit,
      figure: median(mine!.figures),
      ceiling: median(figures),
      ratio,
      budget: `${lessIsMore ? "≤" : "≥"} 1 × rival`,
      ok: lessIsMore ? ratio <= 1 : ratio >= 1,
    }
  })
})
