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

/** As the header of every JSON Web Token begins, which is JSON in base64. */
const TOKEN_START = "eyJ"
const TOKEN_START_OF_WORD = new RegExp(`\\b${TOKEN_START}`)
/** Of a header, with its start. */
const TOKEN_HEADER_LENGTH_MIN = 9
/** A header, a payload and perhaps a signature. */
const TOKEN_PARTS = 3

/** What tokens can be in: all characters in a row that they are made of. */
const withoutTokens = (characters: string): string => {
  const parts = characters.split(".")
  const kept: Array<string> = []
  for (let i = 0; i < parts.length;) {
    const part = parts[i]!
    const start = part.search(TOKEN_START_OF_WORD)
    const isToken =
      start !== -1 && part.length - start >= TOKEN_HEADER_LENGTH_MIN && (parts[i + 1] ?? "") !== ""
    kept.push(isToken ? part.slice(0, start) + REDACTED : part)
    i += isToken ? TOKEN_PARTS : 1
  }
  return kept.join(".")
}

/** A quick look: text without any of these marks has nothing in it that {@link scrub} would find. */
const MARKS = new RegExp(
  `ro_live_|whsec_|${TOKEN_START}|bearer|basic|-----BEGIN|://|${SECRET_PARAMETER}`,
  "i",
)

const replacing = (pattern: RegExp, replacement: string) => (text: string) =>
  text.replaceAll(pattern, replacement)

/** In the order in which they are replaced. */
const STEPS: ReadonlyArray<(text: string) => string> = [
  // API keys, but for the characters by which people recognise them.
  replacing(/ro_live_([0-9A-Za-z]{0,6})[0-9A-Za-z]*/g, `ro_live_$1${REDACTED}`),
  replacing(/whsec_[\w+/=-]+/g, `whsec_${REDACTED}`),
  // By hand: a pattern for a whole token would go over `eyJ-eyJ-eyJ…` as often as it has a start in it.
  (text) => (text.includes(TOKEN_START) ? text.replaceAll(/[\w.-]+/g, withoutTokens) : text),
  replacing(/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${REDACTED}`),
  replacing(/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED),
  // A name and password in a URL.
  replacing(/(:\/\/)[^\s/?#@"']+@/g, `$1${REDACTED}@`),
  replacing(new RegExp(`(${SECRET_PARAMETER})[^&#\\s"'<>\\\\]+`, "gi"), `$1${REDACTED}`),
]

/** The text without what looks like a credential. */
export const scrub = (text: string): string => {
  if (!MARKS.test(text)) return text
  return STEPS.reduce((clean, step) => step(clean), text)
}
