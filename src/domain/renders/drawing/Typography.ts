/**
 * Setting text: measuring, breaking into balanced lines, fitting a box, drawing from the cap height.
 *
 * Widths are measured once at a reference size and scaled, because Inter is unhinted and scales linearly; fitting a
 * paragraph is then arithmetic and costs the same in every frame.
 */
import { createCanvas, type SKRSContext2D } from "@napi-rs/canvas"
import { setFont, type TextStyle } from "./Fonts.ts"

/** Height of a capital letter in em; blocks are placed by it, so that optical and computed edges agree. */
export const CAP_HEIGHT = 0.727
/** Depth of letters such as g below the baseline, in em. */
export const DESCENT = 0.21

const REFERENCE_SIZE = 100
/** Distinct runs of text remembered; the least recently measured is forgotten first. */
const MEASURED_MAX = 4_096
const measured = new Map<string, number>()
const ruler = createCanvas(1, 1).getContext("2d")
const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" })
const lettersOf = (text: string): Array<string> =>
  Array.from(graphemes.segment(text), ({ segment }) => segment)

/** The width of a run of text in em, without the tracking after its last letter. */
export const widthInEm = (text: string, style: TextStyle): number => {
  const key = `${style.weight} ${style.cut} ${style.tracking} ${style.wordSpacing ?? 0} ${text}`
  const known = measured.get(key)
  if (known !== undefined) return known
  setFont(ruler, style, REFERENCE_SIZE)
  const width = Math.max(0, ruler.measureText(text).width / REFERENCE_SIZE - style.tracking)
  if (measured.size >= MEASURED_MAX) {
    for (const oldest of measured.keys()) {
      measured.delete(oldest)
      break
    }
  }
  measured.set(key, width)
  return width
}

/** Lines of text set at one size. Pixels. */
export interface TextBlock {
  readonly style: TextStyle
  readonly size: number
  readonly lines: ReadonlyArray<{ readonly text: string; readonly width: number }>
  readonly lineHeight: number
  /** Of the longest line. */
  readonly width: number
  /** From the cap height of the first line to the baseline of the last. */
  readonly height: number
}

const greedyLines = (words: ReadonlyArray<string>, style: TextStyle, width: number): Array<string> => {
  const lines: Array<string> = []
  let line = ""
  for (const word of words) {
    const longer = line === "" ? word : `${line} ${word}`
    if (line !== "" && widthInEm(longer, style) > width) {
      lines.push(line)
      line = word
    } else line = longer
  }
  return line === "" ? lines : [...lines, line]
}

/** Splits words that alone are wider than a line between letters; also what breaks text of scripts without spaces. */
const breakable = (text: string, style: TextStyle, width: number): Array<string> => {
  const parts: Array<string> = []
  for (const word of text.split(/\s+/u)) {
    let part = ""
    const pieces = widthInEm(word, style) <= width ? [word] : lettersOf(word)
    for (const piece of pieces) {
      if (part !== "" && widthInEm(part + piece, style) > width) {
        parts.push(part)
        part = piece
      } else part += piece
    }
    if (part !== "") parts.push(part)
  }
  return parts
}

/** Lines no wider than `width` em, as even in length as the least number of lines allows. */
const balancedLines = (text: string, style: TextStyle, width: number): Array<string> => {
  const words = breakable(text, style, width)
  const lines = greedyLines(words, style, width)
  if (lines.length < 2) return lines
  let [low, high] = [width / 2, width]
  for (let step = 0; step < 8; step++) {
    const middle = (low + high) / 2
    if (greedyLines(words, style, middle).length <= lines.length) high = middle
    else low = middle
  }
  return greedyLines(words, style, high)
}

const ellipsized = (text: string, style: TextStyle, width: number): string => {
  const letters = lettersOf(text)
  while (letters.length > 1 && widthInEm(`${letters.join("").trimEnd()}…`, style) > width) letters.pop()
  return `${letters.join("").trimEnd()}…`
}

const blockOf = (
  lines: ReadonlyArray<string>,
  style: TextStyle,
  size: number,
  leading: number,
): TextBlock => {
  const sized = lines.map((text) => ({ text, width: widthInEm(text, style) * size }))
  const lineHeight = size * leading
  return {
    style,
    size,
    lines: sized,
    lineHeight,
    width: Math.max(0, ...sized.map((line) => line.width)),
    height: size * CAP_HEIGHT + lineHeight * Math.max(0, lines.length - 1),
  }
}

/** What a text must fit into. Pixels; `leading` is the line distance in em. */
export interface Fit {
  readonly style: TextStyle
  readonly maxWidth: number
  readonly maxHeight: number
  readonly maxLines: number
  readonly maxSize: number
  readonly minSize: number
  readonly leading: number
}

/** A hair less than the whole width, so that rounding does not break a word that just fits. */
const WORD_ROOM = 0.9999

/** Sets `text` as large as the box allows, in balanced lines; at the least size what is left over is cut with an ellipsis. */
export const fitText = (text: string, fit: Fit): TextBlock => {
  const longestWord = Math.max(0.01, ...text.split(/\s+/u).map((word) => widthInEm(word, fit.style)))
  const at = (size: number) =>
    blockOf(balancedLines(text, fit.style, fit.maxWidth / size), fit.style, size, fit.leading)
  const fits = (block: TextBlock) => block.lines.length <= fit.maxLines && block.height <= fit.maxHeight
  // Shrink before breaking inside a word.
  const wordSize = Math.max(fit.minSize, Math.min(fit.maxSize, (fit.maxWidth / longestWord) * WORD_ROOM))
  const largest = at(wordSize)
  if (fits(largest)) return largest
  let [low, high] = [fit.minSize, wordSize]
  let best: TextBlock | undefined
  for (let step = 0; step < 10; step++) {
    const middle = (low + high) / 2
    const block = at(middle)
    if (fits(block)) {
      best = block
      low = middle
    } else high = middle
  }
  if (best !== undefined) return best
  const smallest = at(fit.minSize)
  if (fits(smallest)) return smallest
  const width = fit.maxWidth / fit.minSize
  const lines = greedyLines(breakable(text, fit.style, width), fit.style, width)
  const rows = 1 + Math.floor((fit.maxHeight / fit.minSize - CAP_HEIGHT) / fit.leading)
  const kept = lines.slice(0, Math.max(1, Math.min(fit.maxLines, rows)))
  if (kept.length < lines.length) {
    kept[kept.length - 1] = ellipsized(kept.at(-1) ?? "", fit.style, width)
  }
  return blockOf(kept, fit.style, fit.minSize, fit.leading)
}

/** One line at a given size, cut with an ellipsis when wider than `maxWidth` pixels. */
export const oneLine = (text: string, style: TextStyle, size: number, maxWidth = Infinity): TextBlock => {
  const flat = text.replaceAll(/\s+/gu, " ").trim()
  const fits = widthInEm(flat, style) * size <= maxWidth
  return blockOf([fits ? flat : ellipsized(flat, style, maxWidth / size)], style, size, 1)
}

/** Where each line goes and how it is drawn. */
export interface Placement {
  readonly x: number
  /** Of the cap height of the first line. */
  readonly top: number
  readonly align?: "left" | "center" | "right"
  readonly color: string
  /** How far line `index` has been revealed, 0..1: it rises out of its own baseline. */
  readonly reveal?: (index: number) => number
}

/** Draws a block. */
export const drawText = (ctx: SKRSContext2D, block: TextBlock, placement: Placement): void => {
  ctx.save()
  setFont(ctx, block.style, block.size)
  ctx.textBaseline = "alphabetic"
  ctx.textAlign = "left"
  ctx.fillStyle = placement.color
  for (const [index, line] of block.lines.entries()) {
    const shown = placement.reveal?.(index) ?? 1
    if (shown <= 0) continue
    const share = placement.align === "center" ? 0.5 : placement.align === "right" ? 1 : 0
    const x = placement.x - line.width * share
    const baseline = placement.top + block.size * CAP_HEIGHT + block.lineHeight * index
    if (shown >= 1) {
      ctx.fillText(line.text, x, baseline)
      continue
    }
    const above = block.size * 1.02
    const below = block.size * (DESCENT + 0.04)
    ctx.save()
    ctx.beginPath()
    ctx.rect(x - block.size, baseline - above, line.width + block.size * 2, above + below)
    ctx.clip()
    ctx.fillText(line.text, x, baseline + (above + below) * (1 - shown))
    ctx.restore()
  }
  ctx.restore()
}
