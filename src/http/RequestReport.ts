/**
 * Tells the observer of each request, once: when its answer goes out, or when the last of a streamed answer has. It stands at the
 * edge, so what was refused there is told as well.
 */
import { Context, Effect, type Fiber, Scope, type Tracer } from "effect"
import { HttpRouter, type HttpServerRequest, type HttpServerResponse } from "effect/http"
import type { IncomingMessage } from "node:http"
import { answered } from "../telemetry/Arrivals.ts"
import type { Observer } from "../telemetry/Observer.ts"
import type { RequestIdentity } from "./RequestIdentity.ts"

/** As nginx calls it: the caller hung up before there was an answer. */
const CLIENT_CLOSED_REQUEST = 499

/** What the edge knows of a request. */
export interface ReportedExchange {
  readonly request: HttpServerRequest.HttpServerRequest
  readonly identity: RequestIdentity
  readonly span: Tracer.Span | undefined
  readonly fiber: Fiber.Fiber<unknown, unknown>
  readonly scope: Scope.Scope
  /** By `performance.now()`. */
  readonly startedAt: number
}

/** The answer is about to be sent. */
export const report = (
  observer: Observer,
  exchange: ReportedExchange,
  response: HttpServerResponse.HttpServerResponse,
): void => {
  if (!observer.hears("request")) return
  const { fiber, identity, request, scope, span, startedAt } = exchange
  // One that a request of a batch stands for has the connection of the batch, or none.
  const { socket } = request.source as { readonly socket: IncomingMessage["socket"] | undefined }
  const answeredAt = performance.now()
  if (socket !== undefined) answered(socket, answeredAt)
  const { body } = response
  // Now: when a stream has ended, the fiber's context is no longer that of its route.
  const context = fiber.context as Context.Context<HttpRouter.RouteContext>
  const matched = Context.getOrUndefined(context, HttpRouter.RouteContext)
  const finished = (streamedMs: number | undefined, bytes: number) => {
    const { principal, requestId, spanId, traceId } = identity
    observer.tell("request", {
      method: request.method,
      route: matched?.route.path,
      status:
        streamedMs === undefined && socket?.destroyed === true ? CLIENT_CLOSED_REQUEST : response.status,
      durationMs: answeredAt - startedAt,
      streamedMs,
      bytes,
      waited: response.headers["preference-applied"] !== undefined,
      principal,
      requestId,
      traceId,
      spanId,
      span,
    })
  }
  if (request.method === "HEAD" || body._tag === "Empty") return finished(undefined, 0)
  if (body._tag === "Uint8Array") return finished(undefined, body.contentLength)
  const sentBefore = socket?.bytesWritten ?? 0
  Effect.runSync(
    Scope.addFinalizer(
      scope,
      Effect.sync(() => finished(performance.now() - answeredAt, (socket?.bytesWritten ?? 0) - sentBefore)),
    ),
  )
}
