/**
 * A landscape of layered ridges under a graded sky, drawn from a seed: a picture for when there is no photograph.
 *
 * Farther ridges take the colour of the horizon, as air does; `drift` moves near layers more than far ones.
 */
import type { SKRSContext2D } from "@napi-rs/canvas"
import { fade, mix } from "./Color.ts"
import type { Box } from "./Layout.ts"

/** What a landscape is made of. Colours as `#rrggbb`. */
export interface Landscape {
  /** Top and horizon. */
  readonly sky: readonly [string, string]
  readonly ridge: string
  readonly sun?: string
  readonly seed?: number
}

const RIDGES = 5
/** Distance between the points of a ridge line, as a share of the box's longer side. */
const STEP = 1 / 240

/** A repeatable number 0..1 for an integer position (an integer hash; quality beyond looking unplanned is not needed). */
const scatter = (position: number, seed: number): number => {
  let hash = Math.imul(position ^ (seed * 0x9e3779b1), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 4_294_967_296
}

const smoothNoise = (x: number, seed: number): number => {
  const cell = Math.floor(x)
  const t = x - cell
  const ease = t * t * (3 - 2 * t)
  return scatter(cell, seed) * (1 - ease) + scatter(cell + 1, seed) * ease
}

/** Height of a ridge at `x`, about -0.5..0.5: broad hills with ever smaller ones on top. */
const ridgeHeight = (x: number, seed: number, roughness: number): number => {
  let [height, amplitude, frequency] = [0, 0.5, 1]
  for (let octave = 0; octave < 5; octave++) {
    height += (smoothNoise(x * frequency, seed + octave * 101) - 0.5) * amplitude * 2
    amplitude *= roughness
    frequency *= 2.1
  }
  return height
}

/** Paints a landscape over a box; the caller clips. */
export const paintLandscape = (ctx: SKRSContext2D, landscape: Landscape, box: Box, drift: number): void => {
  const [top, horizon] = landscape.sky
  const seed = landscape.seed ?? 1
  const long = Math.max(box.width, box.height)
  const sky = ctx.createLinearGradient(0, box.y, 0, box.y + box.height * 0.72)
  for (const stop of [0, 0.35, 0.7, 1]) sky.addColorStop(stop, mix(top, horizon, stop ** 1.4))
  ctx.fillStyle = sky
  ctx.fillRect(box.x, box.y, box.width, box.height)

  const sunX = box.x + box.width * (0.3 + 0.4 * scatter(7, seed)) - drift * long * 0.006
  const sunY = box.y + box.height * (0.3 + 0.13 * scatter(9, seed))
  const radius = long * (0.042 + 0.026 * scatter(11, seed))
  const sun = landscape.sun ?? mix(horizon, "#ffffff", 0.55)
  const glow = ctx.createRadialGradient(sunX, sunY, radius * 0.6, sunX, sunY, radius * 6)
  for (let stop = 0; stop <= 6; stop++) glow.addColorStop(stop / 6, fade(sun, 0.42 * (1 - stop / 6) ** 2.2))
  ctx.fillStyle = glow
  ctx.fillRect(sunX - radius * 6, sunY - radius * 6, radius * 12, radius * 12)
  ctx.fillStyle = sun
  ctx.beginPath()
  ctx.arc(sunX, sunY, radius, 0, Math.PI * 2)
  ctx.fill()

  // Through the colour of the sky halfway up: a straight mix of horizon and ridge turns to mud.
  const air = mix(horizon, top, 0.12)
  const middle = mix(mix(horizon, top, 0.62), landscape.ridge, 0.25)
  const bottom = box.y + box.height
  const nearnessOf = (layer: number) => layer / (RIDGES - 1)
  const baseOf = (layer: number) => box.y + box.height * (0.52 + 0.36 * nearnessOf(layer) ** 1.15)
  const swingOf = (layer: number) => long * (0.09 + 0.035 * nearnessOf(layer))
  for (let layer = 0; layer < RIDGES; layer++) {
    const nearness = nearnessOf(layer)
    const base = baseOf(layer)
    const swing = swingOf(layer)
    // Nothing shows below where the next ridge can reach, and filling is what costs.
    const floor = layer === RIDGES - 1 ? bottom : Math.min(bottom, baseOf(layer + 1) + swingOf(layer + 1))
    const shift = drift * (0.05 + 0.14 * nearness) + layer * 3.7 + seed * 0.61
    ctx.beginPath()
    ctx.moveTo(box.x, floor)
    for (let x = 0; x <= box.width + long * STEP; x += long * STEP) {
      const height = ridgeHeight(x / (long * (0.3 + 0.12 * nearness)) + shift, seed * 13 + layer * 7, 0.46)
      ctx.lineTo(box.x + x, base - height * swing)
    }
    ctx.lineTo(box.x + box.width + long * STEP, floor)
    ctx.closePath()
    const near =
      nearness < 0.5
        ? mix(air, middle, 0.25 + 1.5 * nearness)
        : mix(middle, landscape.ridge, nearness * 2 - 1)
    const haze = ctx.createLinearGradient(0, base - swing * 0.6, 0, base + box.height * 0.2)
    haze.addColorStop(0, near)
    haze.addColorStop(1, layer === RIDGES - 1 ? mix(near, "#000000", 0.25) : mix(near, air, 0.4))
    ctx.fillStyle = haze
    ctx.fill()
  }
}
