/**
 * What every RenderOwl HttpApi shares: it refuses unknown fields and reports all errors at once, declares the problems that
 * any endpoint may answer with, and checks, before a handler runs, that the caller accepts what the endpoint produces
 * and that the body is not too long. `contract(api)` adds all of it; what can be worked out per endpoint is, once.
 */
import { Context, Effect, Layer, type Types } from "effect"
import { type Headers, HttpServerRequest, type HttpServerResponse } from "effect/http"
import { HttpApi, type HttpApiEndpoint, HttpApiGroup, HttpApiMiddleware, OpenApi } from "effect/http-api"
import { preferred } from "./Accept.ts"
import { Authorization, requiredScopes } from "./Authorization.ts"
import { counted } from "./JsonBudget.ts"
import { BODY_BYTES_MAX } from "./Limits.ts"
import {
  InvalidIdProblem,
  InvalidRequestProblem,
  MalformedJsonProblem,
  NotAcceptableProblem,
  PayloadTooLargeProblem,
  UnsupportedMediaTypeProblem,
  ValidationFailedProblem,
} from "./RequestProblems.ts"
import { InternalErrorProblem, ServiceUnavailableProblem } from "./ServiceProblems.ts"

/** All errors, and none for what is left over in the headers: those are for everyone. */
const HEADER_PARSING = { errors: "all" } as const
const STRICT_PARSING = { errors: "all", onExcessProperty: "error" } as const

/** The middleware behind {@link contract}. */
export class Contract extends HttpApiMiddleware.Service<Contract>()("renderowl/http/Contract", {
  error: [
    ValidationFailedProblem,
    InvalidRequestProblem,
    InvalidIdProblem,
    MalformedJsonProblem,
    NotAcceptableProblem,
    PayloadTooLargeProblem,
    UnsupportedMediaTypeProblem,
    InternalErrorProblem,
    ServiceUnavailableProblem,
  ],
}) {
  static readonly layer = Layer.succeed(Contract, (handler, { endpoint, group }) => {
    assertScopes(group, endpoint)
    const produced = producedTypes(endpoint)
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
      const types = produced()
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
        const refusal = refuse(request.headers)
        if (refusal !== undefined) return Effect.fail(refusal)
        const bounded = parsesJson ? counted(request) : request
        return bounded === request
          ? handler
          : Effect.provideService(handler, HttpServerRequest.HttpServerRequest, bounded)
      },
    )
  })
}

/** Puts an API under the contract. Groups added later are not: call it last. */
export const contract = <Id extends string, Groups extends HttpApiGroup.Constraint>(
  api: HttpApi.HttpApi<Id, Groups>,
) =>
  api
    .annotate(HttpApi.ParamsParseOptions, STRICT_PARSING)
    .annotate(HttpApi.QueryParseOptions, STRICT_PARSING)
    .annotate(HttpApi.PayloadParseOptions, STRICT_PARSING)
    .annotate(HttpApi.HeadersParseOptions, HEADER_PARSING)
    .middleware(Contract)

/** A route that forgot to say who may call it must not start. */
const assertScopes = (group: HttpApiGroup.Top, endpoint: HttpApiEndpoint.Top): void => {
  if (!endpoint.middlewares.has(Authorization) || requiredScopes(group, endpoint) !== undefined) return
  throw new Error(
    `${group.identifier}.${endpoint.identifier} is behind Authorization: annotate it with requireScopes(...)`,
  )
}

/**
 * The media types of the endpoint's successes, none when they have no body. They are read from its OpenAPI description,
 * which costs about a millisecond and so waits for the first caller with an Accept header of its own.
 */
const producedTypes = (endpoint: HttpApiEndpoint.Top): (() => ReadonlyArray<string>) => {
  let types: ReadonlyArray<string> | undefined
  return () => {
    if (types !== undefined) return types
    const { paths } = OpenApi.fromApi(
      HttpApi.make("negotiation").add(HttpApiGroup.make("negotiation").add(endpoint)),
    )
    const method = endpoint.method.toLowerCase() as Lowercase<typeof endpoint.method>
    const operation = method === "query" ? undefined : Object.values(paths)[0]?.[method]
    types = Object.entries(operation?.responses ?? {}).flatMap(([status, { content }]) =>
      status.startsWith("2") ? Object.keys(content ?? {}).map(withoutParameters) : [],
    )
    return types
  }
}

const withoutParameters = (mediaType: string): string => mediaType.split(";")[0]!.trim().toLowerCase()
