/**
 * A slideshow: full-bleed pictures with a slow camera move, a line or two of text, and bars that show how far it is.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"
import { Schema } from "effect"
import { Composition, type Frame, type Span } from "../Composition.ts"
import { fade } from "../drawing/Color.ts"
import { arrive, clamp, during, glide, settle } from "../drawing/Easing.ts"
import type { TextStyle } from "../drawing/Fonts.ts"
import { frameBox, isPortrait, safeArea, unitOf } from "../drawing/Layout.ts"
import { colorProps, resolvePalette } from "../drawing/Palette.ts"
import { paintPicture, Picture, type ReadyPicture, readyPicture } from "../drawing/Picture.ts"
import { drawText, fitText } from "../drawing/Typography.ts"

const SLIDES_MAX = 60
const SLIDE_DEFAULT_SEC = 3.2
/** How long one picture takes to replace another. */
const CHANGE_SEC = 0.7
/** Room around a picture for the camera to move in. */
const OVERSCAN = 1.14

const Slide = Schema.Struct({
  picture: Picture,
  title: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(1, 80))),
  text: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(1, 200))),
})

const Props = Schema.Struct({
  slides: Schema.Array(Slide).check(Schema.isBetweenLength(1, SLIDES_MAX)),
  slide_duration_sec: Schema.optionalKey(
    Schema.Finite.check(Schema.isBetween({ minimum: 1, maximum: 10 })).annotate({
      description: "Default 3.2.",
    }),
  ),
  transition: Schema.optionalKey(
    Schema.Literals(["wipe", "fade", "push"]).annotate({ description: "How slides change (default wipe)." }),
  ),
  progress: Schema.optionalKey(
    Schema.Boolean.annotate({ description: "Show the progress bars (default true)." }),
  ),
  ...colorProps,
})
type Props = typeof Props.Type

const TITLE: TextStyle = { weight: 800, cut: "display", tracking: -0.026 }
const TEXT: TextStyle = { weight: 500, cut: "text", tracking: -0.01 }

const slideDuration = (props: Props): number => props.slide_duration_sec ?? SLIDE_DEFAULT_SEC

/** Indexes of the slides that a span of frames shows; the others need not be decoded. */
const shownSlides = (props: Props, span: Span): ReadonlyArray<number> => {
  const length = slideDuration(props)
  const first = Math.floor(span.firstFrame / span.fps / length) - 1
  const last = Math.floor((span.firstFrame + span.frames) / span.fps / length)
  return props.slides.map((_, index) => index).filter((index) => index >= first && index <= last)
}

const drawWords = (
  ctx: SKRSContext2D,
  frame: Frame,
  slide: typeof Slide.Type,
  time: number,
  accent: string,
): void => {
  if (slide.title === undefined && slide.text === undefined) return
  const unit = unitOf(frame)
  const area = safeArea(frame)
  const portrait = isPortrait(frame)
  const column = portrait ? area.width : area.width * 0.62
  const white = "#ffffff"
  let bottom = area.y + area.height - (portrait ? 0 : unit * 3)
  if (slide.text !== undefined) {
    const shown = settle(during(time, 0.55, 0.8))
    const text = fitText(slide.text, {
      style: TEXT,
      maxWidth: Math.min(column, unit * 84),
      maxHeight: unit * 24,
      maxLines: 4,
      maxSize: unit * 3.9,
      minSize: unit * 2.6,
      leading: 1.38,
    })
    const top = bottom - text.height + unit * 1.5 * (1 - shown)
    drawText(ctx, text, { x: area.x, top, color: fade(white, 0.88 * shown) })
    bottom -= text.height + unit * 5.4
  }
  if (slide.title !== undefined) {
    const title = fitText(slide.title, {
      style: TITLE,
      maxWidth: column,
      maxHeight: frame.height * 0.34,
      maxLines: 3,
      maxSize: unit * (portrait ? 12.5 : 11.5),
      minSize: unit * 4,
      leading: 1.04,
    })
    const top = bottom - title.height
    drawText(ctx, title, {
      x: area.x - title.size * 0.04,
      top,
      color: white,
      reveal: (index) => arrive(during(time, 0.25 + index * 0.09, 0.9)),
    })
    bottom = top - unit * 4.6
  }
  const drawn = arrive(during(time, 0.15, 0.9))
  ctx.fillStyle = accent
  ctx.fillRect(area.x, bottom - unit * 0.7, unit * 8 * drawn, unit * 0.7)
}

/** Darkens the lower part, so that white text reads on any picture. */
const drawShade = (ctx: SKRSContext2D, frame: Frame): void => {
  const start = frame.height * (isPortrait(frame) ? 0.42 : 0.3)
  const shade = ctx.createLinearGradient(0, start, 0, frame.height)
  for (let stop = 0; stop <= 6; stop++)
    shade.addColorStop(stop / 6, fade("#05070d", 0.78 * (stop / 6) ** 1.5))
  ctx.fillStyle = shade
  ctx.fillRect(0, start, frame.width, frame.height - start)
}

const drawSlide = (
  ctx: SKRSContext2D,
  frame: Frame,
  props: Props,
  pictures: ReadonlyMap<number, ReadyPicture>,
  index: number,
  accent: string,
): void => {
  const slide = props.slides[index]
  const picture = pictures.get(index)
  if (slide === undefined || picture === undefined) return
  const time = frame.time - index * slideDuration(props)
  const through = time / (slideDuration(props) + CHANGE_SEC)
  paintPicture(ctx, picture, frameBox(frame), {
    time: frame.time,
    drift: (through * 2 - 1) * (index % 2 === 0 ? 1 : -1),
  })
  if (slide.title !== undefined || slide.text !== undefined) drawShade(ctx, frame)
  drawWords(ctx, frame, slide, index === 0 ? time : time - CHANGE_SEC * 0.35, accent)
}

const drawProgress = (ctx: SKRSContext2D, frame: Frame, props: Props): void => {
  const unit = unitOf(frame)
  const area = safeArea(frame)
  const count = props.slides.length
  const gap = count > 20 ? unit * 0.5 : unit
  const width = (area.width - gap * (count - 1)) / count
  const y = isPortrait(frame) ? area.y - unit * 4 : area.y - unit * 2.5
  const height = unit * 0.55
  for (let index = 0; index < count; index++) {
    const x = area.x + index * (width + gap)
    const full = clamp(frame.time / slideDuration(props) - index)
    ctx.fillStyle = fade("#ffffff", 0.34)
    ctx.beginPath()
    ctx.roundRect(x, y, width, height, height / 2)
    ctx.fill()
    if (full <= 0) continue
    ctx.fillStyle = "#ffffff"
    ctx.beginPath()
    ctx.roundRect(x, y, Math.max(height, width * full), height, height / 2)
    ctx.fill()
  }
}

export const Slideshow = Composition.make({
  id: "Slideshow",
  title: "Slideshow",
  description:
    "Full-bleed pictures with a slow camera move, a title and a line of text each, and progress bars.",
  props: Props,
  exampleProps: {
    slides: [
      {
        picture: {
          kind: "landscape" as const,
          sky: ["#2d2a78", "#ff9d80"] as const,
          ridge: "#17123d",
          sun: "#ffe6bd",
          seed: 4,
        },
        title: "Leave before dawn",
        text: "The trail is quiet, the air is cold, and the whole valley is yours.",
      },
      {
        picture: {
          kind: "landscape" as const,
          sky: ["#2f7fb8", "#e8f1ea"] as const,
          ridge: "#173f43",
          sun: "#ffffff",
          seed: 21,
        },
        title: "Noon on the high pass",
        text: "Eleven hundred metres up. Bread, cheese, and no signal.",
      },
      {
        picture: {
          kind: "landscape" as const,
          sky: ["#3b1c5a", "#ff6f61"] as const,
          ridge: "#1c0f2b",
          sun: "#ffd08a",
          seed: 33,
        },
        title: "Back by the last light",
        text: "Same path, other colours. We were never in a hurry.",
      },
      {
        picture: { kind: "gradient" as const, colors: ["#2a1a66", "#e0567a", "#6d4be0", "#1a1145"] },
        title: "Where to next?",
      },
    ],
    theme: "midnight" as const,
  },
  defaultWidth: 1080,
  defaultHeight: 1920,
  defaultFps: 30,
  durationInFrames: (props, fps) => props.slides.length * slideDuration(props) * fps,
  posterTime: (props) => slideDuration(props) * 0.75,
  ready: async (props, span) => {
    const size = { width: span.width * OVERSCAN, height: span.height * OVERSCAN }
    const pictures = new Map<number, ReadyPicture>()
    for (const index of shownSlides(props, span)) {
      const slide = props.slides[index]
      if (slide !== undefined) pictures.set(index, await readyPicture(slide.picture, size))
    }
    return pictures
  },
  draw: (ctx, frame, props, pictures) => {
    const { accent } = resolvePalette(props)
    const index = Math.min(props.slides.length - 1, Math.floor(frame.time / slideDuration(props) + 1e-9))
    const change = index === 0 ? 1 : during(frame.time, index * slideDuration(props), CHANGE_SEC)
    if (change >= 1) drawSlide(ctx, frame, props, pictures, index, accent)
    else {
      const moved = glide(change)
      ctx.save()
      if (props.transition === "push") ctx.translate(-frame.width * moved, 0)
      else if (props.transition !== "fade") ctx.translate(-frame.width * 0.22 * moved, 0)
      drawSlide(ctx, frame, props, pictures, index - 1, accent)
      ctx.restore()
      ctx.save()
      if (props.transition === "fade") ctx.globalAlpha = moved
      else {
        ctx.beginPath()
        ctx.rect(frame.width * (1 - moved), 0, frame.width, frame.height)
        ctx.clip()
        ctx.translate(frame.width * (1 - moved) * (props.transition === "push" ? 1 : 0.35), 0)
      }
      drawSlide(ctx, frame, props, pictures, index, accent)
      ctx.restore()
    }
    if (props.progress !== false && props.slides.length > 1) drawProgress(ctx, frame, props)
  },
})
