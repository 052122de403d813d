/**
 * Email addresses as people have them: a local part of the characters that need no quotes (RFC 5322 dot-atom), and a domain
 * name with a dot in it. Quoted local parts, comments, address literals and non-ASCII local parts exist on paper, and are
 * refused; domains of other scripts are given in their `xn--` form. Whether mail arrives only mail can tell.
 */
import { Schema } from "effect"
import { Host } from "effect/net"

/** RFC 5321 §4.5.3.1: a path of 256 octets with its angle brackets. */
const ADDRESS_CHARACTERS_MAX = 254
const LOCAL_CHARACTERS_MAX = 64

const LOCAL_PART = /^[a-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*$/i

const check = (text: string): string | true => {
  if (text.length > ADDRESS_CHARACTERS_MAX) return `must have at most ${ADDRESS_CHARACTERS_MAX} characters`
  const at = text.lastIndexOf("@")
  if (at < 1) return "must be an email address such as name@example.com"
  const local = text.slice(0, at)
  if (local.length > LOCAL_CHARACTERS_MAX)
    return `must have at most ${LOCAL_CHARACTERS_MAX} characters before the @`
  if (!LOCAL_PART.test(local)) {
    return "must have only letters, digits, single dots and !#$%&'*+/=?^_`{|}~- before the @"
  }
  const domain = text.slice(at + 1).toLowerCase()
  return (
    (Host.isDomainName(domain) && /^[^_]*\.[^._]+$/.test(domain)) ||
    "must have a domain such as example.com after the @"
  )
}

export const EmailAddress: Schema.Codec<string> = Schema.String.check(
  Schema.makeFilter(check, {
    toJsonSchema: () => [{ format: "email", maxLength: ADDRESS_CHARACTERS_MAX }, true],
  }),
)
