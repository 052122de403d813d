/**
 * Colours as `#rrggbb` text, and the little arithmetic that a palette needs: mixing, fading and contrast.
 *
 * Mixing happens in OKLab, where equal steps look equal, so midpoints of two strong colours stay clean instead of grey
 * (Ottosson 2020). Contrast is WCAG 2.2 relative luminance.
 */
import { Schema } from "effect"

/** A colour prop: `#` and six hexadecimal digits. */
export const HexColor = Schema.String.check(
  Schema.isPattern(/^#[0-9a-fA-F]{6}$/u, { expected: "a colour such as #1a2b3c" }),
).annotate({ description: "A colour as #rrggbb." })

type Channels = readonly [number, number, number]

const channelsOf = (hex: string): Channels => {
  const value = Number.parseInt(hex.slice(1, 7), 16)
  return [(value >> 16) & 255, (value >> 8) & 255, value & 255]
}

const hexOf = (channels: Channels): string =>
  `#${channels
    .map((channel) =>
      Math.min(255, Math.max(0, Math.round(channel)))
        .toString(16)
        .padStart(2, "0"),
    )
    .join("")}`

const toLinear = (channel: number): number => {
  const c = channel / 255
  return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4
}

const fromLinear = (linear: number): number =>
  255 * (linear <= 0.0031308 ? 12.92 * linear : 1.055 * Math.max(0, linear) ** (1 / 2.4) - 0.055)

const toOklab = (hex: string): Channels => {
  const [r, g, b] = channelsOf(hex).map(toLinear) as unknown as Channels
  const l = Math.cbrt(0.4122214708 * r + 0.5363325363 * g + 0.0514459929 * b)
  const m = Math.cbrt(0.2119034982 * r + 0.6806995451 * g + 0.1073969566 * b)
  const s = Math.cbrt(0.0883024619 * r + 0.2817188376 * g + 0.6299787005 * b)
  return [
    0.2104542553 * l + 0.793617785 * m - 0.0040720468 * s,
    1.9779984951 * l - 2.428592205 * m + 0.4505937099 * s,
    0.0259040371 * l + 0.7827717662 * m - 0.808675766 * s,
  ]
}

const fromOklab = ([lightness, a, b]: Channels): string => {
  const l = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
  const m = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
  const s = (lightness - 0.0894841775 * a - 1.291485548 * b) ** 3
  return hexOf([
    fromLinear(4.0767416621 * l - 3.3077115913 * m + 0.2309699292 * s),
    fromLinear(-1.2684380046 * l + 2.6097574011 * m - 0.3413193965 * s),
    fromLinear(-0.0041960863 * l - 0.7034186147 * m + 1.707614701 * s),
  ])
}

/** The colour `amount` (0..1) of the way from `from` to `to`, mixed in OKLab. */
export const mix = (from: string, to: string, amount: number): string => {
  const [l0, a0, b0] = toOklab(from)
  const [l1, a1, b1] = toOklab(to)
  return fromOklab([l0 + (l1 - l0) * amount, a0 + (a1 - a0) * amount, b0 + (b1 - b0) * amount])
}

/** The colour with an opacity (0..1), as canvas colour text. */
export const fade = (hex: string, opacity: number): string => {
  const [r, g, b] = channelsOf(hex)
  return `rgba(${r}, ${g}, ${b}, ${opacity.toFixed(4)})`
}

/** Relative luminance 0 (black) to 1 (white), WCAG 2.2. */
const luminance = (hex: string): number => {
  const [r, g, b] = channelsOf(hex).map(toLinear) as unknown as Channels
  return 0.2126 * r + 0.7152 * g + 0.0722 * b
}

/** Contrast ratio of two colours, 1 to 21, WCAG 2.2. */
export const contrast = (one: string, other: string): number => {
  const [low, high] = [luminance(one), luminance(other)].sort((a, b) => a - b) as [number, number]
  return (high + 0.05) / (low + 0.05)
}

/** Whichever of `candidates` stands out most against `background`. */
export const mostReadable = (
  background: string,
  candidates: readonly [string, ...ReadonlyArray<string>],
): string =>
  candidates.reduce((best, next) => (contrast(background, next) > contrast(background, best) ? next : best))
