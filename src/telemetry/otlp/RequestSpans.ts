/**
 * The span of a request: begun at the edge, where it has its ids, and ended with what the edge tells of the request when it was
 * answered. Of what the conventions ask for, nothing is made before that.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
 */
import * as Otel from "@opentelemetry/api"
import { Context, Exit, Option, Tracer } from "effect"
import type { HttpServerRequest } from "effect/http"
import type { FinishedRequest } from "../Observer.ts"
import { RequestKinds } from "../RequestKinds.ts"
import type { RequestIds, RequestTracer, SpanLimits } from "../Tracing.ts"
import { cleanQuery } from "./Conventions.ts"
import { RecordedSpan, type SpanSink } from "./RecordedSpan.ts"
import type { IsSampled } from "./Sampling.ts"
import { commonAttributes } from "./TraceRequest.ts"

type Request = HttpServerRequest.HttpServerRequest

const NANOS_PER_MILLI = 1_000_000
const SERVER_ERROR = 500
const ANSWERED = Exit.void
const OUR_FAULT = { code: Otel.SpanStatusCode.ERROR }

class RequestSpan extends RecordedSpan {
  readonly #request: Request
  /** Looked at when it begins: a connection that has closed does not know it. */
  readonly #address: string | undefined
  readonly #kinds: RequestKinds<Uint8Array>

  constructor(
    sink: SpanSink,
    kinds: RequestKinds<Uint8Array>,
    request: Request,
    { parentSpanId, spanId, traceId }: RequestIds,
    startedAt: number,
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
      startTime: Math.round((performance.timeOrigin + startedAt) * NANOS_PER_MILLI),
      sampled: true,
    })
    this.#request = request
    this.#address = Option.getOrUndefined(request.remoteAddress)
    this.#kinds = kinds
  }

  finish({ durationMs, method, route, status, streamedMs = 0 }: FinishedRequest, endNanos: number): void {
    const { headers, url } = this.#request
    const queryAt = url.indexOf("?")
    // One literal, always of the same shape: what there is none of is left out when it is written.
    const attributes: Otel.Attributes = {
      "url.path": queryAt === -1 ? url : url.slice(0, queryAt),
      "url.query":
        queryAt === -1 || queryAt === url.length - 1 ? undefined : cleanQuery(url.slice(queryAt + 1)),
      "user_agent.original": headers["user-agent"],
      "client.address": this.#address,
    }
    this.common = this.#kinds.of(method, route, status, this.#request.protocol ?? "http")
    this.endAfter(
      durationMs + streamedMs,
      endNanos,
      route === undefined ? method : `${method} ${route}`,
      attributes,
      status >= SERVER_ERROR ? OUR_FAULT : undefined,
      ANSWERED,
    )
  }
}

/** The attributes that requests of a kind have in common, written. */
const kindsOf = ({ charactersMax }: SpanLimits): RequestKinds<Uint8Array> =>
  new RequestKinds((method, route, status, scheme) =>
    commonAttributes(
      {
        "http.request.method": method,
        "http.response.status_code": status,
        "http.route": route,
        "url.scheme": scheme,
        "error.type": status >= SERVER_ERROR ? String(status) : undefined,
      },
      charactersMax,
    ),
  )

const remote = (ids: { readonly traceId: string; readonly spanId: string }): Tracer.ExternalSpan =>
  Tracer.externalSpan({ ...ids, sampled: true })

/** Requests to the `untraced` paths are not recorded. */
export const requestTracer = (
  sink: SpanSink,
  isSampled: IsSampled,
  untraced: ReadonlyArray<string>,
): RequestTracer => {
  const paths = new Set(untraced)
  const kinds = kindsOf(sink.limits)
  return {
    isRecorded: (url, traceId, caller) => !paths.has(url) && isSampled(traceId, caller),
    begin: (request, ids, startedAt) => new RequestSpan(sink, kinds, request, ids, startedAt),
  }
}

/** The request that a span was begun for has been answered. */
export const finishRequest = (request: FinishedRequest, endNanos: number): void => {
  const { span } = request
  if (span instanceof RequestSpan) span.finish(request, endNanos)
}
