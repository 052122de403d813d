/**
 * The span of a request: begun at the edge, where it has its ids, and ended with what the edge tells of the request when it was
 * answered. Of what the conventions ask for, nothing is made before that.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
 */
import * as Otel from "@opentelemetry/api"
import { type Clock, Context, Exit, Option, Tracer } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { FinishedRequest } from "../Observer.ts"
import type { RequestIds, RequestTracer } from "../Tracing.ts"
import { cleanQuery } from "./Conventions.ts"
import { RecordedSpan, type SpanSink } from "./RecordedSpan.ts"
import type { IsSampled } from "./Sampling.ts"

type Request = HttpServerRequest.HttpServerRequest

const SERVER_ERROR = 500
const ANSWERED = Exit.void
const OUR_FAULT = { code: Otel.SpanStatusCode.ERROR }

class RequestSpan extends RecordedSpan {
  readonly #request: Request

  constructor(
    sink: SpanSink,
    request: Request,
    { parentSpanId, spanId, traceId }: RequestIds,
    startTime: bigint,
  ) {
    const parent =
      parentSpanId === undefined ? Option.none() : Option.some(remote({ traceId, spanId: parentSpanId }))
    super(sink, {
      name: request.method,
      kind: "server",
      traceId,
      spanId,
      parent,
      links: [],
      annotations: Context.empty(),
      startTime,
      sampled: true,
    })
    this.#request = request
  }

  finish({ durationMs, method, route, status, streamedMs = 0 }: FinishedRequest, endTime: bigint): void {
    const { headers, url } = this.#request
    const attributes: Otel.Attributes = {
      "http.request.method": method,
      "http.response.status_code": status,
      "url.scheme": this.#request.protocol ?? "http",
    }
    if (route !== undefined) attributes["http.route"] = route
    const queryAt = url.indexOf("?")
    attributes["url.path"] = queryAt === -1 ? url : url.slice(0, queryAt)
    if (queryAt !== -1 && queryAt < url.length - 1)
      attributes["url.query"] = cleanQuery(url.slice(queryAt + 1))
    const agent = headers["user-agent"]
    if (agent !== undefined) attributes["user_agent.original"] = agent
    const client = Option.getOrUndefined(this.#request.remoteAddress)
    if (client !== undefined) attributes["client.address"] = client
    const isOurFault = status >= SERVER_ERROR
    if (isOurFault) attributes["error.type"] = String(status)
    this.endAfter(
      durationMs + streamedMs,
      endTime,
      route === undefined ? method : `${method} ${route}`,
      attributes,
      isOurFault ? OUR_FAULT : undefined,
      ANSWERED,
    )
  }
}

const remote = (ids: { readonly traceId: string; readonly spanId: string }): Tracer.ExternalSpan =>
  Tracer.externalSpan({ ...ids, sampled: true })

/** Requests to the `untraced` paths are not recorded. */
export const requestTracer = (
  sink: SpanSink,
  isSampled: IsSampled,
  untraced: ReadonlyArray<string>,
): RequestTracer => {
  const paths = new Set(untraced)
  return {
    isRecorded: (url, traceId, caller) => !paths.has(url) && isSampled(traceId, caller),
    begin: (request, ids, startTime) => new RequestSpan(sink, request, ids, startTime),
  }
}

/** The request that a span was begun for has just been answered. */
export const finishRequest = (request: FinishedRequest, clock: Clock.Clock): void => {
  const { span } = request
  if (span instanceof RequestSpan) span.finish(request, clock.currentTimeNanosUnsafe())
}
