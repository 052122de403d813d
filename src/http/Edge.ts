/**
 * The outermost layer of every request: it gives the request its identity and its API version, refuses what is too large, too
 * late or too much, turns every failure into a problem, and puts the common headers on every answer. It knows nothing about
 * routes beyond their methods, and it is on the hot path: no schema runs here unless something went wrong.
 */
import { Cause, Context, Effect, type Fiber, Layer, Scope, Tracer, type Types } from "effect"
import {
  Headers,
  HttpPlatform,
  HttpRouter,
  HttpServerRequest,
  HttpServerRespondable,
  HttpServerResponse,
} from "effect/http"
import type { IncomingMessage } from "node:http"
import { Admission, type AdmissionLimits, RequestAdmission } from "./Admission.ts"
import { Arrivals } from "../telemetry/Arrivals.ts"
import { type ApiVersions, CurrentApiVersion } from "./ApiVersion.ts"
import { compressed, uncodedTags } from "./Compression.ts"
import type { Cors } from "./Cors.ts"
import { isDispatched } from "./DispatchedRequest.ts"
import { Drain } from "./Drain.ts"
import { failureAnswer } from "./FailureProblem.ts"
import { OVERLOAD_PAUSE_SECONDS, URL_CHARACTERS_MAX } from "./Limits.ts"
import { type AnyProblem, ProblemBase } from "./Problem.ts"
import { completeResponse } from "./ProblemResponse.ts"
import { quotaHeaders } from "./rate-limits/QuotaHeaders.ts"
import { gauge } from "../telemetry/Instruments.ts"
import { CurrentObserver, type Observer } from "../telemetry/Observer.ts"
import { CurrentRequestSpan, CurrentRequestTracer, type RequestTracer } from "../telemetry/Tracing.ts"
import * as RequestIdentity from "./RequestIdentity.ts"
import {
  InvalidRequestProblem,
  UnsupportedMediaTypeProblem,
  UnsupportedVersionProblem,
  UriTooLongProblem,
} from "./RequestProblems.ts"
import { report } from "./RequestReport.ts"
import {
  identityHeaders,
  securityHeadersFor,
  type StrictTransport,
  varyOf,
  withHeaders,
} from "./ResponseHeaders.ts"
import { RouteTable } from "./RouteTable.ts"
import { ResponseTooLargeProblem, ServiceUnavailableProblem } from "./ServiceProblems.ts"
import * as VersionRoute from "./VersionRoute.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse
type Refusal = AnyProblem & HttpServerRespondable.Respondable

export interface EdgeOptions {
  readonly versions: ApiVersions
  readonly cors: Cors | undefined
  readonly strictTransport: StrictTransport
  readonly admission: AdmissionLimits
  readonly responseBytesMax: number
  /** Paths that are served however many requests there are: a probe that is refused would get the process killed. */
  readonly alwaysAdmitted: ReadonlySet<string>
}

/**
 * Puts the edge around the routes that are provided with it: `routes.pipe(Layer.provide(Edge.layer(options)))`. Being built
 * before them makes its middleware the outermost one.
 */
export const layer = (
  options: EdgeOptions,
): Layer.Layer<
  HttpRouter.HttpRouter | RequestAdmission,
  never,
  HttpRouter.HttpRouter | HttpPlatform.HttpPlatform | Drain
> =>
  Layer.effectContext(
    Effect.gen(function* () {
      const router = yield* HttpRouter.HttpRouter
      const table = new RouteTable(options.versions)
      const admission = new Admission(options.admission)
      yield* measured(admission)
      yield* router.addGlobalMiddleware(
        make({
          ...options,
          admission,
          arrivals: yield* Arrivals.make,
          drain: yield* Drain,
          observer: yield* CurrentObserver,
          tracer: yield* CurrentRequestTracer,
          base: yield* ProblemBase,
          platform: yield* HttpPlatform.HttpPlatform,
          table,
        }),
      )
      return Context.make(HttpRouter.HttpRouter, table.recording(router)).pipe(
        Context.add(RequestAdmission, admission),
      )
    }),
  )

const measured = (admission: Admission) =>
  Effect.andThen(
    gauge({
      name: "http_server_active_requests",
      description: "Requests that are worked on",
      read: () => admission.requests,
    }),
    gauge({
      name: "renderowl_http_active_streams",
      description: "Answers that are being streamed: live events and downloads",
      read: () => admission.streams,
    }),
  )

interface Edge extends Omit<EdgeOptions, "admission"> {
  readonly admission: Admission
  readonly arrivals: Arrivals
  readonly drain: Drain["Service"]
  readonly observer: Observer
  /** `undefined`: requests are not traced. */
  readonly tracer: RequestTracer | undefined
  readonly base: string
  readonly platform: HttpPlatform.HttpPlatform["Service"]
  readonly table: RouteTable
}

/** One request on its way. */
interface Exchange {
  readonly request: Request
  readonly identity: RequestIdentity.RequestIdentity
  /** Where it is traced. */
  readonly span: Tracer.Span | undefined
  /** `undefined` when the request names a version that is not there. */
  readonly route: VersionRoute.VersionRoute | undefined
  readonly scope: Scope.Scope
  readonly fiber: Fiber.Fiber<unknown, unknown>
  /** When it had arrived, by `performance.now()`. */
  readonly startedAt: number
}

const make =
  (edge: Edge) =>
  (handler: Effect.Effect<Response, Types.unhandled>): Effect.Effect<Response, Types.unhandled> =>
    Effect.withFiber((fiber) => {
      const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
      const startedAt = isDispatched(request)
        ? performance.now()
        : edge.arrivals.ofRequest((request.source as IncomingMessage).socket)
      const { tracer } = edge
      const identity = RequestIdentity.fromHeaders(request.headers, request.url, tracer)
      const span =
        tracer !== undefined && identity.sampled ? tracer.begin(request, identity, startedAt) : undefined
      const choice = edge.versions.choose(request.url, request.headers)
      const route = choice === undefined ? undefined : VersionRoute.find(choice, request.method, edge)
      const scope = Context.getUnsafe(fiber.context as Context.Context<Scope.Scope>, Scope.Scope)
      const exchange: Exchange = { request, identity, span, route, scope, fiber, startedAt }
      // As in HttpRouter: the root of the request restores the context of its fiber.
      const context = contextOf(fiber.context, exchange)
      fiber.setContext(
        tracer === undefined ? context : Context.add(context, CurrentRequestSpan, span ?? null),
      )

      const preflight = route && answerPreflight(edge, request, route)
      if (preflight !== undefined) return send(edge, exchange, preflight)
      const refusal = refuse(edge, request) ?? (route === undefined ? unsupported(edge.versions) : undefined)
      if (refusal !== undefined) return sendProblem(edge, exchange, refusal)
      // Who had it made holds its place.
      const hasPlace = isDispatched(request)
      const isCounted = !hasPlace && edge.admission.enter()
      if (!isCounted && !hasPlace && !edge.alwaysAdmitted.has(pathOf(request.url))) {
        return sendProblem(edge, exchange, overloaded("requests"))
      }
      return Effect.matchCauseEffect(handler, {
        onSuccess: (response) => {
          if (isCounted) edge.admission.leave()
          return send(edge, exchange, response)
        },
        onFailure: (cause) => {
          if (isCounted) edge.admission.leave()
          return Effect.flatMap(answerFailure(edge, exchange, cause), (response) =>
            send(edge, exchange, response),
          )
        },
      })
    })

/** What routes find in the context: who the request is, its version, and itself as they know it. */
const contextOf = (
  context: Context.Context<never>,
  { identity, request, route }: Exchange,
): Context.Context<never> => {
  const identified = Context.add(context, RequestIdentity.CurrentRequest, identity)
  if (route === undefined) return identified
  const versioned = Context.add(identified, CurrentApiVersion, route.version)
  const tags = uncodedTags(request.headers)
  if (route.url === request.url && tags === undefined) return versioned
  return Context.add(
    versioned,
    HttpServerRequest.HttpServerRequest,
    request.modify({
      url: route.url,
      ...(tags === undefined ? {} : { headers: Headers.setAll(request.headers, tags) }),
    }),
  )
}

const answerPreflight = (
  { cors, table, versions }: Edge,
  request: Request,
  route: VersionRoute.VersionRoute,
): Response | undefined => {
  const headers = cors?.preflightHeaders(request.method, request.headers, () =>
    VersionRoute.methods(route, { table, versions }),
  )
  return headers === undefined ? undefined : HttpServerResponse.empty({ headers })
}

const sendProblem = (edge: Edge, exchange: Exchange, problem: Refusal): Effect.Effect<Response> =>
  Effect.flatMap(HttpServerRespondable.toResponse(problem), (response) => send(edge, exchange, response))

/** The answer as it leaves: complete, within its limits, with the common headers, and compressed. */
const send = (edge: Edge, exchange: Exchange, response: Response): Effect.Effect<Response> => {
  const refusal =
    response.body._tag === "Uint8Array" ? tooLarge(edge, response) : admitStream(edge, exchange, response)
  if (refusal !== undefined) return sendProblem(edge, exchange, refusal)
  const { identity, request } = exchange
  const complete =
    response.status < 400
      ? response
      : completeResponse(response, {
          base: edge.base,
          instance: pathOf(request.url),
          traceId: identity.traceId,
        })
  const sent = compressed(withCommonHeaders(edge, exchange, complete), request, edge.platform)
  if (!HttpServerResponse.isHttpServerResponse(sent))
    return Effect.map(sent, (sent) => {
      report(edge.observer, exchange, sent)
      return sent
    })
  report(edge.observer, exchange, sent)
  return Effect.succeed(sent)
}

/** Problems are exempt: they are bounded by themselves, and one of them is the answer to all others. */
const tooLarge = ({ responseBytesMax }: Edge, { body, status }: Response): Refusal | undefined =>
  status < 400 && body._tag === "Uint8Array" && body.contentLength > responseBytesMax
    ? new ResponseTooLargeProblem({ limit_bytes: responseBytesMax })
    : undefined

/** A stream has a place from before its first byte until the request's scope closes, however it ends. */
const admitStream = (
  { admission }: Edge,
  { request, scope }: Exchange,
  { body }: Response,
): Refusal | undefined => {
  // Nobody reads the stream of a request that was dispatched.
  if (body._tag === "Empty" || request.method === "HEAD" || isDispatched(request)) return undefined
  if (!admission.beginStream()) return overloaded("streams")
  Effect.runSync(
    Scope.addFinalizer(
      scope,
      Effect.sync(() => admission.endStream()),
    ),
  )
  return undefined
}

/** A header that the answer has already wins, but for those of the edge itself. Copied once: see {@link withHeaders}. */
const withCommonHeaders = (
  { cors, drain, strictTransport, versions }: Edge,
  { identity, request, route }: Exchange,
  response: Response,
): Response => {
  const version = versions.headers(route?.version ?? versions.current)
  // One literal: V8 makes a dictionary of an object that grows by assignments, and such a one takes 2 µs to make and to send
  // instead of 0.8 (measured).
  const headers: Record<string, string> = {
    ...securityHeadersFor(request.headers, strictTransport),
    ...identityHeaders(identity),
    ...quotaHeaders(identity),
    ...version,
    ...response.headers,
  }
  if (route?.inheritedFrom !== undefined) Object.assign(headers, VersionRoute.readdressed(headers, route))
  const link = version["link"]
  if (link !== undefined && headers["link"] !== link) headers["link"] = `${headers["link"]}, ${link}`
  if (route?.isNegotiated === true) headers["vary"] = varyOf(headers, ["Accept", "API-Version"])
  if (cors !== undefined) {
    Object.assign(headers, cors.answerHeaders(request.headers))
    headers["vary"] = varyOf(headers, ["Origin"])
  }
  // RFC 9112 §9.6: the client learns that the connection ends with this answer.
  if (drain.isDraining()) headers["connection"] = "close"
  return withHeaders(response, headers)
}

/** The answer to a failure; one that is our fault is logged with its cause, which the answer never shows. */
const answerFailure = (
  { table, versions }: Edge,
  { request, route }: Exchange,
  cause: Cause.Cause<unknown>,
): Effect.Effect<Response> => {
  const { answer, unexpected } = failureAnswer(cause, {
    allowedMethods: () => (route === undefined ? [] : VersionRoute.methods(route, { table, versions })),
    hasBody: hasBody(request),
  })
  const response = HttpServerRespondable.toResponse(answer)
  return unexpected ? Effect.andThen(logFailure(cause, request), response) : response
}

const logFailure = (cause: Cause.Cause<unknown>, request: Request): Effect.Effect<void> =>
  Effect.logError(
    "A request failed unexpectedly",
    { "http.request.method": request.method, "url.path": pathOf(request.url) },
    cause,
  )

/** What is refused before any route is looked up. Each check is a comparison or two. */
const refuse = ({ drain }: Edge, request: Request): Refusal | undefined => {
  if (drain.isDraining()) return new ServiceUnavailableProblem({ detail: "The server is stopping." })
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

const unsupported = ({ supported }: ApiVersions) =>
  new UnsupportedVersionProblem({ supported_versions: supported })

const overloaded = (what: "requests" | "streams") =>
  new ServiceUnavailableProblem({
    detail: what === "requests" ? "Too many requests at a time." : "Too many streams at a time.",
    retry_after: OVERLOAD_PAUSE_SECONDS,
  })

const pathOf = (url: string): string => {
  const end = url.search(/[?#]/)
  return end === -1 ? url : url.slice(0, end)
}
