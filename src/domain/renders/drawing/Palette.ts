/**
 * The colour sets compositions are drawn with: named themes, each made by hand to work on its own, and the rules by
 * which a caller's own colours replace parts of one without making text unreadable.
 */
import { Schema } from "effect"
import { contrast, HexColor, mix, mostReadable } from "./Color.ts"

/** The colours one frame is drawn with. All `#rrggbb`. */
export interface Palette {
  readonly background: string
  /** A step away from the background: panels, tracks, large quiet shapes. */
  readonly surface: string
  readonly text: string
  /** For secondary text; at least 3:1 against the background. */
  readonly muted: string
  readonly accent: string
  /** Text on top of the accent colour. */
  readonly onAccent: string
  /** Distinct colours for series, in order of use. */
  readonly series: ReadonlyArray<string>
}

const THEMES = {
  midnight: {
    background: "#0d1226",
    surface: "#1b2344",
    text: "#f6f4ee",
    muted: "#9aa4cf",
    accent: "#ffb545",
    series: [
      "#ffb545",
      "#6c8cff",
      "#ff6f61",
      "#3fd0b0",
      "#c38bff",
      "#ffd97a",
      "#4fb3ff",
      "#ff93c0",
      "#9bd65c",
      "#8fa3d9",
    ],
  },
  paper: {
    background: "#f5efe3",
    surface: "#e9dfcc",
    text: "#211d18",
    muted: "#7b7163",
    accent: "#e2452a",
    series: [
      "#e2452a",
      "#1f5673",
      "#e8a125",
      "#3b7d5c",
      "#7b4b94",
      "#c96f4a",
      "#2c8c99",
      "#b23a6b",
      "#7d8a2e",
      "#5b5f97",
    ],
  },
  forest: {
    background: "#0f2a22",
    surface: "#1b3d32",
    text: "#f3f3e4",
    muted: "#9dbcae",
    accent: "#d4f26a",
    series: [
      "#d4f26a",
      "#5ec4a1",
      "#f2a65a",
      "#8fc7ff",
      "#f27d72",
      "#b6a1f0",
      "#f2d16b",
      "#63b36b",
      "#e59ac4",
      "#9fb8a8",
    ],
  },
  cobalt: {
    background: "#2438e8",
    surface: "#3d50f4",
    text: "#ffffff",
    muted: "#cfd5ff",
    accent: "#ffe05c",
    series: [
      "#ffe05c",
      "#ff8fab",
      "#7df0d2",
      "#ffb36b",
      "#b9c4ff",
      "#ff6b5e",
      "#9be15d",
      "#e3a6ff",
      "#6fd6ff",
      "#ffffff",
    ],
  },
  coral: {
    background: "#ff6446",
    surface: "#ff8063",
    text: "#2a1044",
    muted: "#6b1d42",
    accent: "#fff1d6",
    series: [
      "#fff1d6",
      "#2a1044",
      "#ffc24a",
      "#7a1f5c",
      "#ffd9cf",
      "#1f5f6b",
      "#ffe98a",
      "#a82418",
      "#5a3fa0",
      "#ffffff",
    ],
  },
  mono: {
    background: "#111113",
    surface: "#232327",
    text: "#fafafa",
    muted: "#a1a1aa",
    accent: "#fafafa",
    series: [
      "#fafafa",
      "#b9b9c0",
      "#8a8a94",
      "#dcdce2",
      "#6c6c76",
      "#a1a1aa",
      "#cfcfd6",
      "#7b7b85",
      "#eeeeee",
      "#95959f",
    ],
  },
} as const

const THEME_NAMES = ["midnight", "paper", "forest", "cobalt", "coral", "mono"] as const

/** The name of a built-in colour set. */
const Theme = Schema.Literals(THEME_NAMES).annotate({
  description: "A built-in colour set (default midnight).",
})

/** Colours that replace parts of the theme. */
const ColorOverrides = Schema.Struct({
  background: Schema.optionalKey(HexColor),
  text: Schema.optionalKey(HexColor),
  accent: Schema.optionalKey(HexColor),
}).annotate({ description: "Colours that replace those of the theme." })

/** The two props by which every composition lets its colours be chosen. */
export const colorProps = {
  theme: Schema.optionalKey(Theme),
  colors: Schema.optionalKey(ColorOverrides),
}

/** Least contrast of body text before it is replaced by black or white (WCAG AA for large text). */
const TEXT_CONTRAST_MIN = 3

/** The palette for a theme with the caller's colours applied; text that would not be readable is replaced. */
export const resolvePalette = (props: {
  readonly theme?: typeof Theme.Type
  readonly colors?: typeof ColorOverrides.Type
}): Palette => {
  const theme = THEMES[props.theme ?? "midnight"]
  const background = props.colors?.background ?? theme.background
  const wanted = props.colors?.text ?? theme.text
  const text =
    contrast(background, wanted) >= TEXT_CONTRAST_MIN
      ? wanted
      : mostReadable(background, ["#111111", "#ffffff"])
  const accent = props.colors?.accent ?? theme.accent
  return {
    background,
    surface: props.colors?.background === undefined ? theme.surface : mix(background, text, 0.12),
    text,
    muted: text === theme.text && background === theme.background ? theme.muted : mix(text, background, 0.34),
    accent,
    onAccent: mostReadable(accent, [theme.background, "#111111", "#ffffff"]),
    series: props.colors?.accent === undefined ? theme.series : [accent, ...theme.series],
  }
}
