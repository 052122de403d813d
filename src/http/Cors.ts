/**
 * Which web pages of other origins may read answers (CORS, WHATWG Fetch). Off unless origins are named; a preflight says what
 * the very route takes; the opaque origin `null`, which any sandboxed page has, is never among them; and cookies and the
 * like are never allowed together with `*`. It is a promise to browsers and no access control: that is what credentials are for.
 *
 * Effect's `HttpMiddleware.cors` takes no part: it answers every OPTIONS as a preflight with one list of methods for all
 * routes, and an empty list of origins means all of them.
 */
import { Schema } from "effect"
import type { Headers } from "effect/http"

/** `*` is every origin but `null`; a function decides on each, and never sees `null`. */
export type AllowedOrigins = "*" | ReadonlyArray<string> | ((origin: string) => boolean)

export interface CorsOptions {
  readonly origins: AllowedOrigins
  /** Whether browsers may send what they hold for this origin (cookies, client certificates). Keys in headers need no leave. */
  readonly credentials?: boolean
}

/** Seconds that a browser keeps a preflight's answer; Chromium does for two hours at most. */
const PREFLIGHT_SECONDS = 7_200

/** What callers send beyond the headers that need no leave; names, as browsers compare them without case. */
export const REQUEST_HEADERS = [
  "Accept",
  "API-Version",
  "Authorization",
  "Content-Type",
  "Idempotency-Key",
  "If-Match",
  "If-None-Match",
  "Last-Event-ID",
  "Prefer",
  "Range",
  "traceparent",
  "tracestate",
  "X-API-Key",
  "X-Parent-Span-ID",
  "X-Request-Id",
  "X-Span-ID",
  "X-Trace-ID",
  "X-Trace-Sampled",
] as const

/** What a page may read of an answer beyond the headers that it always may. */
export const RESPONSE_HEADERS = [
  "API-Version",
  "Content-Range",
  "Deprecation",
  "ETag",
  "Idempotency-Replayed",
  "Link",
  "Location",
  "Preference-Applied",
  "RateLimit",
  "RateLimit-Policy",
  "Retry-After",
  "Sunset",
  "WWW-Authenticate",
  "X-Parent-Span-ID",
  "X-Request-Id",
  "X-Span-ID",
  "X-Trace-ID",
  "X-Trace-Sampled",
] as const

/** An origin as browsers send it: scheme, host and, unless it is the usual one, port. */
const isOrigin = (text: string): boolean =>
  URL.canParse(text) && new URL(text).origin === text && text !== "null"

/** `*`, or origins with commas between them. */
export const OriginList = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) => {
      if (text.trim() === "*") return true
      const wrong = splitOrigins(text).find((origin) => !isOrigin(origin))
      return (
        wrong === undefined || `origins such as https://app.example.com, and not ${JSON.stringify(wrong)}`
      )
    }),
  ),
)

/** What {@link OriginList} says. */
export const originsOf = (text: string): AllowedOrigins => (text.trim() === "*" ? "*" : splitOrigins(text))

const splitOrigins = (text: string): ReadonlyArray<string> =>
  text
    .split(",")
    .map((origin) => origin.trim())
    .filter((origin) => origin !== "")

/** A policy; what browsers would refuse or must not be told stops the start. */
export class Cors {
  readonly #isAllowed: (origin: string) => boolean
  readonly #allowed: (origin: string) => Readonly<Record<string, string>>

  constructor({ credentials = false, origins }: CorsOptions) {
    if (origins === "*") {
      if (credentials) throw new Error("CORS: credentials need a list of origins, and not *")
      this.#isAllowed = () => true
    } else if (typeof origins === "function") {
      this.#isAllowed = origins
    } else {
      for (const origin of origins) if (!isOrigin(origin)) throw new Error(`CORS: ${origin} is no origin`)
      const set = new Set(origins)
      this.#isAllowed = (origin) => set.has(origin)
    }
    const common = credentials ? { "access-control-allow-credentials": "true" } : {}
    this.#allowed = (origin) => ({
      "access-control-allow-origin": origins === "*" ? "*" : origin,
      ...common,
    })
  }

  /** What an answer says to the page that asked, if any. Every answer varies by Origin, also to others than pages. */
  answerHeaders(headers: Headers.Headers): Readonly<Record<string, string>> | undefined {
    const origin = this.#origin(headers)
    return origin === undefined
      ? undefined
      : { ...this.#allowed(origin), "access-control-expose-headers": RESPONSE_HEADERS.join(", ") }
  }

  /** What a preflight is answered, `undefined` when it is none, or comes from elsewhere. */
  preflightHeaders(
    method: string,
    headers: Headers.Headers,
    methods: () => ReadonlyArray<string>,
  ): Readonly<Record<string, string>> | undefined {
    if (method !== "OPTIONS" || headers["access-control-request-method"] === undefined) return undefined
    const origin = this.#origin(headers)
    if (origin === undefined) return undefined
    const allowed = methods()
    return allowed.length === 0
      ? undefined
      : {
          ...this.#allowed(origin),
          "access-control-allow-methods": allowed.join(", "),
          "access-control-allow-headers": REQUEST_HEADERS.join(", "),
          "access-control-max-age": String(PREFLIGHT_SECONDS),
        }
  }

  #origin(headers: Headers.Headers): string | undefined {
    const origin = headers["origin"]
    return origin !== undefined && origin !== "null" && this.#isAllowed(origin) ? origin : undefined
  }
}
