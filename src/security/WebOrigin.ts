/**
 * Web origins (RFC 6454) as input: `https://app.example.com`, spelled exactly as a browser spells them in `Origin`, so that
 * comparing them is comparing text.
 */
import { Result, Schema } from "effect"
import * as WebUrl from "./WebUrl.ts"

/** Origins of one list. */
export const ORIGINS_MAX = 32
/** A name of 253 characters, its scheme and its port. */
const ORIGIN_CHARACTERS_MAX = 267

/** Whether the text is an origin in the one spelling that browsers use. */
const isOrigin = (text: string): boolean => {
  if (text.length > ORIGIN_CHARACTERS_MAX) return false
  const url = WebUrl.parse(text)
  return Result.isSuccess(url) && url.success.origin === text
}

export const WebOrigin = Schema.String.check(
  Schema.makeFilter(
    (text) =>
      isOrigin(text) ||
      "must be an origin such as https://app.example.com: lower case, with neither path nor default port",
    { toJsonSchema: () => [{ format: "uri", maxLength: ORIGIN_CHARACTERS_MAX }, true] },
  ),
).annotate({ examples: ["https://app.example.com"] })
