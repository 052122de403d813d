/**
 * JSON as schemas see it at the edges: what comes from outside is checked, what comes from the journal is not again.
 *
 * From outside it may be any value, but not nested without end: `JSON.parse` takes millions of levels and `JSON.stringify`
 * a few thousand, so without a limit a value could come in that nobody can ever write out again. `Schema.Json` knows no
 * limit, and remembers every array and object in case of a cycle: 6.5 s for 9 MB of empty arrays, against 0.1 s here
 * (measured).
 */
import { Schema } from "effect"
import type { Json } from "effect/Schema"

/** Arrays and objects within each other: far more than anybody writes, and far from what any stack holds. */
const JSON_LEVELS_MAX = 64

const fits = (value: unknown, levels: number): boolean => {
  if (typeof value === "number") return Number.isFinite(value)
  if (typeof value !== "object") return typeof value === "string" || typeof value === "boolean"
  if (value === null) return true
  if (levels === 0) return false
  if (Array.isArray(value)) {
    for (const element of value) if (!fits(element, levels - 1)) return false
    return true
  }
  for (const key in value) {
    if (!fits((value as Record<string, unknown>)[key], levels - 1)) return false
  }
  return true
}

/** What it is in documents: any JSON. */
const annotations = {
  representation: { id: "effect/schema/Json", payload: null },
  toCodecJson: () => undefined,
}

/** JSON of at most {@link JSON_LEVELS_MAX} levels, with nothing but finite numbers. */
export const BoundedJson: Schema.Codec<Json> = Schema.declare(
  (value: unknown): value is Json => fits(value, JSON_LEVELS_MAX),
  { ...annotations, expected: `JSON of at most ${JSON_LEVELS_MAX} levels` },
)

/** JSON that was stored as such: there is nothing to find out about it. */
export const StoredJson: Schema.Codec<Json> = Schema.declare(
  (_value: unknown): _value is Json => true,
  annotations,
)
