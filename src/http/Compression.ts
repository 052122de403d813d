/**
 * Compressed answers: brotli or gzip, whichever the caller prefers, for what was made in memory and is text. Streams are never
 * compressed (an event must not wait in a compressor's buffer), nor is what is compressed already.
 *
 * Entity tags stay strong and differ by coding, as RFC 9110 §8.8.3.3 demands: `"7"` becomes `"7~br"`. Weakening them instead would
 * be allowed as well, but `If-Match` never matches a weak tag, and as every usual client asks for compression, none could
 * change anything any more. The suffix is taken off again before a route sees the tag.
 *
 * Compression tells lengths apart, which leaks secrets where a stranger can put text beside them and make a browser ask
 * (BREACH). No stranger can here: credentials are in headers that only the caller's own program sets, never in cookies.
 */
import { Effect } from "effect"
import { type Headers, HttpBody, type HttpPlatform, type HttpServerResponse } from "effect/http"
import { COMPRESSION_BYTES_MIN } from "./Limits.ts"
import { varyOf, withHeaders } from "./ResponseHeaders.ts"

type Response = HttpServerResponse.HttpServerResponse

/** In the order of our own preference. */
const CODINGS = ["br", "gzip"] as const
type Coding = (typeof CODINGS)[number]

/** Brotli at 4 is as fast as gzip at 6 and smaller; more costs many times as much for a few percent. */
const LEVELS = { br: 4, gzip: 6 } as const

/** Codings that one header is read for. */
const CODINGS_READ_MAX = 16
const MEMBER = /^\s*([a-z0-9*_-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?$/

/**
 * The coding that `Accept-Encoding` prefers (RFC 9110 §12.5.3), `undefined` for none. A header that cannot be read asks for
 * nothing; what it does not name is refused, but for `identity`, which is then the last choice.
 */
export const preferredCoding = (accept: string | undefined): Coding | undefined => {
  if (accept === undefined || accept === "") return undefined
  const qualities = new Map<string, number>()
  for (const member of accept.toLowerCase().split(",", CODINGS_READ_MAX)) {
    if (member.trim() === "") continue
    const match = MEMBER.exec(member)
    if (match === null) return undefined
    const name = match[1]!
    qualities.set(name === "x-gzip" ? "gzip" : name, match[2] === undefined ? 1 : Number(match[2]))
  }
  let best: Coding | undefined
  let quality = qualities.get("identity") ?? 0
  for (const coding of CODINGS) {
    const offered = qualities.get(coding) ?? qualities.get("*") ?? 0
    // At the same quality as identity, smaller is better.
    if (offered > 0 && (best === undefined ? offered >= quality : offered > quality)) {
      best = coding
      quality = offered
    }
  }
  return best
}

const COMPRESSIBLE =
  /^(?:text\/(?!event-stream)|application\/(?:[\w.-]+\+)?(?:json|xml|javascript)\b|image\/svg\+xml)/i

/** The bytes to compress, `undefined` when there is no choice of coding about this answer. */
const compressible = ({ body, headers, status }: Response): HttpBody.Uint8Array | undefined =>
  body._tag === "Uint8Array" &&
  body.contentLength >= COMPRESSION_BYTES_MIN &&
  status !== 206 &&
  headers["content-encoding"] === undefined &&
  COMPRESSIBLE.test(headers["content-type"] ?? body.contentType) &&
  headers["cache-control"]?.includes("no-transform") !== true
    ? body
    : undefined

/**
 * Bodies that are sent again and again (pages, cached answers) are compressed once. What is seen for the first time is only
 * noted, so that answers made for one caller cost no memory; a body that is dropped takes its compressed forms along.
 */
const repeated = new WeakMap<HttpBody.HttpBody, Map<Coding, Response["body"]>>()

/** The answer as it is sent: compressed, or with the entity tag that the caller knows it by. */
export const compressed = (
  response: Response,
  request: { readonly method: string; readonly headers: Headers.Headers },
  platform: HttpPlatform.HttpPlatform["Service"],
): Response | Effect.Effect<Response> => {
  const { headers, method } = request
  if (response.status === 304) return notModified(response, headers)
  const body = compressible(response)
  if (body === undefined) return response
  const coding = preferredCoding(headers["accept-encoding"])
  if (coding === undefined) return varying(response)
  // What a GET says of itself, but for its length: that would take the work.
  if (method === "HEAD") return encoded(response, coding, HttpBody.empty)
  const known = repeated.get(body)
  const ready = known?.get(coding)
  if (ready !== undefined) return encoded(response, coding, ready)
  if (known === undefined) repeated.set(body, new Map())
  return Effect.map(
    platform.compression.compressResponse(response, coding, { level: LEVELS[coding] }),
    (result) => {
      known?.set(coding, result.body)
      return encoded(response, coding, result.body)
    },
  )
}

/** An answer from the cache says so already, and need not be copied for it. */
const varying = (response: Response): Response =>
  response.headers["vary"]?.includes(BY_CODING) === true ? response : withHeaders(response, copied(response))

const BY_CODING = "Accept-Encoding"

/** The `Vary` of what may be sent compressed. */
export const varyByCoding = (headers: Readonly<Record<string, string>>): string =>
  varyOf(headers, [BY_CODING])

const copied = ({ headers }: Response): Record<string, string> => ({
  ...headers,
  vary: varyByCoding(headers),
})

const encoded = (response: Response, coding: Coding, body: Response["body"]): Response => {
  const headers = copied(response)
  headers["content-encoding"] = coding
  if (body._tag === "Uint8Array") headers["content-length"] = String(body.contentLength)
  else delete headers["content-length"]
  const etag = headers["etag"]
  if (etag !== undefined) headers["etag"] = tagOf(etag, coding)
  return withHeaders(response, headers, body)
}

/** Between a tag and its coding: no tag of ours has it, and neither has any base64. */
const SEPARATOR = "~"

/** A weak tag is the same for every coding. */
const tagOf = (etag: string, coding: Coding): string =>
  etag.startsWith("W/") ? etag : `${etag.slice(0, -1)}${SEPARATOR}${coding}"`

/** A 304 names the tag that the caller has, and what it depends on (RFC 9110 §15.4.5). */
const notModified = (response: Response, request: Headers.Headers): Response => {
  const { etag } = response.headers
  const coding = preferredCoding(request["accept-encoding"])
  if (coding === undefined) return varying(response)
  const headers = copied(response)
  if (etag !== undefined) {
    const coded = tagOf(etag, coding)
    if (request["if-none-match"]?.includes(coded) === true) headers["etag"] = coded
  }
  return withHeaders(response, headers)
}

const ANY_CODING = new RegExp(`${SEPARATOR}(?:${CODINGS.join("|")})"`, "g")

/**
 * The request's headers with tags as routes know them; `undefined` when they are that already. For a change any coding of a version
 * is that version. For a GET only the coding that would be sent now counts as had.
 */
export const uncodedTags = (headers: Headers.Headers): Readonly<Record<string, string>> | undefined => {
  const ifMatch = headers["if-match"]
  const ifNoneMatch = headers["if-none-match"]
  if (ifMatch?.includes(SEPARATOR) !== true && ifNoneMatch?.includes(SEPARATOR) !== true) return undefined
  const plain: Record<string, string> = {}
  const coding = preferredCoding(headers["accept-encoding"])
  if (ifMatch !== undefined) plain["if-match"] = ifMatch.replaceAll(ANY_CODING, '"')
  if (ifNoneMatch !== undefined && coding !== undefined) {
    plain["if-none-match"] = ifNoneMatch.replaceAll(`${SEPARATOR}${coding}"`, '"')
  }
  return plain
}
