/**
 * The `wait` preference (RFC 7240 §4.3): how long a caller would rather wait for a result than be told where to look.
 * A preference is a wish; one that cannot be read is ignored, and one that is too long is cut short.
 */
import { Duration } from "effect"
import type { Headers } from "effect/http"

/** Seconds. Proxies commonly give up after 60. */
export const WAIT_SECONDS_MAX = 60

/** How long to wait, in whole seconds, and the header that says what was granted. */
export interface Wait {
  readonly seconds: number
  readonly duration: Duration.Duration
  readonly headers: { readonly "preference-applied": string }
}

/** The wait that the request asks for, bounded; `undefined` when it asks for none. The first of several counts. */
export const wait = (headers: Headers.Headers): Wait | undefined => {
  const prefer = headers["prefer"]
  if (prefer === undefined) return undefined
  for (const preference of prefer.split(",")) {
    const match = /^\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:;|$)/i.exec(preference)
    if (match === null) continue
    const seconds = Math.min(Number(match[1]), WAIT_SECONDS_MAX)
    return seconds === 0
      ? undefined
      : { seconds, duration: Duration.seconds(seconds), headers: { "preference-applied": `wait=${seconds}` } }
  }
  return undefined
}
