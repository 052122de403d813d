/**
 * Content types (RFC 9110 §8.3.1): `type/subtype` and parameters, such as `text/html; charset=utf-8`. Names are the same in
 * upper and lower case; whether a server takes a type is for the route to say.
 */
import { Schema } from "effect"

const MEDIA_TYPE_CHARACTERS_MAX = 255
/** RFC 6838 §4.2. */
const NAME_CHARACTERS_MAX = 127
const PARAMETERS_MAX = 16

const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+"
const QUOTED = '"(?:[\\t \\x21\\x23-\\x5b\\x5d-\\x7e\\x80-\\xff]|\\\\[\\t \\x21-\\x7e\\x80-\\xff])*"'
const TYPE = new RegExp(`^(${TOKEN})/(${TOKEN})`)
/** The name and the value are missing after a semicolon at the end, which the grammar allows. */
const PARAMETER = new RegExp(`[ \\t]*;[ \\t]*(?:(${TOKEN})=(${TOKEN}|${QUOTED}))?`, "y")

export interface MediaType {
  /** In lower case, like the names of the parameters. */
  readonly type: string
  readonly subtype: string
  /** Values as they are meant: without quotes and backslashes. */
  readonly parameters: ReadonlyMap<string, string>
}

/** The parts of a content type; undefined for a text that is none. */
export const parse = (text: string): MediaType | undefined => {
  if (text.length > MEDIA_TYPE_CHARACTERS_MAX) return undefined
  const [whole = "", type = "", subtype = ""] = TYPE.exec(text) ?? []
  if (type === "" || type.length > NAME_CHARACTERS_MAX || subtype.length > NAME_CHARACTERS_MAX)
    return undefined
  const parameters = new Map<string, string>()
  let at = whole.length
  while (at < text.length) {
    PARAMETER.lastIndex = at
    const match = PARAMETER.exec(text)
    if (match === null) return undefined
    at = PARAMETER.lastIndex
    const [, name, value] = match
    if (name === undefined || value === undefined) continue
    const key = name.toLowerCase()
    // Which of two would count depends on who reads it.
    if (parameters.has(key) || parameters.size === PARAMETERS_MAX) return undefined
    parameters.set(key, value.startsWith('"') ? value.slice(1, -1).replace(/\\(.)/g, "$1") : value)
  }
  return { type: type.toLowerCase(), subtype: subtype.toLowerCase(), parameters }
}

/** The text of a content type, as it was written. */
export const MediaType: Schema.Codec<string> = Schema.String.check(
  Schema.makeFilter(
    (text) =>
      parse(text) !== undefined ||
      `must be a content type such as text/html; charset=utf-8, of at most ${MEDIA_TYPE_CHARACTERS_MAX} characters`,
    { toJsonSchema: () => [{ maxLength: MEDIA_TYPE_CHARACTERS_MAX }, true] },
  ),
)
