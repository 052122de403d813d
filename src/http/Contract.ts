/**
 * What every RenderOwl HttpApi shares: it refuses unknown fields and reports all errors at once, declares the problems that
 * any endpoint may answer with, and checks, before a handler runs, that the caller accepts what the endpoint produces
 * and that the body is not too long. It validates every answer to a GET. `contract(api)` adds all of it, rate limits, and the
 * `Idempotency-Key` of everything else; what can be worked out per endpoint is, once.
 */
import { Context, Effect, Layer, type Types } from "effect"
import { type Headers, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { HttpApi, type HttpApiEndpoint, type HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import { preferred } from "./Accept.ts"
import { requiredScopes } from "./Authorization.ts"
import { answerConditional, declaresConditions, notKept, validated, validationPolicy } from "./Conditional.ts"
import { isGuarded } from "./Guards.ts"
import { Idempotency, withIdempotency } from "./Idempotency.ts"
import { counted } from "./JsonBudget.ts"
import { strict } from "./JsonText.ts"
import { BODY_BYTES_MAX } from "./Limits.ts"
import { producedTypes } from "./ProducedTypes.ts"
import {
  ExpectationFailedProblem,
  HeadersTooLargeProblem,
  InvalidIdProblem,
  InvalidRequestProblem,
  MalformedJsonProblem,
  NotAcceptableProblem,
  PayloadTooLargeProblem,
  RequestTimeoutProblem,
  UnsupportedMediaTypeProblem,
  UnsupportedVersionProblem,
  UriTooLongProblem,
  ValidationFailedProblem,
} from "./RequestProblems.ts"
import { RateLimited } from "./rate-limits/RateLimited.ts"
import { cachingFault } from "./ResponseCache.ts"
import {
  InternalErrorProblem,
  ResponseTooLargeProblem,
  ServiceUnavailableProblem,
} from "./ServiceProblems.ts"

type Response = HttpServerResponse.HttpServerResponse

/** All errors, and none for what is left over in the headers: those are for everyone. */
const HEADER_PARSING = { errors: "all" } as const
const STRICT_PARSING = { errors: "all", onExcessProperty: "error" } as const

/** The middleware behind {@link contract}. Its problems are those of the edge and of the protocol as well: no route is without. */
export class Contract extends HttpApiMiddleware.Service<Contract>()("renderowl/http/Contract", {
  error: [
    ValidationFailedProblem,
    InvalidRequestProblem,
    InvalidIdProblem,
    MalformedJsonProblem,
    UnsupportedVersionProblem,
    NotAcceptableProblem,
    RequestTimeoutProblem,
    PayloadTooLargeProblem,
    UriTooLongProblem,
    UnsupportedMediaTypeProblem,
    ExpectationFailedProblem,
    HeadersTooLargeProblem,
    InternalErrorProblem,
    ResponseTooLargeProblem,
    ServiceUnavailableProblem,
  ],
}) {
  static readonly layer = Layer.succeed(Contract, (handler, { endpoint, group }) => {
    assertScopes(group, endpoint)
    assertDeclared(group, endpoint)
    const answered = answering(endpoint)
    const encodings = [...endpoint.payload.values()].map(({ encoding }) => encoding._tag)
    const buffersBody = encodings.some((encoding) => encoding !== "Stream")
    const parsesJson = encodings.includes("Json")
    const refuse = (headers: Headers.Headers): PayloadTooLargeProblem | NotAcceptableProblem | undefined => {
      if (buffersBody && Number(headers["content-length"]) > BODY_BYTES_MAX) {
        return new PayloadTooLargeProblem({ limit_bytes: BODY_BYTES_MAX })
      }
      const accept = headers["accept"]
      // What most clients send needs no parsing, and not even the list of types.
      if (accept === undefined || accept === "*/*") return undefined
      const types = producedTypes(endpoint)
      if (types.length === 0 || types.includes(accept) || preferred(accept, types) !== undefined)
        return undefined
      return new NotAcceptableProblem({ available_types: types })
    }
    return Effect.withFiber(
      (
        fiber,
      ): Effect.Effect<
        HttpServerResponse.HttpServerResponse,
        Types.unhandled | PayloadTooLargeProblem | NotAcceptableProblem
      > => {
        const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
        const { headers } = request
        const refusal = refuse(headers)
        if (refusal !== undefined) return Effect.fail(refusal)
        return answered(
          parsesJson
            ? Effect.provideService(handler, HttpServerRequest.HttpServerRequest, counted(strict(request)))
            : handler,
          headers,
        )
      },
    )
  }).pipe(Layer.merge(RateLimited.layer), Layer.merge(Idempotency.layer))
}

/** Puts an API under the contract. Groups added later are not: call it last. */
export const contract = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
) =>
  withIdempotency(api)
    .annotate(HttpApi.ParamsParseOptions, STRICT_PARSING)
    .annotate(HttpApi.QueryParseOptions, STRICT_PARSING)
    .annotate(HttpApi.PayloadParseOptions, STRICT_PARSING)
    .annotate(HttpApi.HeadersParseOptions, HEADER_PARSING)
    .middleware(RateLimited)
    .middleware(Contract)

/** A route that forgot to say who may call it must not start. */
const assertScopes = (group: HttpApiGroup.Top, endpoint: HttpApiEndpoint.Top): void => {
  if (!isGuarded(endpoint) || requiredScopes(group, endpoint) !== undefined) return
  throw new Error(
    `${group.identifier}.${endpoint.identifier} is behind Authorization: annotate it with requireScopes(...)`,
  )
}

/** So must one that changes or keeps something and does not say how. */
const assertDeclared = (group: HttpApiGroup.Top, endpoint: HttpApiEndpoint.Top): void => {
  const fault = declaresConditions(endpoint)
    ? cachingFault(endpoint)
    : "changes something: put it behind IfMatch, or annotate it as unconditional(...)"
  if (fault !== undefined) throw new Error(`${group.identifier}.${endpoint.identifier} ${fault}`)
}

/** What is done with the answers of an endpoint: those to a GET are validated, all others are not to be kept. */
const answering = (endpoint: HttpApiEndpoint.Top) => {
  if (endpoint.method !== "GET")
    return <E, R>(handler: Effect.Effect<Response, E, R>) => Effect.map(handler, notKept)
  const policy = validationPolicy(endpoint)
  return <E, R>(handler: Effect.Effect<Response, E, R>, headers: Headers.Headers) =>
    Effect.map(handler, (response) =>
      answerConditional(validated(response, policy), headers["if-none-match"]),
    )
}
