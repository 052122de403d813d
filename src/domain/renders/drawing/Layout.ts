/**
 * Where things go on a frame of any shape: one unit of measure, margins that survive cropping, and plain boxes.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"

/** A rectangle in pixels. */
export interface Box {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

type Size = Pick<Box, "width" | "height">

/** One hundredth of the shorter side: type and strokes are sized in it, so a layout looks the same at every resolution. */
export const unitOf = (size: Size): number => Math.min(size.width, size.height) / 100

export const isPortrait = (size: Size): boolean => size.height > size.width * 1.15

/** The whole frame as a box. */
export const frameBox = (size: Size): Box => ({ x: 0, y: 0, width: size.width, height: size.height })

/** The part that titles may use: clear of cropping, and in portrait of what players lay over the top and bottom. */
export const safeArea = (size: Size): Box => {
  const side = unitOf(size) * 7.5
  const [top, bottom] = isPortrait(size) ? [size.height * 0.075, size.height * 0.1] : [side, side]
  return { x: side, y: top, width: size.width - side * 2, height: size.height - top - bottom }
}

/** Paints the whole frame in one colour. */
export const fillFrame = (ctx: SKRSContext2D, size: Size, color: string): void => {
  ctx.fillStyle = color
  ctx.fillRect(0, 0, size.width, size.height)
}
