/**
 * Time curves for motion: every function maps progress 0..1 to progress 0..1 (`overshoot` briefly passes 1).
 *
 * They are pure functions of the frame's own time, so any frame can be drawn alone and segments meet without a seam.
 */

/** Limits `value` to `low..high`. */
export const clamp = (value: number, low = 0, high = 1): number => Math.min(high, Math.max(low, value))

/** Straight interpolation from `from` to `to`. */
export const lerp = (from: number, to: number, progress: number): number => from + (to - from) * progress

/** How far `now` is through a span that starts at `start` and lasts `duration` (one unit for all three), 0..1. */
export const during = (now: number, start: number, duration: number): number =>
  duration <= 0 ? (now >= start ? 1 : 0) : clamp((now - start) / duration)

/** Fast start, long gentle arrival: for things that enter. */
export const arrive = (progress: number): number => (progress >= 1 ? 1 : 1 - 2 ** (-10 * clamp(progress)))

/** Slow at both ends: for things that change place while seen. */
export const glide = (progress: number): number => {
  const p = clamp(progress)
  return p < 0.5 ? 4 * p ** 3 : 1 - (-2 * p + 2) ** 3 / 2
}

/** Gentle arrival without the snap of `arrive`. */
export const settle = (progress: number): number => 1 - (1 - clamp(progress)) ** 3

/** Passes its goal by about a tenth and comes back: for small accents. */
export const overshoot = (progress: number): number => {
  const p = clamp(progress) - 1
  return 1 + 2.70158 * p ** 3 + 1.70158 * p ** 2
}

/** A slow swing between -1 and 1; `period` and `now` in seconds, `phase` in turns. */
export const sway = (now: number, period: number, phase = 0): number =>
  Math.sin((now / period + phase) * Math.PI * 2)
