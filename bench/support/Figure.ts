/**
 * What a benchmark answers: figures beside the ceiling that was measured in the same run, and the budget of DESIGN 10.
 * Ratios are what counts; the figures themselves belong to the machine.
 */

/** One measured figure. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly figure: number
  /** The same work without RenderOwl, measured in the same run. Null where there is nothing to compare with. */
  readonly ceiling: number | null
  /** `figure / ceiling`, the median over the rounds. */
  readonly ratio: number | null
  /** In words, for people. */
  readonly budget: string | null
  /** Null where there is no budget. */
  readonly ok: boolean | null
}

/** A figure whose budget is a share of the ceiling. */
export const shareOfCeiling = (options: {
  readonly name: string
  readonly unit: string
  readonly figure: number
  readonly ceiling: number
  readonly ratio: number
  readonly atLeast: number | null
}): Figure => ({
  name: options.name,
  unit: options.unit,
  figure: options.figure,
  ceiling: options.ceiling,
  ratio: options.ratio,
  budget: options.atLeast === null ? null : `≥ ${options.atLeast} × ceiling`,
  ok: options.atLeast === null ? null : options.ratio >= options.atLeast,
})

/** A figure whose budget is an absolute maximum. */
export const atMost = (options: {
  readonly name: string
  readonly unit: string
  readonly figure: number
  readonly ceiling: number
  readonly below: number | null
}): Figure => ({
  ...measured(options),
  ceiling: options.ceiling,
  ratio: options.figure / options.ceiling,
})

/** A figure that stands alone. */
export const measured = (options: {
  readonly name: string
  readonly unit: string
  readonly figure: number
  readonly below: number | null
}): Figure => ({
  name: options.name,
  unit: options.unit,
  figure: options.figure,
  ceiling: null,
  ratio: null,
  budget: options.below === null ? null : `< ${options.below} ${options.unit}`,
  ok: options.below === null ? null : options.figure < options.below,
})

/** A figure that must not grow beyond a multiple of another one. */
export const flat = (options: {
  readonly name: string
  readonly unit: string
  readonly figure: number
  readonly ceiling: number
  readonly atMost: number
}): Figure => ({
  ...measured({ ...options, below: null }),
  ceiling: options.ceiling,
  ratio: options.figure / options.ceiling,
  budget: `≤ ${options.atMost} ×`,
  ok: options.figure <= options.atMost * options.ceiling,
})

const number = (value: number): string =>
  value >= 100 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2)

const verdict = ({ ok }: Figure): string => {
  if (ok === null) return ""
  return ok ? "ok" : "MISSED"
}

/** The figures as a table for a terminal; `ceiling` is what stands above the second column. */
export const table = (figures: ReadonlyArray<Figure>, ceiling = "ceiling"): string => {
  const rows = [
    ["", "RenderOwl", ceiling, "unit", "ratio", "budget", ""],
    ...figures.map((figure) => [
      figure.name,
      number(figure.figure),
      figure.ceiling === null ? "" : number(figure.ceiling),
      figure.unit,
      figure.ratio === null ? "" : figure.ratio.toFixed(2),
      figure.budget ?? "",
      verdict(figure),
    ]),
  ]
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  const isNumeric = (column: number) => column === 1 || column === 2 || column === 4
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          isNumeric(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n")
}
