/**
 * What a request to the outside says: the headers that a caller may choose, and what is left of them, of the method and of
 * the body when a redirect leads on.
 */
import type { IncomingMessage } from "node:http"
import { Effect } from "effect"
import { RequestRefused } from "./OutboundError.ts"

/** A request as it goes over the wire; names of headers are in lower case. */
export interface Message {
  readonly method: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array | undefined
}

/** What belongs to the connection, and is not for a caller to say (RFC 9110 §7.6.1). */
const CONNECTION_HEADERS: ReadonlySet<string> = new Set([
  "connection",
  "content-length",
  "expect",
  "host",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
])

/** All that another origin gets to see after a redirect: a list, since any other header may carry a secret. */
const HARMLESS_HEADERS: ReadonlySet<string> = new Set([
  "accept",
  "accept-encoding",
  "accept-language",
  "content-type",
  "range",
  "user-agent",
])

export const messageOf = (request: {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: Uint8Array | string
}): Effect.Effect<Message, RequestRefused> => {
  const headers: Record<string, string> = { "user-agent": "RenderOwl", accept: "*/*" }
  for (const [name, value] of Object.entries(request.headers ?? {})) {
    const lower = name.toLowerCase()
    if (CONNECTION_HEADERS.has(lower)) {
      return Effect.fail(new RequestRefused({ detail: `the header ${lower} belongs to the connection` }))
    }
    headers[lower] = value
  }
  const { body, method = "GET" } = request
  return Effect.succeed({
    method,
    headers: { ...headers, "accept-encoding": headers["accept-encoding"] ?? "identity" },
    body: typeof body === "string" ? Buffer.from(body) : body,
  })
}

/** 303 turns into GET, and so does POST after 301 and 302, as browsers do it; the rest is said again (RFC 9110 §15.4). */
export const messageAfter = (
  status: number,
  { body, headers, method }: Message,
  sameOrigin: boolean,
): Message => {
  const rewritten = status === 303 ? method !== "GET" && method !== "HEAD" : status < 307 && method === "POST"
  const kept = Object.entries(headers).filter(
    ([name]) => (sameOrigin || HARMLESS_HEADERS.has(name)) && !(rewritten && name.startsWith("content-")),
  )
  return {
    method: rewritten ? "GET" : method,
    headers: Object.fromEntries(kept),
    body: rewritten ? undefined : body,
  }
}

const REDIRECTS: ReadonlySet<number | undefined> = new Set([301, 302, 303, 307, 308])

/** Node reads header bytes as Latin-1; the locations that are not ASCII are UTF-8. */
export const redirectOf = ({ headers, statusCode }: IncomingMessage): string | undefined =>
  REDIRECTS.has(statusCode) && headers.location !== undefined
    ? Buffer.from(headers.location, "latin1").toString("utf8")
    : undefined
