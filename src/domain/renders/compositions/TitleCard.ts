/**
 * A title card: one large statement, set like an editorial cover, with room for a kicker, a line below and a byline.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"
import { Schema } from "effect"
import { Composition, type Frame } from "../Composition.ts"
import { fade, mix } from "../drawing/Color.ts"
import { arrive, during, settle, sway } from "../drawing/Easing.ts"
import type { TextStyle } from "../drawing/Fonts.ts"
import { fillFrame, isPortrait, safeArea, unitOf } from "../drawing/Layout.ts"
import { colorProps, type Palette, resolvePalette } from "../drawing/Palette.ts"
import { CAP_HEIGHT, drawText, fitText, oneLine } from "../drawing/Typography.ts"

const DURATION_DEFAULT_SEC = 4

const Props = Schema.Struct({
  title: Schema.String.check(Schema.isBetweenLength(1, 160)),
  kicker: Schema.optionalKey(
    Schema.String.check(Schema.isBetweenLength(1, 60)).annotate({
      description: "A few words above the title.",
    }),
  ),
  subtitle: Schema.optionalKey(Schema.String.check(Schema.isBetweenLength(1, 240))),
  byline: Schema.optionalKey(
    Schema.String.check(Schema.isBetweenLength(1, 80)).annotate({
      description: "Who or where; the last line.",
    }),
  ),
  motif: Schema.optionalKey(
    Schema.Literals(["moon", "none"]).annotate({ description: "The shape behind the title (default moon)." }),
  ),
  ...colorProps,
  duration_sec: Schema.optionalKey(
    Schema.Finite.check(Schema.isBetween({ minimum: 0.5, maximum: 60 })).annotate({
      description: "Default 4.",
    }),
  ),
})

const TITLE: TextStyle = { weight: 800, cut: "display", tracking: -0.032 }
const KICKER: TextStyle = { weight: 700, cut: "text", tracking: 0.14 }
const SUBTITLE: TextStyle = { weight: 500, cut: "text", tracking: -0.012 }
const BYLINE: TextStyle = { weight: 600, cut: "text", tracking: 0 }

/** A disc at the edge of the frame with rings around it, like a moon and its halo. */
const drawMoon = (ctx: SKRSContext2D, frame: Frame, palette: Palette): void => {
  const portrait = isPortrait(frame)
  const unit = unitOf(frame)
  const rise = settle(during(frame.time, 0, 1.4))
  const x = frame.width * (portrait ? 0.74 : 0.83) + unit * 0.8 * sway(frame.time, 13)
  const y =
    frame.height * (portrait ? 0.255 : 0.45) + unit * (9 * (1 - rise) + 0.8 * sway(frame.time, 17, 0.25))
  const radius = unit * (portrait ? 27 : 25)
  const breath = 1 + 0.012 * sway(frame.time, 9)
  for (let ring = 6; ring >= 1; ring--) {
    const shown = settle(during(frame.time, 0.1 + ring * 0.09, 1.3))
    ctx.strokeStyle = mix(palette.background, palette.surface, 1.15 - ring * 0.14)
    ctx.lineWidth = unit * (1.5 - ring * 0.16)
    ctx.globalAlpha = shown
    ctx.beginPath()
    ctx.arc(x, y, (radius + ring ** 1.22 * unit * 7.4) * (0.86 + 0.14 * shown) * breath, 0, Math.PI * 2)
    ctx.stroke()
  }
  ctx.globalAlpha = 1
  const disc = ctx.createLinearGradient(x - radius, y - radius, x + radius, y + radius)
  disc.addColorStop(0, mix(palette.accent, "#ffffff", 0.1))
  disc.addColorStop(1, mix(palette.accent, "#000000", 0.1))
  ctx.fillStyle = disc
  ctx.beginPath()
  ctx.arc(x, y, radius * arrive(during(frame.time, 0, 1.1)), 0, Math.PI * 2)
  ctx.fill()
}

const draw = (ctx: SKRSContext2D, frame: Frame, props: typeof Props.Type): void => {
  const palette = resolvePalette(props)
  const unit = unitOf(frame)
  const area = safeArea(frame)
  const portrait = isPortrait(frame)
  const withMoon = props.motif !== "none"
  fillFrame(ctx, frame, palette.background)
  if (withMoon) drawMoon(ctx, frame, palette)

  const column = portrait || !withMoon ? area.width : area.width * 0.66
  const appear = (start: number) => (index: number) => arrive(during(frame.time, start + index * 0.09, 0.9))

  let bottom = area.y + area.height
  if (props.byline !== undefined) {
    const shown = settle(during(frame.time, 1, 0.8))
    const byline = oneLine(props.byline, BYLINE, unit * 2.9, area.width - unit * 8)
    drawText(ctx, byline, {
      x: area.x + unit * 6.4,
      top: bottom - byline.height,
      color: fade(palette.text, shown),
    })
    ctx.fillStyle = fade(palette.accent, shown)
    ctx.fillRect(area.x, bottom - byline.height / 2 - unit * 0.2, unit * 4.6 * shown, unit * 0.4)
    bottom -= byline.height + unit * 8
  }
  if (props.subtitle !== undefined) {
    const subtitle = fitText(props.subtitle, {
      style: SUBTITLE,
      maxWidth: Math.min(column, unit * 84),
      maxHeight: unit * 22,
      maxLines: 4,
      maxSize: unit * 4.1,
      minSize: unit * 2.6,
      leading: 1.36,
    })
    const shown = settle(during(frame.time, 0.75, 0.9))
    drawText(ctx, subtitle, {
      x: area.x,
      top: bottom - subtitle.height + unit * 1.6 * (1 - shown),
      color: fade(palette.muted, shown),
    })
    bottom -= subtitle.height + unit * 6.4
  }

  const kickerSpace = props.kicker === undefined ? 0 : unit * 9
  const roof = portrait && withMoon ? frame.height * 0.425 : area.y
  const title = fitText(props.title, {
    style: TITLE,
    maxWidth: column,
    maxHeight: bottom - roof - kickerSpace,
    maxLines: portrait ? 6 : 4,
    maxSize: unit * (portrait ? 17.5 : 16.5),
    minSize: unit * 4,
    leading: 1.02,
  })
  const top = bottom - title.height
  drawText(ctx, title, { x: area.x - title.size * 0.045, top, color: palette.text, reveal: appear(0.25) })
  if (props.kicker !== undefined) {
    const size = unit * 2.6
    const kicker = oneLine(props.kicker.toUpperCase(), KICKER, size, column)
    drawText(ctx, kicker, {
      x: area.x,
      top: top - unit * 5.6 - size * CAP_HEIGHT,
      color: palette.accent,
      reveal: appear(0.1),
    })
  }
}

export const TitleCard = Composition.make({
  id: "TitleCard",
  title: "Title card",
  description:
    "One large statement with an optional kicker, subtitle and byline: an opener, a chapter, an end card.",
  props: Props,
  exampleProps: {
    kicker: "Field notes",
    title: "The night shift never sleeps",
    subtitle:
      "How a small team ships a thousand videos before breakfast, and what it took to trust the queue.",
    byline: "RenderOwl Stories",
    theme: "midnight" as const,
  },
  defaultWidth: 1080,
  defaultHeight: 1920,
  defaultFps: 30,
  durationInFrames: (props, fps) => (props.duration_sec ?? DURATION_DEFAULT_SEC) * fps,
  posterTime: (_props, duration) => Math.min(2.4, duration),
  draw,
})
