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

/** A quick look: text without any of these marks has nothing in it that {@link scrub} would find. */
const MARKS = new RegExp(`ro_live_|whsec_|eyJ|bearer|basic|-----BEGIN|://|${SECRET_PARAMETER}`, "i")

/** In the order in which they are replaced. */
const PATTERNS: ReadonlyArray<readonly [pattern: RegExp, replacement: string]> = [
  // API keys, but for the characters by which people recognise them.
  [/ro_live_([0-9A-Za-z]{0,6})[0-9A-Za-z]*/g, `ro_live_$1${REDACTED}`],
  [/whsec_[\w+/=-]+/g, `whsec_${REDACTED}`],
  // JSON Web Tokens: a header, a payload and perhaps a signature.
  [/\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?/g, REDACTED],
  [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, `$1 ${REDACTED}`],
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, REDACTED],
  // A name and password in a URL.
  [/(:\/\/)[^\s/?#@"']+@/g, `$1${REDACTED}@`],
  [new RegExp(`(${SECRET_PARAMETER})[^&#\\s"'<>\\\\]+`, "gi"), `$1${REDACTED}`],
]

/** The text without what looks like a credential. */
export const scrub = (text: string): string => {
  if (!MARKS.test(text)) return text
  let clean = text
  for (const [pattern, replacement] of PATTERNS) clean = clean.replaceAll(pattern, replacement)
  return clean
}
