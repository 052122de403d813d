/**
 * A picture that fills a box: an image given inline, or one drawn here (a colour, a gradient, a landscape).
 *
 * Nothing is ever fetched and no file is read: an image is a `data:` URI whose header is checked before it is decoded.
 * Drawn pictures are pure functions of time, so backgrounds can move.
 */
import { type Canvas, createCanvas, Image, type SKRSContext2D } from "@napi-rs/canvas"
import { Schema } from "effect"
import { fade, HexColor, mix } from "./Color.ts"
import { readImageHeader } from "./ImageHeader.ts"
import { paintLandscape } from "./Landscape.ts"
import type { Box } from "./Layout.ts"
import { sway } from "./Easing.ts"

/** Largest inline image in bytes, after base64. */
const IMAGE_BYTES_MAX = 4 * 1024 * 1024
/** Largest inline image in pixels: what 100 MB of memory can hold decoded. */
const IMAGE_PIXELS_MAX = 25_000_000

const DATA_URI = /^data:image\/(?:png|jpeg|webp);base64,/

const bytesOf = (uri: string): Buffer => Buffer.from(uri.slice(uri.indexOf(",") + 1), "base64")

/** `data:` URI of a PNG, JPEG or WebP image. */
const ImageSource = Schema.String.check(
  Schema.makeFilter((uri: string) => {
    if (!DATA_URI.test(uri)) return "must be a data:image/png, image/jpeg or image/webp URI in base64"
    if ((uri.length * 3) / 4 > IMAGE_BYTES_MAX + 64)
      return `must be an image of at most ${IMAGE_BYTES_MAX} bytes`
    const header = readImageHeader(bytesOf(uri))
    if (header === undefined) return "must hold the data of a PNG, JPEG or WebP image"
    if (header.width < 1 || header.height < 1 || header.width * header.height > IMAGE_PIXELS_MAX) {
      return `must be an image of at most ${IMAGE_PIXELS_MAX} pixels`
    }
    return undefined
  }),
).annotate({ description: "A data: URI of a PNG, JPEG or WebP image, at most 4 MiB." })

const Share = Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: 1 }))

/** What a picture may be, by `kind`. */
export const Picture = Schema.Union([
  Schema.Struct({ kind: Schema.Literal("color"), color: HexColor }),
  Schema.Struct({
    kind: Schema.Literal("gradient"),
    colors: Schema.Array(HexColor).check(Schema.isBetweenLength(2, 5)),
  }),
  Schema.Struct({
    kind: Schema.Literal("landscape"),
    sky: Schema.Tuple([HexColor, HexColor]).annotate({ description: "Top and horizon." }),
    ridge: HexColor.annotate({ description: "The nearest ridge; farther ones fade into the horizon." }),
    sun: Schema.optionalKey(HexColor),
    seed: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 9_999 }))),
  }),
  Schema.Struct({
    kind: Schema.Literal("image"),
    src: ImageSource,
    focus_x: Schema.optionalKey(
      Share.annotate({ description: "What to keep when cropping, 0 left to 1 right." }),
    ),
    focus_y: Schema.optionalKey(
      Share.annotate({ description: "What to keep when cropping, 0 top to 1 bottom." }),
    ),
  }),
])
export type Picture = typeof Picture.Type

/** A gradient is drawn at this share of its size and enlarged: nobody sees it, and it takes a fifth of the time. */
const GRADIENT_SCALE = 1 / 8

/** A picture ready to be painted: an image decoded, a gradient with a small canvas to draw it on. */
export interface ReadyPicture {
  readonly picture: Picture
  readonly canvas?: Canvas
}

/** Decodes a picture's image, reduced to what covers a box of `width` × `height` pixels. Rejects what cannot be decoded. */
export const readyPicture = async (
  picture: Picture,
  size: { readonly width: number; readonly height: number },
): Promise<ReadyPicture> => {
  if (picture.kind === "gradient") {
    const [width, height] = [size.width * GRADIENT_SCALE, size.height * GRADIENT_SCALE]
    return { picture, canvas: createCanvas(Math.max(2, Math.ceil(width)), Math.max(2, Math.ceil(height))) }
  }
  if (picture.kind !== "image") return { picture }
  const source = new Image()
  source.src = bytesOf(picture.src)
  await source.decode()
  const scale = Math.min(1, Math.max(size.width / source.width, size.height / source.height))
  const canvas = createCanvas(
    Math.max(1, Math.round(source.width * scale)),
    Math.max(1, Math.round(source.height * scale)),
  )
  const ctx = canvas.getContext("2d")
  ctx.imageSmoothingQuality = "high"
  ctx.drawImage(source, 0, 0, canvas.width, canvas.height)
  return { picture, canvas }
}

const paintGradient = (ctx: SKRSContext2D, colors: ReadonlyArray<string>, box: Box, time: number): void => {
  const [first = "#000000", second = first] = colors
  const last = colors.at(-1) ?? second
  const base = ctx.createLinearGradient(box.x, box.y, box.x + box.width * 0.4, box.y + box.height)
  base.addColorStop(0, first)
  base.addColorStop(1, last)
  ctx.fillStyle = base
  ctx.fillRect(box.x, box.y, box.width, box.height)
  const reach = Math.hypot(box.width, box.height)
  const blobs = [
    { color: mix(second, first, 0.15), x: 0.16, y: 0.86, radius: 0.52, period: 17, phase: 0 },
    { color: colors[2] ?? second, x: 0.88, y: 0.24, radius: 0.5, period: 23, phase: 0.3 },
    { color: colors[3] ?? mix(first, last, 0.5), x: 0.42, y: 0.4, radius: 0.36, period: 29, phase: 0.6 },
  ]
  for (const blob of blobs) {
    const x = box.x + box.width * (blob.x + 0.07 * sway(time, blob.period, blob.phase))
    const y = box.y + box.height * (blob.y + 0.05 * sway(time, blob.period * 0.8, blob.phase + 0.25))
    const glow = ctx.createRadialGradient(x, y, 0, x, y, reach * blob.radius)
    // A cosine fall-off: a straight one shows its edge.
    for (let stop = 0; stop <= 8; stop++) {
      glow.addColorStop(stop / 8, fade(blob.color, 0.85 * (0.5 + 0.5 * Math.cos((Math.PI * stop) / 8))))
    }
    ctx.fillStyle = glow
    ctx.fillRect(box.x, box.y, box.width, box.height)
  }
}

const paintImage = (
  ctx: SKRSContext2D,
  image: Canvas,
  focus: readonly [number, number],
  box: Box,
  zoom: number,
): void => {
  const scale = Math.max(box.width / image.width, box.height / image.height) * zoom
  const [width, height] = [box.width / scale, box.height / scale]
  ctx.imageSmoothingQuality = "high"
  ctx.drawImage(
    image,
    (image.width - width) * focus[0],
    (image.height - height) * focus[1],
    width,
    height,
    box.x,
    box.y,
    box.width,
    box.height,
  )
}

/** Paints a picture over a box. `drift` (-1 to 1) moves the view across it, for the slow camera move of a slideshow. */
export const paintPicture = (
  ctx: SKRSContext2D,
  { canvas, picture }: ReadyPicture,
  box: Box,
  { drift = 0, time = 0 }: { readonly time?: number; readonly drift?: number } = {},
): void => {
  ctx.save()
  ctx.beginPath()
  ctx.rect(box.x, box.y, box.width, box.height)
  ctx.clip()
  switch (picture.kind) {
    case "color":
      ctx.fillStyle = picture.color
      ctx.fillRect(box.x, box.y, box.width, box.height)
      break
    case "gradient":
      if (canvas !== undefined) {
        const small = canvas.getContext("2d")
        small.reset()
        paintGradient(small, picture.colors, { x: 0, y: 0, width: canvas.width, height: canvas.height }, time)
        ctx.imageSmoothingQuality = "medium"
        ctx.drawImage(canvas, box.x, box.y, box.width, box.height)
      }
      break
    case "landscape":
      paintLandscape(ctx, picture, box, drift)
      break
    case "image":
      if (canvas !== undefined) {
        paintImage(ctx, canvas, [picture.focus_x ?? 0.5, picture.focus_y ?? 0.5], box, 1.06 + 0.06 * drift)
      }
  }
  ctx.restore()
}
