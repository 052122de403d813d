/**
 * The outermost layer of every request: it gives the request its identity, refuses what is too large or too late, turns
 * every failure into a problem, and puts the common headers on every answer. It knows nothing about routes beyond their
 * methods, and it is on the hot path: no schema runs here unless something went wrong.
 */
import { Cause, Context, Effect, type Fiber, Layer, Tracer, type Types } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerRespondable, type HttpServerResponse } from "effect/http"
import type { IncomingMessage } from "node:http"
import { Drain } from "./Drain.ts"
import { failureAnswer } from "./FailureProblem.ts"
import { URL_CHARACTERS_MAX } from "./Limits.ts"
import { type AnyProblem, ProblemBase } from "./Problem.ts"
import { completeResponse } from "./ProblemResponse.ts"
import * as RequestIdentity from "./RequestIdentity.ts"
import { InvalidRequestProblem, UnsupportedMediaTypeProblem, UriTooLongProblem } from "./RequestProblems.ts"
import { withResponseHeaders } from "./ResponseHeaders.ts"
import { RouteTable } from "./RouteTable.ts"
import { ServiceUnavailableProblem } from "./ServiceProblems.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse

/**
 * Puts the edge around the routes that are provided with it: `routes.pipe(Layer.provide(Edge.layer))`. Being built
 * before them makes its middleware the outermost one.
 */
export const layer: Layer.Layer<HttpRouter.HttpRouter, never, HttpRouter.HttpRouter | Drain> = Layer.effect(
  HttpRouter.HttpRouter,
  Effect.gen(function* () {
    const router = yield* HttpRouter.HttpRouter
    const drain = yield* Drain
    const base = yield* ProblemBase
    const table = new RouteTable()
    yield* router.addGlobalMiddleware(make({ drain, base, table }))
    return table.recording(router)
  }),
)

const make = (options: {
  readonly drain: Drain["Service"]
  readonly base: string
  readonly table: RouteTable
}) => {
  const { base, drain, table } = options

  const respond = (
    response: Response,
    request: Request,
    identity: RequestIdentity.RequestIdentity,
  ): Response =>
    withResponseHeaders(
      response.status < 400
        ? response
        : completeResponse(response, { base, instance: pathOf(request.url), traceId: identity.traceId }),
      identity,
      drain.isDraining(),
    )

  return (handler: Effect.Effect<Response, Types.unhandled>): Effect.Effect<Response, Types.unhandled> =>
    Effect.withFiber((fiber) => {
      const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
      const identity = RequestIdentity.fromHeaders(request.headers, spanOf(fiber))
      // As in HttpRouter: the root of the request restores the context of its fiber.
      fiber.setContext(Context.add(fiber.context, RequestIdentity.CurrentRequest, identity))
      const refusal = drain.isDraining() ? stopping() : refuse(request)
      if (refusal !== undefined) {
        return Effect.map(HttpServerRespondable.toResponse(refusal), (response) =>
          respond(response, request, identity),
        )
      }
      return Effect.matchCauseEffect(handler, {
        onSuccess: (response) => Effect.succeed(respond(response, request, identity)),
        onFailure: (cause) =>
          Effect.map(answerFailure(cause, request, table), (response) =>
            respond(response, request, identity),
          ),
      })
    })
}

/** The answer to a failure; one that is our fault is logged with its cause, which the answer never shows. */
const answerFailure = (
  cause: Cause.Cause<unknown>,
  request: Request,
  table: RouteTable,
): Effect.Effect<Response> => {
  const { answer, unexpected } = failureAnswer(cause, {
    allowedMethods: () => table.methods(request.url),
    hasBody: hasBody(request),
  })
  const response = HttpServerRespondable.toResponse(answer)
  return unexpected ? Effect.andThen(logFailure(cause, request), response) : response
}

const logFailure = (cause: Cause.Cause<unknown>, request: Request): Effect.Effect<void> =>
  Effect.flatMap(RequestIdentity.CurrentRequest, (identity) =>
    Effect.logError("A request failed unexpectedly", cause).pipe(
      Effect.annotateLogs({
        trace_id: identity?.traceId,
        request_id: identity?.requestId,
        "http.request.method": request.method,
        "url.path": pathOf(request.url),
      }),
    ),
  )

/** What is refused before any route is looked up. Each check is a comparison or two. */
const refuse = (request: Request): (AnyProblem & HttpServerRespondable.Respondable) | undefined => {
  if (request.url.length > URL_CHARACTERS_MAX)
    return new UriTooLongProblem({ limit_characters: URL_CHARACTERS_MAX })
  if (request.headers["host"] === undefined && (request.source as IncomingMessage).httpVersionMinor !== 0) {
    return new InvalidRequestProblem({ detail: "The Host header is required (RFC 9112, section 3.2)." })
  }
  return hasBody(request) ? refuseBody(request) : undefined
}

const hasBody = ({ headers }: Request): boolean =>
  headers["transfer-encoding"] !== undefined || (headers["content-length"] ?? "0") !== "0"

/**
 * A body must say what it is: without Content-Type it would be parsed as JSON on a guess, and a cross-origin form post
 * needs no preflight. Compressed bodies are not read, so they are refused rather than misread.
 */
const refuseBody = ({ headers }: Request): UnsupportedMediaTypeProblem | undefined => {
  if (headers["content-type"] === undefined) {
    return new UnsupportedMediaTypeProblem({ detail: "The request has a body but no Content-Type." })
  }
  const encoding = headers["content-encoding"]
  if (encoding !== undefined && encoding.toLowerCase() !== "identity") {
    return new UnsupportedMediaTypeProblem({ detail: "Compressed bodies are not accepted." })
  }
  return undefined
}

const stopping = () => new ServiceUnavailableProblem({ detail: "The server is stopping." })

const spanOf = (fiber: Fiber.Fiber<unknown, unknown>): Tracer.AnySpan | undefined =>
  Context.getOrUndefined(fiber.context as Context.Context<Tracer.ParentSpan>, Tracer.ParentSpan)

const pathOf = (url: string): string => {
  const end = url.search(/[?#]/)
  return end === -1 ? url : url.slice(0, end)
}
