/**
 * Answers that are kept, by declaration: an endpoint behind this middleware is annotated with {@link cached}, which says for how
 * long, what its answers depend on, and whether on who asks. Identical requests at the same moment are worked out once. The
 * middleware stands inside Authorization, so that nobody gets an answer who may not have it.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { type HttpApiEndpoint, HttpApiMiddleware } from "effect/http-api"
import type { Answer } from "../cache/Answer.ts"
import { TaggedCache } from "../cache/TaggedCache.ts"
import { CurrentPrincipal, type Principal } from "../security/Principal.ts"
import { CurrentApiVersion } from "./ApiVersion.ts"
import { varyByCoding } from "./Compression.ts"
import { guardAt } from "./Guards.ts"
import { isWeak, validated, validationPolicy } from "./Conditional.ts"

type Response = HttpServerResponse.HttpServerResponse

/** What an endpoint says about its answers. */
export interface CachePolicy {
  /** How long an answer is kept at most; none: it is only shared by those who ask at the same moment. */
  readonly ttl?: Duration.Input
  /** What an answer depends on, by the parameters of the path: whatever changes one of these must invalidate it. */
  readonly tags: (params: Readonly<Record<string, string | undefined>>) => ReadonlyArray<string>
  /** Whether it depends on who asks. */
  readonly perPrincipal?: boolean
}

class Cached extends Context.Service<Cached, CachePolicy>()("renderowl/http/ResponseCache/Cached") {}

/**
 * The annotation of an endpoint whose answers are kept.
 *
 * @example HttpApiEndpoint.get("get", "/owls/:id", …).annotateMerge(cached({ ttl: "1 hour", tags: ({ id }) => [id!] }))
 */
export const cached = (policy: CachePolicy): Context.Context<Cached> => Context.make(Cached, policy)

const policyOf = (endpoint: HttpApiEndpoint.Top): CachePolicy | undefined =>
  Context.getOrUndefined(endpoint.annotations, Cached)

/**
 * The middleware: `group.middleware(ResponseCache).middleware(Authorization)`. Endpoints that are not {@link cached} pass
 * through it untouched.
 */
export class ResponseCache extends HttpApiMiddleware.Service<ResponseCache>()(
  "renderowl/http/ResponseCache",
) {
  static readonly layer = Layer.effect(
    ResponseCache,
    Effect.map(TaggedCache, (cache) => (handler, { endpoint }) => {
      const policy = policyOf(endpoint)
      if (policy === undefined) return handler
      const ttlMs = ttlOf(policy)
      const validation = validationPolicy(endpoint)
      const compute = Effect.map(handler, (response) => validated(response, validation))
      return Effect.withFiber((fiber) => {
        const principal = policy.perPrincipal === true ? principalIn(fiber.context) : undefined
        const key = keyOf(fiber.context, principal)
        if (ttlMs > 0) {
          const found = cache.get(key, fiber.getRef(Clock.Clock).currentTimeMillisUnsafe())
          if (found !== undefined) return Effect.succeed(responseOf(found))
          cache.missed()
        }
        const { params } = Context.getUnsafe(fiber.context, HttpRouter.RouteContext)
        return cache.share({ key, tags: policy.tags(params), ttlMs }, compute, { answerOf, isShareable })
      })
    }),
  )
}

const ttlOf = ({ ttl }: CachePolicy): number => Duration.toMillis(ttl ?? 0)

const principalIn = (context: Context.Context<never>): Principal =>
  Context.getUnsafe(context as Context.Context<CurrentPrincipal>, CurrentPrincipal)

/**
 * What is asked for: the URL as the route knows it; whose answer it is; and the version that was asked for, where that is not
 * the URL's own. None of them has a space in it, and no id is the name of a version.
 */
const keyOf = (context: Context.Context<never>, principal: Principal | undefined): string => {
  const { url } = Context.getUnsafe(context, HttpServerRequest.HttpServerRequest)
  const version = Context.get(context, CurrentApiVersion)?.name
  const key = version === undefined || url.startsWith(`/${version}/`) ? url : `${version} ${url}`
  return principal === undefined ? key : `${principal.id} ${key}`
}

/** What it takes to look up the answers of an endpoint. */
export interface CacheLookup {
  readonly perPrincipal: boolean
}

/** For an endpoint whose answers are kept. */
export const lookupOf = (endpoint: HttpApiEndpoint.Top): CacheLookup | undefined => {
  const policy = policyOf(endpoint)
  if (policy === undefined || ttlOf(policy) <= 0) return undefined
  return { perPrincipal: policy.perPrincipal === true }
}

/** The answer that is kept, for a caller who may have it. */
export const cachedAnswer = (
  cache: TaggedCache["Service"],
  { perPrincipal }: CacheLookup,
  context: Context.Context<never>,
  principal: Principal,
  now: number,
): Response | undefined => {
  const found = cache.get(keyOf(context, perPrincipal ? principal : undefined), now)
  return found === undefined ? undefined : responseOf(found)
}

/** A body that is there as a whole can be sent to several; a stream is read once. */
const isShareable = ({ body }: Response): boolean => body._tag === "Uint8Array" || body._tag === "Empty"

/** Only what stays the same until something happens is kept: not a failure, and nothing whose tag is weak or absent. */
const answerOf = ({ body, headers, status }: Response): Answer | undefined => {
  const etag = headers["etag"]
  if (status !== 200 || body._tag !== "Uint8Array" || etag === undefined || isWeak(etag)) return undefined
  return { head: JSON.stringify({ type: body.contentType, headers }), body: body.body }
}

/** RFC 9211: told apart from an answer that was worked out. */
const HIT = "RenderOwl; hit"

const responses = new WeakMap<Answer, Response>()

/** Made once while the answer is in memory. */
const responseOf = (answer: Answer): Response => {
  let response = responses.get(answer)
  if (response === undefined) {
    const { headers, type } = JSON.parse(answer.head) as {
      readonly type: string
      readonly headers: Record<string, string>
    }
    const options = {
      contentType: type,
      headers: { ...headers, vary: varyByCoding(headers), "cache-status": HIT },
    }
    // Node sends a text together with the headers, and bytes after them.
    response = isText(type)
      ? HttpServerResponse.text(Buffer.from(answer.body).toString(), options)
      : HttpServerResponse.uint8Array(answer.body, options)
    responses.set(answer, response)
  }
  return response
}

const isText = (type: string): boolean => type.includes("json") || type.startsWith("text/")

/** What is wrong with how an endpoint is declared to be cached, if anything. */
export const cachingFault = (endpoint: HttpApiEndpoint.Top): string | undefined => {
  if (policyOf(endpoint) === undefined) return undefined
  if (endpoint.method !== "GET") return "is cached, but no GET"
  const middlewares = [...endpoint.middlewares] as ReadonlyArray<unknown>
  const cache = middlewares.indexOf(ResponseCache)
  if (cache === -1) return "is cached: put its group behind ResponseCache"
  const guard = guardAt(middlewares)
  return guard !== -1 && guard < cache
    ? "would give its answers to anybody: put ResponseCache before Authorization"
    : undefined
}
