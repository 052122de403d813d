/**
 * URLs of the web as input: http or https, absolute, at most 2,048 characters, and written so that every parser reads the
 * same host in them. Whether anything may be requested there is another question, and `OutboundUrl` answers it.
 */
import { Result, Schema } from "effect"

/** As for URLs that come in (RFC 9110 §4.1 asks for 8,000; what people register is far shorter). */
export const URL_CHARACTERS_MAX = 2_048

/** The rule that a text breaks. */
export type Fault = "malformed" | "too_long" | "scheme" | "credentials" | "host"

export const messages: Readonly<Record<Fault, string>> = {
  malformed:
    "must be a URL such as https://example.com/path, without spaces, control characters or backslashes",
  too_long: `must have at most ${URL_CHARACTERS_MAX} characters`,
  scheme: "must start with https:// or http://",
  credentials: "must not carry a user name or password",
  host: "must not have percent signs in its host",
}

/** What the URL parser would remove or rewrite without a word: control characters, spaces, backslashes. */
// oxlint-disable-next-line no-control-regex
const REWRITTEN = /[\u0000-\u0020\u007f-\u00a0\\]/
const ABSOLUTE = /^[a-z][a-z0-9+.-]*:\/\/(?=[^/])/i
const ENCODED_HOST = /^(?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#]*%/i
/** Also the empty ones, which the parser drops. */
const USER_INFO = /^(?:[a-z][a-z0-9+.-]*:)?\/\/[^/?#]*@/i

/** The text as a URL; relative to `base` where one is given. */
export const parse = (text: string, base?: URL): Result.Result<URL, Fault> => {
  if (text.length > URL_CHARACTERS_MAX) return Result.fail("too_long")
  if (REWRITTEN.test(text) || !text.isWellFormed()) return Result.fail("malformed")
  if (base === undefined && !ABSOLUTE.test(text)) return Result.fail("malformed")
  if (USER_INFO.test(text)) return Result.fail("credentials")
  if (ENCODED_HOST.test(text)) return Result.fail("host")
  const url = URL.parse(text, base?.href)
  if (url === null) return Result.fail("malformed")
  if (url.protocol !== "https:" && url.protocol !== "http:") return Result.fail("scheme")
  // With a base there are ways to write a host that the patterns above do not see.
  return url.username !== "" || url.password !== "" ? Result.fail("credentials") : Result.succeed(url)
}

/** A URL to show or to keep, as it was written. */
export const WebUrl: Schema.Codec<string> = Schema.String.check(
  Schema.makeFilter(
    (text) =>
      Result.match(parse(text), { onFailure: (fault) => messages[fault], onSuccess: () => true as const }),
    { toJsonSchema: () => [{ format: "uri", maxLength: URL_CHARACTERS_MAX }, true] },
  ),
)
