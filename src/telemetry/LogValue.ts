/**
 * What becomes of a value that somebody logs: JSON of a bounded size, without secrets, whatever it was. It never throws: a
 * getter that does, or an object that contains itself, costs its own place in the line and no more.
 */
import { Cause, Redacted } from "effect"
import type { Json } from "effect/Schema"
import { isSecretField, REDACTED, scrub } from "./Redaction.ts"

const DEPTH_MAX = 5
/** Fields of an object, and members of a list. */
const MEMBERS_MAX = 50
/** Characters of a text, such as a stack. */
const TEXT_CHARACTERS_MAX = 8_000

/** A text as it is written down. */
export const textOf = (text: string): string =>
  scrub(
    text.length > TEXT_CHARACTERS_MAX
      ? `${text.slice(0, TEXT_CHARACTERS_MAX)}… (${text.length} characters)`
      : text,
  )

/** A value as it is written down. */
export const valueOf = (value: unknown, depth = 0): Json => {
  switch (typeof value) {
    case "string":
      return textOf(value)
    case "number":
      return Number.isFinite(value) ? value : String(value)
    case "boolean":
      return value
    case "undefined":
      return null
    case "bigint":
    case "symbol":
      return String(value)
    case "function":
      return `[function ${value.name}]`
    case "object":
      try {
        return value === null ? null : objectOf(value, depth)
      } catch {
        return "[unreadable]"
      }
  }
}

const objectOf = (value: object, depth: number): Json => {
  if (Redacted.isRedacted(value)) return REDACTED
  if (Cause.isCause(value)) return textOf(Cause.pretty(value))
  if (value instanceof Error) return textOf(value.stack ?? String(value))
  if (value instanceof Date) return Number.isNaN(value.getTime()) ? "Invalid Date" : value.toISOString()
  if (value instanceof URL) return textOf(value.href)
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (depth >= DEPTH_MAX) return Array.isArray(value) ? "[…]" : "{…}"
  if (Array.isArray(value) || value instanceof Set) {
    const members = [...value].slice(0, MEMBERS_MAX).map((member) => valueOf(member, depth + 1))
    const length = Array.isArray(value) ? value.length : value.size
    return length > MEMBERS_MAX ? [...members, `… (${length})`] : members
  }
  return fieldsOf(value instanceof Map ? value : Object.entries(value), depth)
}

const fieldsOf = (fields: Iterable<readonly [unknown, unknown]>, depth: number): Json => {
  const result: Record<string, Json> = {}
  let count = 0
  for (const [key, field] of fields) {
    if (count++ === MEMBERS_MAX) break
    const name = textOf(String(key))
    result[name] = isSecretField(name) ? REDACTED : valueOf(field, depth + 1)
  }
  return result
}
