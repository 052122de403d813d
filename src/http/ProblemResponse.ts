/**
 * The one place where a problem gets what only the request knows: `instance`, `trace_id`, the configured base of `type`,
 * and the headers that its status calls for. Every error answer passes through here, whether a handler, the contract or
 * the server itself produced it, so no error leaves as anything but `application/problem+json`.
 */
import { Headers, HttpServerResponse, ProblemDetails } from "effect/http"
import { DEFAULT_PROBLEM_BASE, type ProblemPage } from "./Problem.ts"
import { problemOfStatus } from "./ProblemRegistry.ts"

/** What a problem learns from its request. */
export interface ProblemContext {
  /** The base of `type`, ending with `/`. */
  readonly base: string
  /** The path of the request, without its query. */
  readonly instance: string
  readonly traceId: string
}

/** Seconds, for a 503 that does not say when to return. */
const RETRY_AFTER_SECONDS = 5

/** A problem as it is on the wire. */
export type ProblemDocument = { readonly [member: string]: unknown }

/** The wire form, standard members first. */
export const completeDocument = (document: ProblemDocument, context: ProblemContext): ProblemDocument => {
  const { type, title, status, detail, instance, trace_id, ...extensions } = document
  return {
    type: rebase(type, context.base),
    title,
    status,
    ...(typeof detail === "string" ? { detail } : undefined),
    instance: typeof instance === "string" ? instance : context.instance,
    trace_id: typeof trace_id === "string" ? trace_id : context.traceId,
    ...extensions,
  }
}

/** The document of a registered type, for answers that no problem instance stands behind. */
export const documentOf = (page: ProblemPage, detail?: string): ProblemDocument => ({
  type: `${DEFAULT_PROBLEM_BASE}${page.slug}`,
  title: page.title,
  status: page.status,
  ...(detail === undefined ? undefined : { detail }),
})

/** The headers that belong to a problem: a 401 must say how to authenticate, a 405 what is allowed, a 503 when to return. */
export const problemHeaders = (document: ProblemDocument): Record<string, string> => {
  const headers: Record<string, string> = { "cache-control": "no-store" }
  const retryAfter = document["retry_after"] ?? (document["status"] === 503 ? RETRY_AFTER_SECONDS : undefined)
  if (typeof retryAfter === "number") headers["retry-after"] = String(retryAfter)
  if (Array.isArray(document["allowed_methods"])) headers["allow"] = document["allowed_methods"].join(", ")
  if (document["status"] === 401) headers["www-authenticate"] = challenge(document["type"])
  return headers
}

/**
 * The answer itself, completed when it is an error: a problem keeps its members; an error that has no body, or plain
 * text for one, becomes the general problem of its status; one in another media type (a health document) passes.
 */
export const completeResponse = (
  response: HttpServerResponse.HttpServerResponse,
  context: ProblemContext,
): HttpServerResponse.HttpServerResponse => {
  const document = documentIn(response)
  if (document === undefined) return response
  const complete = completeDocument(document, context)
  return HttpServerResponse.jsonUnsafe(complete, {
    status: response.status,
    headers: Headers.fromRecordUnsafe({
      ...problemHeaders(complete),
      ...withoutBodyHeaders(response.headers),
    }),
    cookies: response.cookies,
    contentType: ProblemDetails.contentType,
  })
}

const documentIn = (response: HttpServerResponse.HttpServerResponse): ProblemDocument | undefined => {
  const body = response.body
  if (body._tag === "Empty") return documentOf(problemOfStatus(response.status))
  if (body._tag !== "Uint8Array") return undefined
  if (body.contentType.startsWith("text/plain")) return documentOf(problemOfStatus(response.status))
  if (!body.contentType.startsWith(ProblemDetails.contentType)) return undefined
  return JSON.parse(body.text ?? Buffer.from(body.body).toString()) as ProblemDocument
}

const withoutBodyHeaders = (headers: Headers.Headers): Record<string, string> => {
  const { "content-type": _type, "content-length": _length, ...rest } = headers
  return rest
}

const rebase = (type: unknown, base: string): unknown =>
  typeof type === "string" && type.startsWith(DEFAULT_PROBLEM_BASE)
    ? base + type.slice(DEFAULT_PROBLEM_BASE.length)
    : type

/** RFC 6750 §3.1: no `error` when no token was presented. */
const challenge = (type: unknown): string =>
  typeof type === "string" && /\/(?:unauthorized|invalid-signature)$/.test(type)
    ? 'Bearer realm="renderowl"'
    : 'Bearer realm="renderowl", error="invalid_token"'
