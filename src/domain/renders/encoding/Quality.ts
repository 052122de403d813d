/**
 * The one quality setting (1 to 100) in the terms of each encoder. Chosen by eye on type over gradients, the hardest
 * material here: 80 is the lowest at which neither shows blocks at full size.
 */

/** Constant rate factor of x264: 17 at 100, 21 at 80, 38 at 1 (lower is better). */
export const x264Crf = (quality: number): number => Math.round(17 + (100 - quality) * 0.21)

/** Quantiser of the WASM encoder, 10 to 51 (lower is better): 16 at 100, 22 at 80. */
export const wasmQuantizer = (quality: number): number => Math.min(51, Math.round(16 + (100 - quality) * 0.3))
