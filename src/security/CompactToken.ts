/**
 * The text of a JSON Web Token, read strictly before any of it is believed: its length, its three parts, and JSON objects
 * without duplicate members. Parsers differ in which duplicate they take, and whoever signs and whoever checks should
 * never have read different tokens.
 *
 * @source RFC 7515 §4 and RFC 7519 §4: names must be unique; RFC 8725
 */

/** Characters. All headers of a request together may have 8 KiB. */
export const TOKEN_CHARACTERS_MAX = 6_144

const FORM = /^[\w-]+\.[\w-]+\.[\w-]+$/
/** What a token calls itself; one that is silent is taken for a JWT. */
const TYPES: ReadonlySet<unknown> = new Set([undefined, "JWT", "jwt", "at+jwt", "application/at+jwt"])

type JsonObject = Readonly<Record<string, unknown>>

export interface ReadToken {
  readonly header: JsonObject
  readonly claims: JsonObject
}

/** Header and claims of a token that is well formed; undefined otherwise. It says nothing about the signature. */
export const read = (token: string): ReadToken | undefined => {
  if (token.length > TOKEN_CHARACTERS_MAX || !FORM.test(token)) return undefined
  const [first = "", second = ""] = token.split(".")
  const header = objectIn(first)
  const claims = objectIn(second)
  if (header === undefined || claims === undefined) return undefined
  return TYPES.has(header["typ"]) ? { header, claims } : undefined
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true })

const objectIn = (part: string): JsonObject | undefined => {
  try {
    const text = utf8.decode(Buffer.from(part, "base64url"))
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === "object" && value !== null && !Array.isArray(value)
    return isObject && memberCount(text) === Object.keys(value).length ? (value as JsonObject) : undefined
  } catch {
    return undefined
  }
}

/** A string, or what opens, closes and separates. */
const TOKENS = /"(?:[^"\\]|\\.)*"|[{}[\]:]/g

/** How many members the object in a valid JSON text has, duplicates counted: the colons at its own depth. */
const memberCount = (json: string): number => {
  let depth = 0
  let members = 0
  for (const [token] of json.matchAll(TOKENS)) {
    if (token === "{" || token === "[") depth++
    else if (token === "}" || token === "]") depth--
    else if (token === ":" && depth === 1) members++
  }
  return members
}
