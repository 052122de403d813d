/**
 * Keeping secrets out of what is written down. What knows that it is secret (`Redacted`) says so itself; this is the net under
 * it: fields whose name says so, and text that looks like one of the credentials that go through RenderOwl.
 */

export const REDACTED = "<redacted>"

/** Names of fields whose value nobody writes down, whatever it is; compared without case, `-` and `_`. */
const SECRET_FIELDS =
  /^(?:.*(?:authorization|password|passwd|secret|token|cookie|credential|apikey|privatekey|signature|jwt)|key|sig)$/

/** Whether a field of this name is secret. Ids of keys are not (`api_key_id`), nor is `idempotency_key`. */
export const isSecretField = (name: string): boolean =>
  SECRET_FIELDS.test(name.toLowerCase().replaceAll(/[-_.]/g, ""))

/** What signs a URL, or opens it: the name of a parameter. */
const SECRET_PARAMETER =
  /[?&][\w.-]*(?:signature|sig|token|secret|password|credential|api_?key|access_?key(?:id)?|jwt|authorization|code|key)=/
    .source

/** What JSON Web Tokens are made of: all of it in a row, as a pattern of a token would look at some texts again and again. */
const TOKEN_CHARACTERS = /[\w.-]+/g
const TOKEN_BEGINS = "eyJ"
const TOKEN_START = new RegExp(`\\b${TOKEN_BEGINS}`)
const TOKEN_HEADER_LENGTH_MIN = 9
/** A header, a payload and perhaps a signature. */
const TOKEN_PARTS = 3

/** A quick look: text without any of these marks has nothing in it that {@link scrub} would find. */
const MARKS = new RegExp(
  `ro_live_|whsec_|${TOKEN_BEGINS}|bearer|basic|-----BEGIN|://|${SECRET_PARAMETER}`,
  "i",
)

/** In the order in which they are replaced. */
const PATTERNS: ReadonlyArray<readonly [pattern: RegExp, replacement: string]> = [
  // API keys, but for the characters by which people recognise them.
  [/ro_live_([0-9A-Za-z]{0,6})[0-9A-Za-z]*/g, `ro_live_$1${REDACTED}`],
  [/whsec_[\w+/=-]+/g, `whsec_${REDACTED}`],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${REDACTED}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  // A name and password in a URL.
  [/(:\/\/)[^\s/?#@"']+@/g, `$1${REDACTED}@`],
  [new RegExp(`(${SECRET_PARAMETER})[^&#\\s"'<>\\\\]+`, "gi"), `$1${REDACTED}`],
]

const withoutTokens = (characters: string): string => {
  const parts = characters.split(".")
  const kept: Array<string> = []
  for (let i = 0; i < parts.length;) {
    const part = parts[i]!
    const start = part.search(TOKEN_START)
    const isToken =
      start !== -1 && part.length - start >= TOKEN_HEADER_LENGTH_MIN && (parts[i + 1] ?? "") !== ""
    kept.push(isToken ? part.slice(0, start) + REDACTED : part)
    i += isToken ? TOKEN_PARTS : 1
  }
  return kept.join(".")
}

/** The text without what looks like a credential. */
export const scrub = (text: string): string => {
  if (!MARKS.test(text)) return text
  let clean = text.includes(TOKEN_BEGINS) ? text.replaceAll(TOKEN_CHARACTERS, withoutTokens) : text
  for (const [pattern, replacement] of PATTERNS) clean = clean.replaceAll(pattern, replacement)
  return clean
}
