/**
 * Captions for a short video: timed words in large type, a few at a time, the spoken one on a marker that moves with
 * the voice.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"
import { Schema } from "effect"
import { Composition, type Frame } from "../Composition.ts"
import { type Caption, groupWords } from "../drawing/CaptionGrouping.ts"
import { fade, mix } from "../drawing/Color.ts"
import { arrive, during, glide, lerp, overshoot } from "../drawing/Easing.ts"
import { setFont, type TextStyle } from "../drawing/Fonts.ts"
import { frameBox, isPortrait, safeArea, unitOf } from "../drawing/Layout.ts"
import { colorProps, type Palette, resolvePalette } from "../drawing/Palette.ts"
import { paintPicture, Picture, readyPicture } from "../drawing/Picture.ts"
import { CAP_HEIGHT, DESCENT, drawText, fitText, oneLine, widthInEm } from "../drawing/Typography.ts"

/** Words in one video: about ten minutes of quick speech. */
const WORDS_MAX = 2_000
const WORDS_PER_CAPTION_DEFAULT = 4
/** Kept on screen after the last word. */
const TAIL_SEC = 0.9
const SECONDS_MAX = 600

const Time = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: SECONDS_MAX }))

const Word = Schema.Struct({
  text: Schema.String.check(Schema.isBetweenLength(1, 40)),
  start_sec: Time,
  end_sec: Time,
})

const inOrder = Schema.makeFilter((words: ReadonlyArray<typeof Word.Type>) =>
  words.flatMap((word, index) => {
    const before = words[index - 1]
    return [
      ...(word.end_sec < word.start_sec
        ? [{ path: [index, "end_sec"], issue: "must be no earlier than start_sec" }]
        : []),
      ...(before !== undefined && word.start_sec < before.start_sec
        ? [{ path: [index, "start_sec"], issue: "must be no earlier than the word before" }]
        : []),
    ]
  }),
)

const Props = Schema.Struct({
  words: Schema.Array(Word).check(Schema.isBetweenLength(1, WORDS_MAX), inOrder).annotate({
    description: "Words in the order they are spoken.",
  }),
  title: Schema.optionalKey(
    Schema.String.check(Schema.isBetweenLength(1, 80)).annotate({ description: "A small line at the top." }),
  ),
  words_per_caption: Schema.optionalKey(
    Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 8 })).annotate({ description: "Default 4." }),
  ),
  uppercase: Schema.optionalKey(Schema.Boolean),
  position: Schema.optionalKey(
    Schema.Literals(["center", "lower"]).annotate({ description: "Default center; lower for a third." }),
  ),
  background: Schema.optionalKey(Picture),
  ...colorProps,
  duration_sec: Schema.optionalKey(
    Schema.Finite.check(Schema.isBetween({ minimum: 0.5, maximum: SECONDS_MAX })).annotate({
      description: "Default: until shortly after the last word.",
    }),
  ),
})
type Props = typeof Props.Type

const TYPE: TextStyle = { weight: 800, cut: "display", tracking: -0.02, wordSpacing: 0.12 }
const TITLE: TextStyle = { weight: 700, cut: "text", tracking: 0.1 }

/** A word with its place on the frame: `x` its left edge, `top` its cap height. Pixels. */
interface PlacedWord {
  readonly text: string
  readonly start: number
  readonly x: number
  readonly top: number
  readonly width: number
}

interface PlacedCaption {
  readonly words: ReadonlyArray<PlacedWord>
  readonly size: number
  readonly lines: ReadonlyArray<{ readonly text: string; readonly x: number; readonly top: number }>
}

const place = (caption: Caption, frame: Frame, props: Props): PlacedCaption => {
  const area = safeArea(frame)
  const unit = unitOf(frame)
  const portrait = isPortrait(frame)
  const text = caption.words.map((word) =>
    (props.uppercase === true ? word.text.toUpperCase() : word.text).trim(),
  )
  const block = fitText(text.join(" "), {
    style: TYPE,
    maxWidth: area.width - unit * 4,
    maxHeight: frame.height * 0.4,
    maxLines: portrait ? 3 : 2,
    maxSize: unit * (portrait ? 15.5 : 13.5),
    minSize: unit * 5,
    leading: 1.24,
  })
  const centre = frame.height * (props.position === "lower" ? 0.72 : portrait ? 0.56 : 0.52)
  const top = centre - block.height / 2
  const space = widthInEm("n n", TYPE) - 2 * widthInEm("n", TYPE)
  const lines = block.lines.map((line, index) => ({
    text: line.text,
    x: frame.width / 2 - line.width / 2,
    top: top + index * block.lineHeight,
  }))
  const pieces = lines.flatMap((line) => {
    let x = line.x
    return line.text.split(" ").map((piece) => {
      const width = widthInEm(piece, TYPE) * block.size
      const at = { text: piece, x, top: line.top, width }
      x += width + space * block.size
      return at
    })
  })
  // A word broken over two lines makes two pieces of one spoken word.
  let spoken = 0
  let rest = (text[0] ?? "").replaceAll(/\s+/gu, "")
  const words = pieces.map((piece) => {
    if (rest === "") rest = (text[++spoken] ?? "").replaceAll(/\s+/gu, "")
    rest = rest.slice(piece.text.length)
    return Object.assign(piece, { start: caption.words[spoken]?.start_sec ?? caption.start })
  })
  return { words, size: block.size, lines }
}

const MARKER_MOVE_SEC = 0.16

const drawCaption = (
  ctx: SKRSContext2D,
  caption: Caption,
  frame: Frame,
  props: Props,
  palette: Palette,
  shaded: boolean,
): void => {
  const placed = place(caption, frame, props)
  const { size, words } = placed
  const current = Math.max(
    0,
    words.findLastIndex((word) => word.start <= frame.time + 1e-6),
  )
  const word = words[current]
  if (word === undefined) return
  const before = words[current - 1]
  const enter = during(frame.time, caption.start, 0.22)
  const middle = { x: frame.width / 2, y: (words[0]?.top ?? 0) + size }

  ctx.save()
  ctx.translate(middle.x, middle.y)
  const scale = lerp(0.9, 1, overshoot(enter))
  ctx.scale(scale, scale)
  ctx.translate(-middle.x, -middle.y)
  ctx.globalAlpha = arrive(enter * 1.4)

  const moved = before === undefined ? 1 : glide(during(frame.time, word.start, MARKER_MOVE_SEC))
  const sameLine = before !== undefined && before.top === word.top
  const from = sameLine ? before : word
  const grow =
    before === undefined || sameLine ? 1 : lerp(0.6, 1, arrive(during(frame.time, word.start, 0.2)))
  const [padX, padTop, padBottom] = [size * 0.15, size * 0.22, size * (DESCENT + 0.1)]
  const width = (lerp(from.width, word.width, moved) + padX * 2) * grow
  const x = lerp(from.x, word.x, moved) - padX + (lerp(from.width, word.width, moved) + padX * 2 - width) / 2
  const write = (colorOf: (index: number) => string): void => {
    for (const [index, each] of words.entries()) {
      ctx.fillStyle = colorOf(index)
      ctx.fillText(each.text, each.x, each.top + size * CAP_HEIGHT)
    }
  }
  setFont(ctx, TYPE, size)
  ctx.textBaseline = "alphabetic"
  if (shaded) {
    ctx.shadowColor = fade("#000000", 0.5)
    ctx.shadowBlur = size * 0.16
    ctx.shadowOffsetY = size * 0.03
  }
  write((index) => (index > current ? mix(palette.background, palette.text, 0.72) : palette.text))
  ctx.shadowColor = "transparent"
  ctx.fillStyle = palette.accent
  ctx.beginPath()
  ctx.roundRect(x, word.top - padTop, width, size * CAP_HEIGHT + padTop + padBottom, size * 0.2)
  ctx.fill()
  // Letters change colour exactly where the marker covers them, also while it moves.
  ctx.clip()
  write(() => palette.onAccent)
  ctx.restore()
}

const endOfWords = (props: Props): number => Math.max(...props.words.map((word) => word.end_sec))

export const Captions = Composition.make({
  id: "Captions",
  title: "Captions",
  description:
    "Timed words in large type, a few at a time, with the spoken word marked: the look of a short video.",
  props: Props,
  exampleProps: {
    title: "Night owl radio",
    words: [
      { text: "Nobody", start_sec: 0.2, end_sec: 0.6 },
      { text: "tells", start_sec: 0.62, end_sec: 0.85 },
      { text: "you", start_sec: 0.86, end_sec: 1 },
      { text: "this,", start_sec: 1.02, end_sec: 1.4 },
      { text: "but", start_sec: 1.6, end_sec: 1.75 },
      { text: "the", start_sec: 1.76, end_sec: 1.86 },
      { text: "best", start_sec: 1.88, end_sec: 2.2 },
      { text: "ideas", start_sec: 2.22, end_sec: 2.65 },
      { text: "arrive", start_sec: 2.7, end_sec: 3.1 },
      { text: "after", start_sec: 3.12, end_sec: 3.4 },
      { text: "midnight.", start_sec: 3.42, end_sec: 4 },
      { text: "Write", start_sec: 4.5, end_sec: 4.8 },
      { text: "them", start_sec: 4.82, end_sec: 5 },
      { text: "down.", start_sec: 5.02, end_sec: 5.5 },
    ],
    theme: "midnight" as const,
  },
  defaultWidth: 1080,
  defaultHeight: 1920,
  defaultFps: 30,
  durationInFrames: (props, fps) => (props.duration_sec ?? endOfWords(props) + TAIL_SEC) * fps,
  posterTime: (props, duration) => {
    // The last word of the first caption, with the marker at rest on it.
    const [first] = groupWords(props.words, props.words_per_caption ?? WORDS_PER_CAPTION_DEFAULT)
    return Math.min(duration, (first?.words.at(-1)?.start_sec ?? 0) + MARKER_MOVE_SEC + 0.1)
  },
  ready: async (props, span) => {
    const palette = resolvePalette(props)
    const background = props.background ?? {
      kind: "gradient" as const,
      colors: [
        mix(palette.background, palette.surface, 0.35),
        mix(palette.background, palette.series[1] ?? palette.accent, 0.55),
        mix(palette.background, palette.series[4] ?? palette.accent, 0.45),
        palette.background,
      ],
    }
    return {
      palette,
      background: await readyPicture(background, span),
      captions: groupWords(props.words, props.words_per_caption ?? WORDS_PER_CAPTION_DEFAULT),
    }
  },
  draw: (ctx, frame, props, { background, captions, palette }) => {
    const unit = unitOf(frame)
    const area = safeArea(frame)
    paintPicture(ctx, background, frameBox(frame), { time: frame.time })
    if (background.picture.kind === "image") {
      ctx.fillStyle = fade("#000000", 0.28)
      ctx.fillRect(0, 0, frame.width, frame.height)
    }
    if (props.title !== undefined) {
      const title = oneLine(props.title.toUpperCase(), TITLE, unit * 2.5, area.width - unit * 6)
      const left = frame.width / 2 - title.width / 2
      drawText(ctx, title, { x: left + unit * 1.6, top: area.y, color: fade(palette.text, 0.86) })
      ctx.fillStyle = palette.accent
      ctx.beginPath()
      ctx.arc(left - unit * 0.9, area.y + title.height / 2, unit * 0.75, 0, Math.PI * 2)
      ctx.fill()
    }
    const caption = captions.find((each) => frame.time >= each.start - 1e-6 && frame.time < each.end - 1e-6)
    if (caption !== undefined) {
      // A blurred shadow costs as much as the rest of the frame: only where the background may be as bright as the text.
      const shaded = background.picture.kind === "image" || background.picture.kind === "landscape"
      drawCaption(ctx, caption, frame, props, palette, shaded)
    }
  },
})
