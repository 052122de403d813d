/**
 * What a cache keeps: bytes and a short text about them. What either means is the business of whoever has it kept.
 */

/** A kept value. It is never changed, so that it can be given to many at once. */
export interface Answer {
  /** About the body: a few hundred characters. */
  readonly head: string
  readonly body: Uint8Array
}

/** How far the source of invalidations has come, and what it had there: two sources may have come equally far. */
export interface Mark {
  readonly position: number
  readonly of: string
}

/** Nothing has happened yet. */
export const BEGINNING: Mark = { position: 0, of: "" }
