/**
 * The embedded typeface: Inter (SIL Open Font License 1.1), variable in weight and optical size, from its npm package.
 *
 * A fresh machine has no fonts, so nothing here depends on installed ones; those only serve as a fallback for scripts
 * that Inter does not cover (it has Latin, Greek, Cyrillic and Vietnamese).
 */
import { GlobalFonts, type SKRSContext2D } from "@napi-rs/canvas"
import { createRequire } from "node:module"
import { dirname, join } from "node:path"

/** The package ships one file per script; each becomes a family of its own so that the canvas falls back per character. */
const SUBSETS = [
  "latin",
  "latin-ext",
  "greek",
  "greek-ext",
  "cyrillic",
  "cyrillic-ext",
  "vietnamese",
] as const

const familyOf = (subset: string): string => `RenderOwl Inter ${subset}`
const FAMILIES = `${SUBSETS.map((subset) => `"${familyOf(subset)}"`).join(", ")}, sans-serif`

let registered = false

const register = (): void => {
  if (registered) return
  const require = createRequire(import.meta.url)
  const fonts = dirname(require.resolve("@fontsource-variable/inter/package.json"))
  for (const subset of SUBSETS) {
    const path = join(fonts, "files", `inter-${subset}-opsz-normal.woff2`)
    if (GlobalFonts.registerFromPath(path, familyOf(subset)) === null) {
      throw new Error(`The embedded font could not be registered: ${path}`)
    }
  }
  registered = true
}

/** How a run of text is set. Sizes are given where it is drawn; distances are in em. */
export interface TextStyle {
  readonly weight: 400 | 500 | 600 | 700 | 800 | 900
  /** `display` is cut for large sizes (tighter, finer), `text` for small ones. */
  readonly cut: "display" | "text"
  readonly tracking: number
  /** Added to every space, in em. */
  readonly wordSpacing?: number
}

const OPTICAL_SIZE = { display: 32, text: 14 } as const

/** Makes `style` at `size` pixels the context's font. The weight goes through the variable axis only: asking for it in
 * `font` as well makes the canvas embolden the glyphs a second time. */
export const setFont = (ctx: SKRSContext2D, style: TextStyle, size: number): void => {
  register()
  ctx.font = `400 ${size}px ${FAMILIES}`
  ctx.fontVariationSettings = `"wght" ${style.weight}, "opsz" ${OPTICAL_SIZE[style.cut]}`
  ctx.letterSpacing = `${style.tracking * size}px`
  ctx.wordSpacing = `${(style.wordSpacing ?? 0) * size}px`
}
