/**
 * Several requests in one: each goes through everything that it would go through alone, some at a time, and has an answer of
 * its own, in the order in which they were given. They are not ordered among each other, and not one unit: what one of them
 * does or fails to do is nothing to the others. Everything is bounded, since what a batch asks for is held in memory until all of
 * it is there.
 */
import { Clock, Effect } from "effect"
import { Headers, HttpServerRequest, type HttpServerResponse } from "effect/http"
import type { Json } from "effect/Schema"
import { partKey } from "../security/KeyedRequest.ts"
import * as TraceParent from "../telemetry/TraceParent.ts"
import { Dispatcher } from "./Dispatcher.ts"
import { FORWARDED } from "./InternalCallers.ts"
import { ProblemBase } from "./Problem.ts"
import { completeDocument, documentOf, type ProblemDocument } from "./ProblemResponse.ts"
import { CurrentRequest } from "./RequestIdentity.ts"
import { NotAcceptableProblem } from "./RequestProblems.ts"
import { securityHeaders } from "./ResponseHeaders.ts"
import {
  GatewayTimeoutProblem,
  ResponseTooLargeProblem,
  ServiceUnavailableProblem,
} from "./ServiceProblems.ts"

type Response = HttpServerResponse.HttpServerResponse

/** Requests in one batch. */
export const BATCH_REQUESTS_MAX = 20
/** Of which so many are worked on at a time, while the server has places for them. */
export const BATCH_CONCURRENCY = 5
/** Bytes of one answer within the whole, 1 MB: together they stay well within what one answer may have. */
export const BATCH_ANSWER_BYTES_MAX = 1_000_000
/** How long a batch may take. Less than the 120 s after which a connection on which nothing happens is cut. */
export const BATCH_TIME_MAX_MS = 90_000

/** Methods of the requests in a batch. */
export const BATCH_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"] as const

/** Headers that a request of a batch may bring. What says where it comes from, or what its body is, is not up to it. */
export const BATCH_HEADERS: ReadonlySet<string> = new Set([
  "api-version",
  "authorization",
  "idempotency-key",
  "if-match",
  "if-none-match",
  "prefer",
  "x-api-key",
  "x-request-id",
])

/** What each request has from the one that brought it: where it comes from. */
const INHERITED = ["host", "origin", "user-agent", ...FORWARDED] as const
/** And this, unless it has one of its own. */
const CREDENTIALS = ["authorization", "x-api-key"] as const

/** Headers of answers that are about a connection or a browser. */
const HIDDEN_HEADERS: ReadonlySet<string> = new Set([
  ...Object.keys(securityHeaders),
  "access-control-allow-credentials",
  "access-control-allow-origin",
  "access-control-expose-headers",
  "connection",
  "content-length",
  "set-cookie",
  "strict-transport-security",
  "vary",
])

export interface BatchItem {
  readonly id: string
  readonly method: (typeof BATCH_METHODS)[number]
  readonly path: string
  /** Names in lower case, of {@link BATCH_HEADERS}. */
  readonly headers: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body: Json | undefined
}

/** One answer. `body` is text: JSON as it came, so that no number loses a digit. */
interface ItemAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
}

/** What has become of all of them, as JSON. */
export const run = Effect.fnUntraced(function* (items: ReadonlyArray<BatchItem>) {
  const { dispatch, places } = yield* Dispatcher
  const outer = yield* HttpServerRequest.HttpServerRequest
  const identity = yield* CurrentRequest
  const base = yield* ProblemBase
  const endsAt = (yield* Clock.currentTimeMillis) + BATCH_TIME_MAX_MS
  const common = commonHeaders(outer.headers)
  if (identity !== undefined) common["traceparent"] = TraceParent.format(identity)

  const refused = (item: BatchItem, document: ProblemDocument, headers: ItemAnswer["headers"] = {}) =>
    problemAnswer(
      document,
      {
        base,
        instance: item.path.split("?", 1)[0]!,
        traceId: headers["x-trace-id"] ?? identity?.traceId ?? "",
      },
      headers,
    )

  const answer = (item: BatchItem, index: number): Effect.Effect<ItemAnswer> =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now >= endsAt) {
        return Effect.succeed(
          refused(
            item,
            documentOf(ServiceUnavailableProblem.page, "The time of the batch was up before this began."),
          ),
        )
      }
      return dispatch(outer, {
        method: item.method,
        url: item.path,
        headers: headersOf(item, index, common, outer.headers),
        body: item.body === undefined ? undefined : JSON.stringify(item.body),
      }).pipe(
        Effect.map((response) => shown(response, (document, headers) => refused(item, document, headers))),
        Effect.timeoutOrElse({
          duration: endsAt - now,
          orElse: () =>
            Effect.succeed(
              refused(
                item,
                documentOf(GatewayTimeoutProblem.page, "The time of the batch was up before this ended."),
              ),
            ),
        }),
      )
    })

  // The batch has a place already: with none to spare it does one after the other in it, and no more than that.
  const wanted = Math.min(BATCH_CONCURRENCY, items.length) - 1
  const answers = yield* places(wanted, (more) => Effect.forEach(items, answer, { concurrency: more + 1 }))
  return `{"responses":[${answers.map((each, index) => textOf(items[index]!.id, each)).join(",")}]}`
})

const textOf = (id: string, { body, headers, status }: ItemAnswer): string =>
  `{"id":${JSON.stringify(id)},"status":${status},"headers":${JSON.stringify(headers)},"body":${body}}`

const commonHeaders = (outer: Headers.Headers): Record<string, string> => {
  const headers: Record<string, string> = {}
  for (const name of INHERITED) {
    const value = outer[name]
    if (value !== undefined) headers[name] = value
  }
  return headers
}

const headersOf = (
  { body, headers, method }: BatchItem,
  index: number,
  common: Readonly<Record<string, string>>,
  outer: Headers.Headers,
): Record<string, string> => {
  const all: Record<string, string> = { ...common, ...headers }
  if (body !== undefined) all["content-type"] = "application/json"
  if (CREDENTIALS.every((name) => headers[name] === undefined)) {
    for (const name of CREDENTIALS) if (outer[name] !== undefined) all[name] = outer[name]
  }
  // A batch that is sent again does what is left of it.
  const key = outer["idempotency-key"]
  if (key !== undefined && method !== "GET") all["idempotency-key"] ??= partKey(key, index)
  return all
}

/** An answer as part of the whole; what cannot be part of it becomes a problem. */
const shown = (
  response: Response,
  refused: (document: ProblemDocument, headers: ItemAnswer["headers"]) => ItemAnswer,
): ItemAnswer => {
  const { body, status } = response
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(response.headers))
    if (!HIDDEN_HEADERS.has(name)) headers[name] = value
  if (body._tag === "Empty") return { status, headers, body: "null" }
  const text = body._tag === "Uint8Array" ? jsonOf(body) : undefined
  if (text === undefined) {
    const document = documentOf(
      NotAcceptableProblem.page,
      "The answer is a stream or a file, which a batch cannot hold: ask for it by itself.",
    )
    return refused({ ...document, available_types: ["application/json"] }, headers)
  }
  if (Buffer.byteLength(text) > BATCH_ANSWER_BYTES_MAX) {
    const document = documentOf(ResponseTooLargeProblem.page, "Ask for it by itself, or for less at a time.")
    return refused({ ...document, limit_bytes: BATCH_ANSWER_BYTES_MAX }, headers)
  }
  return { status, headers, body: text }
}

type Bytes = Extract<Response["body"], { readonly _tag: "Uint8Array" }>

/** JSON as it is, other text as a JSON text; undefined for bytes. */
const jsonOf = (body: Bytes): string | undefined => {
  const { contentType } = body
  const isJson = /^application\/(?:[\w.-]+\+)?json(?:;|$)/.test(contentType)
  if (!isJson && !contentType.startsWith("text/")) return undefined
  const text = body.text ?? Buffer.from(body.body).toString()
  return isJson ? text : JSON.stringify(text)
}

/** The headers that still hold: who the request was. */
const KEPT_HEADERS = /^(?:x-|api-version$|ratelimit)/

const problemAnswer = (
  document: ProblemDocument,
  context: Parameters<typeof completeDocument>[1],
  headers: ItemAnswer["headers"],
): ItemAnswer => ({
  status: document["status"] as number,
  headers: {
    ...Object.fromEntries(Object.entries(headers).filter(([name]) => KEPT_HEADERS.test(name))),
    "content-type": "application/problem+json",
    "cache-control": "no-store",
  },
  body: JSON.stringify(completeDocument(document, context)),
})
