/**
 * A bar chart race: series grow and overtake each other through time, with the period set large behind them.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"
import { Schema } from "effect"
import { Composition, type Frame } from "../Composition.ts"
import { fade, HexColor, mix } from "../drawing/Color.ts"
import { clamp, during, glide, settle } from "../drawing/Easing.ts"
import type { TextStyle } from "../drawing/Fonts.ts"
import { type Box, fillFrame, isPortrait, safeArea, unitOf } from "../drawing/Layout.ts"
import { colorProps, type Palette, resolvePalette } from "../drawing/Palette.ts"
import { smoothRanksAt, ticksUpTo, valueAt } from "../drawing/RaceOrder.ts"
import { CAP_HEIGHT, drawText, fitText, oneLine, widthInEm } from "../drawing/Typography.ts"

const SERIES_MAX = 40
const PERIODS_MAX = 300
const BARS_DEFAULT = 8
const PERIOD_DEFAULT_SEC = 1.2
/** Held before the race starts and after it ends. */
const INTRO_SEC = 0.9
const OUTRO_SEC = 1.8

const Amount = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1e12 }))

const oneValueEach = Schema.makeFilter(
  (props: {
    readonly periods: ReadonlyArray<string>
    readonly series: ReadonlyArray<{ values: ReadonlyArray<number> }>
  }) =>
    props.series.flatMap((series, index) =>
      series.values.length === props.periods.length
        ? []
        : [
            {
              path: ["series", index, "values"],
              issue: `must have one value for each of the ${props.periods.length} periods`,
            },
          ],
    ),
)

const Props = Schema.Struct({
  title: Schema.String.check(Schema.isBetweenLength(1, 120)),
  subtitle: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(1, 160))),
  source: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(1, 120))),
  periods: Schema.Array(Schema.String.check(Schema.isBetweenLength(1, 24)))
    .check(Schema.isBetweenLength(2, PERIODS_MAX))
    .annotate({ description: "Labels of the points in time, in order." }),
  series: Schema.Array(
    Schema.Struct({
      name: Schema.String.check(Schema.isBetweenLength(1, 48)),
      color: Schema.optionalKey(HexColor),
      values: Schema.Array(Amount).annotate({ description: "One for each period." }),
    }),
  ).check(Schema.isBetweenLength(1, SERIES_MAX)),
  bars: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 15 })).annotate({
      description: "Bars shown (default 8).",
    }),
  ),
  value_prefix: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(6))),
  value_suffix: Schema.optionalKey(Schema.String.check(Schema.isMaxLength(12))),
  decimals: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 3 }))),
  period_duration_sec: Schema.optionalKey(
    Schema.Finite.check(Schema.isBetween({ minimum: 0.1, maximum: 10 })).annotate({
      description: "Default 1.2.",
    }),
  ),
  ...colorProps,
}).check(oneValueEach)
type Props = typeof Props.Type

const TITLE: TextStyle = { weight: 800, cut: "display", tracking: -0.028 }
const SUBTITLE: TextStyle = { weight: 500, cut: "text", tracking: -0.01 }
const NAME: TextStyle = { weight: 700, cut: "text", tracking: -0.01 }
const VALUE: TextStyle = { weight: 600, cut: "text", tracking: -0.005 }
const TICK: TextStyle = { weight: 500, cut: "text", tracking: 0 }
const PERIOD: TextStyle = { weight: 800, cut: "display", tracking: -0.03 }

const periodDuration = (props: Props): number => props.period_duration_sec ?? PERIOD_DEFAULT_SEC
const raceDuration = (props: Props): number => (props.periods.length - 1) * periodDuration(props)

const formatters = new Map<string, Intl.NumberFormat>()
const formatValue = (value: number, decimals: number): string => {
  const compact = value >= 1e6
  const key = `${decimals} ${compact}`
  const format =
    formatters.get(key) ??
    new Intl.NumberFormat("en", {
      notation: compact ? "compact" : "standard",
      minimumFractionDigits: compact ? 1 : decimals,
      maximumFractionDigits: compact ? 1 : decimals,
    })
  formatters.set(key, format)
  return format.format(value)
}

/** Draws digits in cells of equal width, so that a running number does not tremble. Answers its width in pixels. */
const drawNumber = (
  ctx: SKRSContext2D,
  text: string,
  style: TextStyle,
  size: number,
  at: { readonly x: number; readonly top: number; readonly color: string; readonly align?: "right" },
): void => {
  const digit = Math.max(...Array.from("0123456789", (each) => widthInEm(each, style))) * size * 0.96
  const cells = Array.from(text, (letter) => {
    const width = widthInEm(letter, style) * size
    return { letter, width, cell: (/\d/u.test(letter) ? digit : width) + style.tracking * size }
  })
  let x = at.align === "right" ? at.x - cells.reduce((sum, { cell }) => sum + cell, 0) : at.x
  for (const { cell, letter, width } of cells) {
    if (letter.trim() !== "") {
      drawText(ctx, oneLine(letter, style, size), { x: x + (cell - width) / 2, top: at.top, color: at.color })
    }
    x += letter.trim() === "" ? size * 0.26 : cell
  }
}

/** Draws the heading and answers what is left below it. */
const drawHeading = (ctx: SKRSContext2D, frame: Frame, props: Props, palette: Palette): Box => {
  const unit = unitOf(frame)
  const area = safeArea(frame)
  const portrait = isPortrait(frame)
  let top = area.y
  const title = fitText(props.title, {
    style: TITLE,
    maxWidth: area.width,
    maxHeight: unit * (portrait ? 26 : 14),
    maxLines: portrait ? 3 : 2,
    maxSize: unit * (portrait ? 9 : 6.8),
    minSize: unit * 3.4,
    leading: 1.06,
  })
  drawText(ctx, title, { x: area.x - title.size * 0.04, top, color: palette.text })
  top += title.height
  if (props.subtitle !== undefined) {
    const subtitle = fitText(props.subtitle, {
      style: SUBTITLE,
      maxWidth: area.width,
      maxHeight: unit * 9,
      maxLines: 2,
      maxSize: unit * (portrait ? 3.7 : 3.1),
      minSize: unit * 2.2,
      leading: 1.34,
    })
    top += unit * (portrait ? 4.6 : 3.6)
    drawText(ctx, subtitle, { x: area.x, top, color: palette.muted })
    top += subtitle.height
  }
  let bottom = area.y + area.height
  if (props.source !== undefined) {
    const source = oneLine(props.source, TICK, unit * 2.1, area.width * (portrait ? 1 : 0.6))
    drawText(ctx, source, { x: area.x, top: bottom - source.height, color: palette.muted })
    bottom -= source.height + unit * 4
  }
  top += unit * (portrait ? 9 : 7.5)
  return { x: area.x, y: top, width: area.width, height: bottom - top }
}

const drawPeriod = (
  ctx: SKRSContext2D,
  frame: Frame,
  props: Props,
  palette: Palette,
  moment: number,
): void => {
  const unit = unitOf(frame)
  const area = safeArea(frame)
  const label = props.periods[Math.min(props.periods.length - 1, Math.floor(moment + 0.5))] ?? ""
  const size = Math.min(
    unit * 21,
    (area.width * 0.62) / Math.max(1, widthInEm(label.replaceAll(/\d/gu, "0"), PERIOD)),
  )
  drawNumber(ctx, label, PERIOD, size, {
    x: area.x + area.width,
    top: area.y + area.height - size * CAP_HEIGHT,
    color: mix(palette.background, palette.muted, 0.36),
    align: "right",
  })
}

const draw = (ctx: SKRSContext2D, frame: Frame, props: Props): void => {
  const palette = resolvePalette(props)
  const unit = unitOf(frame)
  const portrait = isPortrait(frame)
  fillFrame(ctx, frame, palette.background)
  const moment = clamp((frame.time - INTRO_SEC) / periodDuration(props), 0, props.periods.length - 1)
  const plot = drawHeading(ctx, frame, props, palette)
  drawPeriod(ctx, frame, props, palette, moment)

  const bars = Math.min(props.bars ?? BARS_DEFAULT, props.series.length)
  const slot = Math.min(plot.height / bars, unit * (portrait ? 17 : 11))
  const nameSize = Math.min(unit * (portrait ? 3.4 : 3.2), slot * (portrait ? 0.26 : 0.36))
  const nameWidths = props.series.map((series) => widthInEm(series.name, NAME) * nameSize)
  // Landscape: names in a column on the left. Portrait: each above its bar, which then has the whole width.
  const column = portrait ? 0 : Math.min(plot.width * 0.28, Math.max(...nameWidths) + unit * 2.4)
  const values = props.series.map((series) => valueAt(series, moment))
  const longest = Math.max(...props.series.flatMap((series) => series.values))
  const label = (value: number) =>
    `${props.value_prefix ?? ""}${formatValue(value, props.decimals ?? 0)}${props.value_suffix ?? ""}`
  const valueSize = nameSize * 1.02
  const valueRoom = widthInEm(label(longest).replaceAll(/\d/gu, "0"), VALUE) * valueSize + unit * 2
  const room = plot.width - column - valueRoom
  const top = Math.max(...values) || 1
  const left = plot.x + column

  for (const tick of ticksUpTo(top, portrait ? 3 : 5)) {
    const x = left + (tick / top) * room
    ctx.fillStyle = fade(palette.text, 0.1)
    ctx.fillRect(x - unit * 0.07, plot.y - unit * 2, unit * 0.14, slot * bars + unit * 2)
    const text = oneLine(formatValue(tick, 0), TICK, unit * 2)
    drawText(ctx, text, { x, top: plot.y - unit * 4.4, align: "center", color: fade(palette.text, 0.45) })
  }

  const ranks = smoothRanksAt(props.series, moment)
  const order = props.series.map((_, index) => index).sort((a, b) => (ranks[b] ?? 0) - (ranks[a] ?? 0))
  ctx.save()
  ctx.beginPath()
  ctx.rect(0, plot.y - unit * 2, frame.width, slot * bars + unit * 2)
  ctx.clip()
  for (const index of order) {
    const rank = ranks[index] ?? 0
    const series = props.series[index]
    if (series === undefined || rank > bars) continue
    const enter = settle(during(frame.time, 0.1 + Math.min(rank, bars) * 0.05, 0.75))
    ctx.globalAlpha = clamp(bars - rank) * clamp(enter * 2)
    const y = plot.y + rank * slot
    const barTop = y + (portrait ? nameSize * CAP_HEIGHT + slot * 0.15 : slot * 0.13)
    const height = portrait ? slot * 0.46 : slot * 0.74
    const width = Math.max(height * 0.12, ((values[index] ?? 0) / top) * room * glide(enter))
    const color = series.color ?? palette.series[index % palette.series.length] ?? palette.accent
    ctx.fillStyle = color
    ctx.beginPath()
    const corner = Math.min(height * 0.2, width / 2)
    ctx.roundRect(left, barTop, width, height, portrait ? corner : [0, corner, corner, 0])
    ctx.fill()

    const inBar = oneLine(series.name, NAME, nameSize, portrait ? plot.width * 0.8 : column - unit * 2)
    drawText(ctx, inBar, {
      x: portrait ? left : left - unit * 1.6,
      top: portrait ? y : barTop + height / 2 - inBar.height / 2,
      align: portrait ? "left" : "right",
      color: palette.text,
    })
    drawNumber(ctx, label((values[index] ?? 0) * enter), VALUE, valueSize, {
      x: left + width + unit * 1.4,
      top: barTop + height / 2 - (valueSize * CAP_HEIGHT) / 2,
      color: mix(palette.background, palette.text, 0.88),
    })
  }
  ctx.restore()
  if (portrait) return
  ctx.fillStyle = fade(palette.text, 0.8)
  ctx.fillRect(left - unit * 0.12, plot.y - unit * 0.4, unit * 0.24, slot * bars)
}

const hours = Array.from({ length: 13 }, (_, hour) => `${String((18 + hour) % 24).padStart(2, "0")}:00`)

export const BarChartRace = Composition.make({
  id: "BarChartRace",
  title: "Bar chart race",
  description: "Series that grow and overtake each other through time, with the period shown large.",
  props: Props,
  exampleProps: {
    title: "What the night shift drinks",
    subtitle: "Cups served since six in the evening",
    source: "The Night Owl café, one Friday",
    periods: hours,
    series: [
      { name: "Espresso", values: [4, 12, 25, 41, 60, 84, 112, 149, 190, 231, 262, 290, 312] },
      { name: "Flat white", values: [9, 24, 43, 62, 80, 96, 110, 121, 131, 142, 160, 189, 231] },
      { name: "Chamomile", values: [7, 19, 36, 58, 79, 93, 101, 106, 110, 113, 117, 121, 125] },
      { name: "Cold brew", values: [2, 6, 13, 26, 46, 71, 99, 131, 160, 184, 201, 214, 223] },
      { name: "Hot chocolate", values: [11, 29, 48, 64, 76, 84, 90, 94, 97, 99, 101, 104, 108] },
      { name: "Matcha", values: [3, 8, 14, 22, 31, 42, 54, 66, 79, 95, 114, 138, 169] },
      { name: "Cappuccino", values: [8, 18, 29, 38, 45, 51, 56, 60, 66, 77, 101, 146, 208] },
      { name: "Mint tea", values: [6, 15, 24, 33, 44, 52, 61, 69, 74, 79, 85, 90, 96] },
      { name: "Decaf", values: [5, 13, 19, 23, 26, 29, 31, 33, 34, 36, 38, 40, 43] },
    ],
    theme: "paper" as const,
  },
  defaultWidth: 1080,
  defaultHeight: 1920,
  defaultFps: 30,
  durationInFrames: (props, fps) => (INTRO_SEC + raceDuration(props) + OUTRO_SEC) * fps,
  posterTime: (props) => INTRO_SEC + raceDuration(props) * 0.68,
  draw,
})
