/**
 * Conditional requests (RFC 9110 §13), for every route and by declaration alone. The contract gives each answer to a GET an
 * entity tag, `Cache-Control` and `Vary`, and answers 304 to whoever has it already. A change is behind {@link IfMatch},
 * which gives its handler the versions that the caller has seen; one that is neither that nor {@link unconditional}
 * does not start.
 *
 * A tag is strong when the same tag means the same bytes: the hash of the body, or the version of what is shown where the
 * handler says so. What also depends on the moment gets a weak one from its handler: good enough for a 304, and never
 * for `If-Match`.
 */
import { hash } from "node:crypto"
import { Context, Effect, Layer, type Types } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"
import { type HttpApiEndpoint, HttpApiMiddleware } from "effect/http-api"
import { isGuarded } from "./Guards.ts"
import { producedTypes } from "./ProducedTypes.ts"
import { PreconditionFailedProblem, PreconditionRequiredProblem } from "./RequestProblems.ts"
import { varyOf, withHeaders } from "./ResponseHeaders.ts"

type Response = HttpServerResponse.HttpServerResponse

/** Tags that one header is read for. */
const TAGS_MAX = 64
/** Of the SHA-256 of a body, as base64url: 132 bits. */
const HASH_CHARACTERS = 22
/** `*`, or tags with what separates them. */
const entityTag = /\s*(W\/)?"([\u0021\u0023-\u007e\u0080-\u00ff]*)"\s*(?:,|$)/y

/** The strong entity tag of a resource at a version. */
export const etagOf = (version: number): string => `"${version}"`

/** The weak entity tag of a resource at a version, where what is shown of it depends on something else as well. */
export const weakEtagOf = (version: number, something: string, more?: object): string => {
  const rest = more === undefined ? "" : `-${hashOf(JSON.stringify(more))}`
  return `W/"${version}-${something}${rest}"`
}

/** Whether a tag is weak: what carries it is not the same from one moment to the next. */
export const isWeak = (etag: string): boolean => etag.startsWith("W/")

/** The opaque part of each strong tag of a list, of the weak ones as well if wanted; undefined for what is no list of tags. */
const parseTags = (
  header: string,
  options: { readonly weak: boolean },
): ReadonlyArray<string> | undefined => {
  const tags: Array<string> = []
  entityTag.lastIndex = 0
  for (let read = 0; read < TAGS_MAX && entityTag.lastIndex < header.length; read++) {
    const match = entityTag.exec(header)
    if (match === null) return undefined
    if (match[1] === undefined || options.weak) tags.push(match[2]!)
  }
  entityTag.lastIndex = 0
  return tags
}

/** Whether `If-None-Match` names this tag, by weak comparison (RFC 9110 §8.8.3.2). */
export const matchesNone = (header: string, etag: string): boolean => {
  if (header === etag) return true
  if (header.trim() === "*") return true
  const opaque = etag.slice(etag.indexOf('"') + 1, -1)
  return parseTags(header, { weak: true })?.includes(opaque) ?? false
}

/** What the answers of an endpoint to a GET say about themselves, unless they do so already. */
export interface ValidationPolicy {
  readonly cacheControl: string
  readonly vary: () => ReadonlyArray<string>
}

/**
 * Where callers are recognised, no cache but their own may keep an answer, and that one asks again each time: what a caller
 * may see can end at any moment.
 */
export const validationPolicy = (endpoint: HttpApiEndpoint.Top): ValidationPolicy => {
  const guarded = isGuarded(endpoint)
  const byCaller = guarded ? ["authorization", "x-api-key"] : []
  let vary: ReadonlyArray<string> | undefined
  return {
    cacheControl: guarded ? "private, no-cache" : "no-cache",
    vary: () => (vary ??= endpoint.success.size > 1 ? [...byCaller, ...negotiated(endpoint)] : byCaller),
  }
}

const negotiated = (endpoint: HttpApiEndpoint.Top): ReadonlyArray<string> =>
  new Set(producedTypes(endpoint)).size > 1 ? ["accept"] : []

/** The answer with a tag, `Cache-Control` and `Vary`; one that has them, that failed, or that is not to be kept, as it is. */
export const validated = (response: Response, policy: ValidationPolicy): Response => {
  const { body, headers, status } = response
  if (status !== 200) return response
  const cacheControl = headers["cache-control"]
  if (cacheControl?.includes("no-store") === true) return response
  const etag =
    headers["etag"] ?? (body._tag === "Uint8Array" ? `"${hashOf(body.text ?? body.body)}"` : undefined)
  const names = policy.vary()
  const vary = names.length === 0 ? headers["vary"] : varyOf(headers, names)
  if (etag === headers["etag"] && cacheControl !== undefined && vary === headers["vary"]) return response
  const complete: Record<string, string> = { ...headers }
  complete["cache-control"] ??= policy.cacheControl
  if (etag !== undefined) complete["etag"] = etag
  if (vary !== undefined) complete["vary"] = vary
  return withHeaders(response, complete)
}

/** What a change answered is about that change: nobody may give it to the next who asks (RFC 9111 §5.2.2.5). */
export const notKept = (response: Response): Response =>
  response.headers["cache-control"] === undefined
    ? withHeaders(response, { ...response.headers, "cache-control": "no-store" })
    : response

const hashOf = (body: Uint8Array | string): string =>
  hash("sha256", body, "base64url").slice(0, HASH_CHARACTERS)

/** What a 304 has of the answer that it stands for (RFC 9110 §15.4.5). */
const KEPT_HEADERS = ["cache-control", "etag", "vary", "content-location", "cache-status"] as const

const notModified = new WeakMap<Response, Response>()

/** The answer to a conditional GET: itself, or 304 when the caller has it. */
export const answerConditional = (response: Response, ifNoneMatch: string | undefined): Response => {
  if (ifNoneMatch === undefined || response.status !== 200) return response
  const etag = response.headers["etag"]
  if (etag === undefined || !matchesNone(ifNoneMatch, etag)) return response
  // An answer from the cache is asked for again and again.
  let empty = notModified.get(response)
  if (empty === undefined) {
    const headers: Record<string, string> = {}
    for (const name of KEPT_HEADERS) {
      const value = response.headers[name]
      if (value !== undefined) headers[name] = value
    }
    empty = HttpServerResponse.empty({ status: 304, headers })
    notModified.set(response, empty)
  }
  return empty
}

/** The versions that a change was made for: `undefined` for `*`, which is any. */
export class ExpectedVersions extends Context.Service<ExpectedVersions, ReadonlyArray<number> | undefined>()(
  "renderowl/http/ExpectedVersions",
) {}

/**
 * A change without `If-Match` is refused (RFC 6585 §3), so that nobody overwrites what they have not seen. Put it on the
 * endpoint, before the group's Authorization; the handler has the {@link ExpectedVersions} for whoever decides on the change,
 * and answers 412 when the present version is not one of them.
 */
export class IfMatch extends HttpApiMiddleware.Service<IfMatch, { provides: ExpectedVersions }>()(
  "renderowl/http/IfMatch",
  { error: [PreconditionRequiredProblem, PreconditionFailedProblem] },
) {
  static readonly layer = Layer.succeed(IfMatch, (handler) =>
    Effect.withFiber((fiber): Effect.Effect<Response, Types.unhandled | PreconditionRequiredProblem> => {
      const { headers } = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
      const header = headers["if-match"]?.trim()
      if (header === undefined || header === "") {
        return Effect.fail(
          new PreconditionRequiredProblem({ detail: "Send If-Match with the ETag that you have seen." }),
        )
      }
      return Effect.provideService(handler, ExpectedVersions, versionsIn(header))
    }),
  )
}

/** Only strong tags match, and only those that {@link etagOf} gives are versions: any other matches none. */
const versionsIn = (header: string): ReadonlyArray<number> | undefined => {
  if (header === "*") return undefined
  const tags = parseTags(header, { weak: false }) ?? []
  return tags.filter((tag) => /^\d{1,15}$/.test(tag)).map(Number)
}

/** Why a PATCH or DELETE may be sent without having seen what it changes. */
class Unconditional extends Context.Service<Unconditional, string>()("renderowl/http/Unconditional") {}

/** The annotation for changes that need no precondition. */
export const unconditional = (reason: string): Context.Context<Unconditional> =>
  Context.make(Unconditional, reason)

/** Whether an endpoint that must say if its changes are conditional does so. */
export const declaresConditions = (endpoint: HttpApiEndpoint.Top): boolean =>
  (endpoint.method !== "PATCH" && endpoint.method !== "DELETE") ||
  endpoint.middlewares.has(IfMatch) ||
  Context.getOrUndefined(endpoint.annotations, Unconditional) !== undefined
