/**
 * A line chart as SVG, for a page without scripts: what each point says comes up as the title of its place. Colours are
 * those of the page's classes, so that it is read in light and in dark.
 */
import { escape } from "../../security/HtmlText.ts"

const WIDTH = 720
const HEIGHT = 240
const LEFT = 64
const RIGHT = 28
const TOP = 12
const BOTTOM = 32
/** Marks on the axis of values. */
const TICKS = 4
/** Places that have a title of their own; more would be narrower than a pointer. */
const TITLES_MAX = 120

export interface Line {
  readonly name: string
  /** As many as there are places; null where there is nothing to say, and the line is broken. */
  readonly values: ReadonlyArray<number | null>
}

export interface LineChart {
  /** What is seen, for those who cannot. */
  readonly label: string
  /** The name of each place, from left to right. */
  readonly places: ReadonlyArray<string>
  /** Places whose names are written below the axis, by index. */
  readonly marked: ReadonlyArray<number>
  readonly lines: ReadonlyArray<Line>
  readonly format: (value: number) => string
}

/** The chart, with its legend. */
export const lineChart = ({ format, label, lines, marked, places }: LineChart): string => {
  const valueText = (value: number | null | undefined) =>
    typeof value === "number" ? format(value) : "nothing"
  const top = niceTop(Math.max(0, ...lines.flatMap(({ values }) => values.map((value) => value ?? 0))))
  const x = (place: number) =>
    LEFT + (places.length < 2 ? 0.5 : place / (places.length - 1)) * (WIDTH - LEFT - RIGHT)
  const y = (value: number) => HEIGHT - BOTTOM - (value / top) * (HEIGHT - TOP - BOTTOM)
  const grid = Array.from({ length: TICKS + 1 }, (_, tick) => (top / TICKS) * tick).map(
    (value) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(y(value))}" y2="${round(y(value))}"/>` +
      `<text class="tick" x="${LEFT - 8}" y="${round(y(value) + 4)}" text-anchor="end">${escape(format(value))}</text>`,
  )
  const names = marked.map(
    (place) =>
      `<text class="tick" x="${round(x(place))}" y="${HEIGHT - 10}" text-anchor="middle">${escape(places[place] ?? "")}</text>`,
  )
  const drawn = lines.flatMap(({ values }, i) =>
    unbroken(values).map((part) => {
      const points = part.map(({ place, value }) => `${round(x(place))},${round(y(value))}`)
      const [cx, cy] = points[0]!.split(",")
      return points.length === 1
        ? `<circle class="line${i}" cx="${cx}" cy="${cy}" r="2"/>`
        : `<polyline class="line${i}" points="${points.join(" ")}"/>`
    }),
  )
  const step = Math.max(1, Math.ceil(places.length / TITLES_MAX))
  const width = ((WIDTH - LEFT - RIGHT) / Math.max(1, places.length - 1)) * step
  const titles = places.flatMap((name, place) =>
    place % step === 0
      ? [
          `<rect class="place" x="${round(x(place) - width / 2)}" y="${TOP}" width="${round(width)}" height="${HEIGHT - TOP - BOTTOM}"><title>${escape(
            [name, ...lines.map((line) => `${line.name}: ${valueText(line.values[place])}`)].join("\n"),
          )}</title></rect>`,
        ]
      : [],
  )
  const legend = lines.map(
    ({ name }, i) => `<span class="key"><span class="swatch line${i}"></span>${escape(name)}</span>`,
  )
  return [
    `<svg role="img" aria-label="${escape(label)}" viewBox="0 0 ${WIDTH} ${HEIGHT}">`,
    ...grid,
    ...names,
    ...drawn,
    ...titles,
    "</svg>",
    `<p class="legend">${legend.join("")}</p>`,
  ].join("\n")
}

interface Point {
  readonly place: number
  readonly value: number
}

/** The stretches of a line that have values throughout. */
const unbroken = (values: ReadonlyArray<number | null>): ReadonlyArray<ReadonlyArray<Point>> => {
  const parts: Array<Array<Point>> = []
  let isOpen = false
  for (const [place, value] of values.entries()) {
    if (value === null) {
      isOpen = false
      continue
    }
    if (!isOpen) parts.push([])
    isOpen = true
    parts.at(-1)!.push({ place, value })
  }
  return parts
}

/** The next of 1, 2, 4, 5, 8 times a power of ten, so that marks are round numbers. */
const niceTop = (value: number): number => {
  if (value <= 0) return 1
  const power = 10 ** Math.floor(Math.log10(value))
  return power * ([1, 2, 4, 5, 8, 10].find((step) => value <= step * power) ?? 10)
}

const round = (value: number): number => Math.round(value * 10) / 10
