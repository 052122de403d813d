/**
 * Answers to what never became a request: headers beyond the limit, malformed HTTP, a sender that is too slow. Node finds
 * these while parsing, before any route or middleware, and would answer with a bare status line.
 */
import { type IncomingMessage, type Server, type ServerResponse, STATUS_CODES } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { Headers, ProblemDetails } from "effect/http"
import { HEADER_BYTES_MAX, URL_CHARACTERS_MAX } from "./Limits.ts"
import type { ProblemPage } from "./Problem.ts"
import { completeDocument, documentOf, type ProblemDocument, problemHeaders } from "./ProblemResponse.ts"
import * as RequestIdentity from "./RequestIdentity.ts"
import {
  ExpectationFailedProblem,
  HeadersTooLargeProblem,
  InvalidRequestProblem,
  RequestTimeoutProblem,
  UriTooLongProblem,
} from "./RequestProblems.ts"
import { identityHeaders, securityHeadersFor, type StrictTransport } from "./ResponseHeaders.ts"

/** Milliseconds a refused sender gets to read the answer: closing at once would reset the connection and lose it. */
const FAREWELL_MS = 500

/** The slugs of all that is answered here: such a problem may lack an `instance`, because nobody knows which path was meant. */
export const PROTOCOL_PROBLEMS: ReadonlySet<string> = new Set(
  [
    ExpectationFailedProblem,
    HeadersTooLargeProblem,
    InvalidRequestProblem,
    RequestTimeoutProblem,
    UriTooLongProblem,
  ].map(({ page }) => page.slug),
)

/** The parser's error: `rawPacket` is the chunk it gave up on. */
type ParserError = Error & { readonly code?: string; readonly rawPacket?: Buffer }

/** What such an answer says beyond its problem. */
export interface ProtocolErrorOptions {
  /** What the types of problems start with. */
  readonly base: string
  /** Nobody knows which version was asked for: the current one. */
  readonly apiVersion: string
  readonly strictTransport: StrictTransport
}

/** Makes `server` answer protocol errors with problems. */
export const answerProtocolErrors = (server: Server, options: ProtocolErrorOptions): void => {
  const answered = new WeakSet<Duplex>()
  server.on("clientError", (error: ParserError, socket) => {
    // The parser reports again for every chunk that follows; one answer is enough.
    if (answered.has(socket)) return
    answered.add(socket)
    if (error.code === "ECONNRESET" || !socket.writable || isHalfSent(socket)) return void socket.destroy()
    const [page, extensions] = problemOf(error)
    const { body, head } = message({ ...documentOf(page), ...extensions }, options)
    socket.end(`HTTP/1.1 ${page.status} ${STATUS_CODES[page.status]}\r\n${head}\r\n${body}`)
    socket.resume()
    const timer = setTimeout(() => socket.destroy(), FAREWELL_MS)
    socket.once("close", () => clearTimeout(timer))
  })
  server.on("checkExpectation", (_request: IncomingMessage, response: ServerResponse) => {
    const { body, headers } = message(documentOf(ExpectationFailedProblem.page), options)
    response.writeHead(ExpectationFailedProblem.page.status, headers).end(body)
  })
}

const problemOf = (error: ParserError): readonly [page: ProblemPage, extensions: ProblemDocument] => {
  switch (error.code) {
    case "HPE_HEADER_OVERFLOW":
      return isRequestLine(error.rawPacket)
        ? [UriTooLongProblem.page, { limit_characters: URL_CHARACTERS_MAX }]
        : [HeadersTooLargeProblem.page, { limit_bytes: HEADER_BYTES_MAX }]
    case "ERR_HTTP_REQUEST_TIMEOUT":
      return [RequestTimeoutProblem.page, {}]
    default:
      return [InvalidRequestProblem.page, { detail: "The request is not well-formed HTTP." }]
  }
}

/** True when the overflow is in the first line: then it is the URL that is too long, not the headers. */
const isRequestLine = (packet: Buffer | undefined): boolean =>
  packet !== undefined && /^[A-Z]+ \S*$/.test(packet.toString("latin1", 0, URL_CHARACTERS_MAX))

/**
 * A response of which a part has left cannot be replaced; Node's own handler asks in the same way. After a whole one there is room
 * for another: it is still there when its reader was quick to send what is no HTTP.
 */
const isHalfSent = (socket: Duplex): boolean => {
  const response = (socket as Socket & { readonly _httpMessage?: ServerResponse | null })._httpMessage
  return response?.headersSent === true && !response.writableEnded
}

const message = (document: ProblemDocument, options: ProtocolErrorOptions) => {
  const identity = RequestIdentity.anonymous()
  const { instance: _, ...complete } = completeDocument(document, {
    base: options.base,
    instance: "",
    traceId: identity.traceId,
  })
  const body = JSON.stringify(complete)
  const headers: Record<string, string> = {
    ...securityHeadersFor(Headers.empty, options.strictTransport),
    ...identityHeaders(identity),
    "api-version": options.apiVersion,
    ...problemHeaders(complete),
    "content-type": ProblemDetails.contentType,
    "content-length": String(Buffer.byteLength(body)),
    connection: "close",
  }
  const head = Object.entries(headers)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")
  return { body, head, headers }
}
