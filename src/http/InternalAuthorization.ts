/**
 * Who may call routes that are the operator's: administrators, and internal callers. {@link InternalAuthorization} is for
 * `/internal/*` and the like; {@link InternalSignature} for what only a signed request may say. Both are declared like
 * `Authorization`, show in OpenAPI, and give the handler a `CurrentPrincipal` of the kind `internal`.
 */
import { Context, Effect, Layer, Option, Redacted, type Types } from "effect"
import { HttpServerRequest, HttpServerRespondable, type HttpServerResponse } from "effect/http"
import { HttpApiMiddleware, HttpApiSecurity, OpenApi } from "effect/http-api"
import { CurrentPrincipal, type Principal } from "../security/Principal.ts"
import { InvalidSignatureProblem, UnauthorizedProblem } from "./AccessProblems.ts"
import { Authorization, authorizationProblems } from "./Authorization.ts"
import { InternalCallers } from "./InternalCallers.ts"
import { type LimitedRoute, RateLimits } from "./rate-limits/RateLimits.ts"
import { recognised } from "./RequestIdentity.ts"
import { securityProblems } from "./SecurityProblems.ts"
import { ServiceUnavailableProblem } from "./ServiceProblems.ts"

type Request = HttpServerRequest.HttpServerRequest
type Response = HttpServerResponse.HttpServerResponse
type Handler = Effect.Effect<Response, Types.unhandled, CurrentPrincipal>

const signature = HttpApiSecurity.apiKey({ in: "header", key: "webhook-signature" }).pipe(
  HttpApiSecurity.annotate(
    OpenApi.Description,
    "Standard Webhooks: `v1,` and the HMAC-SHA256 in base64 over `webhook-id`.`webhook-timestamp`.body, with these two headers beside it.",
  ),
)

/** An administrator, a signed request, or a call from this machine where that is open. */
export class InternalAuthorization extends HttpApiMiddleware.Service<
  InternalAuthorization,
  { provides: CurrentPrincipal }
>()("renderowl/http/InternalAuthorization", {
  security: { signature, ...Authorization.security },
  error: [InvalidSignatureProblem, ...authorizationProblems],
}) {
  static readonly layer = Layer.effect(
    InternalAuthorization,
    Effect.gen(function* () {
      const callers = yield* InternalCallers
      const limits = yield* RateLimits
      const { apiKey, bearer } = yield* Authorization
      return InternalAuthorization.of({
        apiKey,
        bearer,
        signature: (handler, { credential, endpoint }) =>
          Effect.flatMap(
            currentRequest,
            (request): Effect.Effect<Response, Types.unhandled | UnauthorizedProblem> => {
              const call: Call = { request, handler, endpoint, limits }
              if (Redacted.value(credential) !== "") return receive(callers, call)
              const neighbour = hasCredentials(request) ? undefined : callers.neighbour(request)
              return neighbour === undefined
                ? Effect.fail(new UnauthorizedProblem({}))
                : serve(neighbour, call)
            },
          ),
      })
    }),
  )
}

/** A signed request, and nobody else. */
export class InternalSignature extends HttpApiMiddleware.Service<
  InternalSignature,
  { provides: CurrentPrincipal }
>()("renderowl/http/InternalSignature", {
  security: { signature },
  error: [UnauthorizedProblem, InvalidSignatureProblem, ServiceUnavailableProblem],
}) {
  static readonly layer = Layer.effect(
    InternalSignature,
    Effect.gen(function* () {
      const callers = yield* InternalCallers
      const limits = yield* RateLimits
      return InternalSignature.of({
        signature: (handler, { credential, endpoint }) =>
          Effect.flatMap(currentRequest, (request) => {
            const call: Call = { request, handler, endpoint, limits }
            return Redacted.value(credential) === ""
              ? refuse(call, new UnauthorizedProblem({ detail: "Only signed requests are taken here." }))
              : receive(callers, call)
          }),
      })
    }),
  )
}

/** A request, and what is behind it once it is known whose it is. */
interface Call {
  readonly request: Request
  readonly handler: Handler
  readonly endpoint: LimitedRoute
  readonly limits: RateLimits
}

const currentRequest = Effect.withFiber<Request>((fiber) =>
  Effect.succeed(Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)),
)

/** Counted like that of anybody who is recognised; internal callers hold `admin`, and are never refused for it. */
const serve = (principal: Principal, { endpoint, handler, limits }: Call) =>
  Effect.withFiber<Response, Types.unhandled>((fiber) => {
    recognised(fiber, principal.id)
    return Effect.flatMap(limits.admit(principal, endpoint), (refusal) =>
      refusal === undefined
        ? Effect.provideService(handler, CurrentPrincipal, principal)
        : HttpServerRespondable.toResponse(refusal),
    )
  })

/** Counted by where it comes from. */
const refuse = (
  { endpoint, limits, request }: Call,
  problem: HttpServerRespondable.Respondable,
): Effect.Effect<Response> =>
  Effect.flatMap(limits.admitAddress(Option.getOrUndefined(request.remoteAddress), endpoint), (refusal) =>
    HttpServerRespondable.toResponse(refusal ?? problem),
  )

/** Whoever brings some is asked for them, wherever the call comes from. */
const hasCredentials = ({ headers }: Request): boolean =>
  headers["authorization"] !== undefined || headers["x-api-key"] !== undefined

/** An answer that says no: the message has not been carried out. */
class Declined {
  readonly _tag = "Declined"
  readonly response: Response
  constructor(response: Response) {
    this.response = response
  }
}

/** Answered, not failed: a failure would make HttpApi try the next scheme and report that one's error instead. */
const receive = (callers: InternalCallers["Service"], call: Call) =>
  callers
    .receive(call.request, (signer) =>
      Effect.flatMap(serve(signer, call), (response) =>
        response.status < 400 ? Effect.succeed(response) : Effect.fail(new Declined(response)),
      ),
    )
    .pipe(
      Effect.catchTags({
        Declined: ({ response }) => Effect.succeed(response),
        SignatureRefused: (error) => refuse(call, securityProblems.SignatureRefused(error)),
        Replayed: (error) => refuse(call, securityProblems.Replayed(error)),
        ReplayGuardFull: (error) => refuse(call, securityProblems.ReplayGuardFull(error)),
      }),
    )
