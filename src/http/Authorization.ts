/**
 * Who may call a route. A group behind this middleware answers only to recognised callers and has a `CurrentPrincipal`;
 * each of its endpoints says which scopes it requires, with `requireScopes`. An endpoint that says nothing does not start.
 * Here, where it is known who calls, requests are counted against rate limits, and so are credentials that are refused.
 */
import { Clock, Context, Effect, Layer, Option, Redacted, type Types } from "effect"
import { HttpServerRequest, HttpServerRespondable, type HttpServerResponse } from "effect/http"
import {
  type HttpApiEndpoint,
  type HttpApiGroup,
  HttpApiMiddleware,
  HttpApiSecurity,
  OpenApi,
} from "effect/http-api"
import {
  type AuthenticationError,
  Authenticator,
  type Presentation,
  recognisedIn,
} from "../security/Authenticator.ts"
import { CurrentPrincipal, type Principal } from "../security/Principal.ts"
import { covers, type Scope } from "../security/Scope.ts"
import {
  ExpiredTokenProblem,
  InsufficientScopeProblem,
  InvalidApiKeyProblem,
  InvalidTokenProblem,
  IpRestrictedProblem,
  OriginRestrictedProblem,
  UnauthorizedProblem,
} from "./AccessProblems.ts"
import { type LimitedRoute, RateLimits } from "./rate-limits/RateLimits.ts"
import { securityProblems } from "./SecurityProblems.ts"
import { recognised } from "./RequestIdentity.ts"
import { ApiUse } from "./ApiUse.ts"
import { knownCredential } from "./ConnectionCredential.ts"
import { ServiceUnavailableProblem } from "./ServiceProblems.ts"

/** The scopes that an endpoint or a whole group requires; the endpoint's own replace those of its group. */
export class RequiredScopes extends Context.Service<RequiredScopes, ReadonlyArray<Scope>>()(
  "renderowl/http/Authorization/RequiredScopes",
) {}

/**
 * The annotation by which an endpoint or group requires scopes, all of them; without arguments any recognised caller will do.
 *
 * @example HttpApiEndpoint.get("get", "/jobs/:id", …).annotateMerge(requireScopes("jobs:read"))
 */
export const requireScopes = (...scopes: ReadonlyArray<Scope>): Context.Context<RequiredScopes> =>
  Context.make(RequiredScopes, scopes)

/** What an endpoint requires, or `undefined` when neither it nor its group says. */
export const requiredScopes = (
  group: HttpApiGroup.Top,
  endpoint: HttpApiEndpoint.Top,
): ReadonlyArray<Scope> | undefined =>
  Context.getOrUndefined(Context.merge(group.annotations, endpoint.annotations), RequiredScopes)

/** `Authorization: Bearer` with an API key or a JWT. */
const bearer = HttpApiSecurity.bearer.pipe(
  HttpApiSecurity.annotate(OpenApi.Description, "An API key (ro_live_…) or a JWT."),
)
/** `X-API-Key`, for clients that cannot set Authorization. */
const apiKey = HttpApiSecurity.apiKey({ in: "header", key: "x-api-key" }).pipe(
  HttpApiSecurity.annotate(OpenApi.Description, "An API key (ro_live_…)."),
)

/** What a caller is told who is not recognised, or may not do this. */
export const authorizationProblems = [
  UnauthorizedProblem,
  InvalidApiKeyProblem,
  InvalidTokenProblem,
  ExpiredTokenProblem,
  InsufficientScopeProblem,
  IpRestrictedProblem,
  OriginRestrictedProblem,
  ServiceUnavailableProblem,
] as const

export class Authorization extends HttpApiMiddleware.Service<Authorization, { provides: CurrentPrincipal }>()(
  "renderowl/http/Authorization",
  {
    security: { bearer, apiKey },
    error: authorizationProblems,
  },
) {
  static readonly layer = Layer.effect(
    Authorization,
    Effect.gen(function* () {
      const authenticator = yield* Authenticator
      const limits = yield* RateLimits
      const use = yield* ApiUse
      const scopesOf = cachedScopes()

      // Refusals are answered, not failed: a failure would make HttpApi try the next scheme and report that one's error instead.
      const authorize = (
        handler: Effect.Effect<HttpServerResponse.HttpServerResponse, Types.unhandled, CurrentPrincipal>,
        presented: Redacted.Redacted<string>,
        required: ReadonlyArray<Scope>,
        route: LimitedRoute,
        group: string,
      ) =>
        Effect.withFiber((fiber) => {
          const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
          const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
          const credential = knownCredential(request, Redacted.value(presented))
          const presentation = presentationOf(request, now)
          const { address } = presentation
          const attempt = authenticator.authenticate(credential, presentation)

          const admit = (principal: Principal) => {
            recognised(fiber, principal.id)
            return Effect.flatMap(limits.admit(principal, route), (refusal) => {
              if (refusal !== undefined) return HttpServerRespondable.toResponse(refusal)
              use.record(principal.id, group, now)
              return covers(principal.scopes, required)
                ? Effect.provideService(handler, CurrentPrincipal, principal)
                : HttpServerRespondable.toResponse(insufficient(principal, required))
            })
          }
          const known = recognisedIn(attempt)
          if (known !== undefined) return admit(known)
          return Effect.flatMap(limits.admitAttempt(credential, address, route), (refusal) => {
            if (refusal !== undefined) return HttpServerRespondable.toResponse(refusal)
            return Effect.matchEffect(attempt, {
              onFailure: (error) =>
                Effect.andThen(
                  error._tag === "AuthenticatorUnavailable"
                    ? Effect.void
                    : limits.attemptFailed(credential, address, route),
                  HttpServerRespondable.toResponse(problemOf(error)),
                ),
              onSuccess: admit,
            })
          })
        })

      type Scheme = (typeof Authorization)["Service"]["bearer"]
      const scheme =
        (unauthorized: (route: LimitedRoute) => ReturnType<Scheme>): Scheme =>
        (handler, { credential, endpoint, group }) =>
          Redacted.value(credential) === ""
            ? unauthorized(endpoint)
            : authorize(handler, credential, scopesOf(group, endpoint), endpoint, group.identifier)
      return Authorization.of({
        bearer: scheme(() => Effect.fail(new UnauthorizedProblem({}))),
        // Tried after the other one: here it is known that there are no credentials at all.
        apiKey: scheme((route) =>
          Effect.withFiber((fiber) => {
            const request = Context.getUnsafe(fiber.context, HttpServerRequest.HttpServerRequest)
            const address = Option.getOrUndefined(request.remoteAddress)
            return Effect.flatMap(limits.admitAddress(address, route), (refusal) =>
              refusal === undefined
                ? Effect.fail(new UnauthorizedProblem({}))
                : HttpServerRespondable.toResponse(refusal),
            )
          }),
        ),
      })
    }),
  )
}

/** What a request tells about where its credential comes from. */
export const presentationOf = (request: HttpServerRequest.HttpServerRequest, now: number): Presentation => ({
  now,
  address: Option.getOrUndefined(request.remoteAddress),
  origin: request.headers["origin"],
})

const problemOf = (error: AuthenticationError) =>
  // By the union of the errors, which no single case takes.
  (
    securityProblems[error._tag] as (
      error: AuthenticationError,
    ) => ReturnType<(typeof securityProblems)[typeof error._tag]>
  )(error)

const insufficient = (principal: Principal, required: ReadonlyArray<Scope>) =>
  new InsufficientScopeProblem({ required_scopes: required, your_scopes: principal.scopes })

/** Merging annotations on every request would cost more than the check itself. */
const cachedScopes = () => {
  const cache = new WeakMap<HttpApiEndpoint.Top, ReadonlyArray<Scope>>()
  return (group: HttpApiGroup.Top, endpoint: HttpApiEndpoint.Top): ReadonlyArray<Scope> => {
    let scopes = cache.get(endpoint)
    if (scopes === undefined) {
      // Contract refuses to start an endpoint without scopes; were it left out, only `admin` gets in.
      scopes = requiredScopes(group, endpoint) ?? ["admin"]
      cache.set(endpoint, scopes)
    }
    return scopes
  }
}
