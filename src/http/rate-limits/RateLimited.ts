/**
 * Every endpoint under the contract is counted, without saying so: what recognises its callers by who calls (see `Guards`), and all
 * others here, by where they are called from. An open endpoint may declare that it has another share than anonymous
 * callers have, with {@link limitedAs}. Routes that are no endpoints of an API are counted with {@link limitedRoutes}.
 */
import { Context, Effect, Layer, Option, type Types } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerRespondable, type HttpServerResponse } from "effect/http"
import { type HttpApiEndpoint, type HttpApiGroup, HttpApiMiddleware } from "effect/http-api"
import { RateLimitExceededProblem } from "../AccessProblems.ts"
import { isGuarded } from "../Guards.ts"
import type { Policy } from "./Policy.ts"
import { RateLimits } from "./RateLimits.ts"

class LimitedAs extends Context.Service<LimitedAs, Policy>()(
  "renderowl/http/rate-limits/RateLimited/LimitedAs",
) {}

/**
 * The annotation of an open endpoint or group with a share of its own.
 *
 * @example HttpApiEndpoint.get("live", "/live", …).annotateMerge(limitedAs(PROBES))
 */
export const limitedAs = (policy: Policy): Context.Context<LimitedAs> => Context.make(LimitedAs, policy)

const policyOf = (group: HttpApiGroup.Top, endpoint: HttpApiEndpoint.Top): Policy | undefined =>
  Context.getOrUndefined(Context.merge(group.annotations, endpoint.annotations), LimitedAs)

/** The middleware that the contract puts around every endpoint. */
export class RateLimited extends HttpApiMiddleware.Service<RateLimited>()(
  "renderowl/http/rate-limits/RateLimited",
  { error: RateLimitExceededProblem },
) {
  static readonly layer = Layer.effect(
    RateLimited,
    Effect.map(RateLimits, (limits) => (handler, { endpoint, group }) => {
      const policy = policyOf(group, endpoint)
      if (isGuarded(endpoint)) {
        if (policy === undefined) return handler
        throw new Error(
          `${group.identifier}.${endpoint.identifier} is limitedAs(${policy.name}), but is behind Authorization: there, callers have shares of their own`,
        )
      }
      return Effect.withFiber((fiber) =>
        Effect.flatMap(
          limits.admitAddress(addressOf(fiber.context), endpoint, policy),
          (
            refusal,
          ): Effect.Effect<
            HttpServerResponse.HttpServerResponse,
            Types.unhandled | RateLimitExceededProblem
          > => (refusal === undefined ? handler : Effect.fail(refusal)),
        ),
      )
    }),
  )
}

/** For `Layer.provide`: the routes that it is provided to are counted by address. */
export const limitedRoutes = (policy: Policy) =>
  HttpRouter.middleware(
    Effect.map(
      RateLimits,
      (limits) => (handler) =>
        Effect.withFiber((fiber) => {
          const context = fiber.context as Context.Context<never>
          const { route } = Context.getUnsafe(context, HttpRouter.RouteContext)
          return Effect.flatMap(limits.admitAddress(addressOf(context), route, policy), (refusal) =>
            refusal === undefined ? handler : HttpServerRespondable.toResponse(refusal),
          )
        }),
    ),
  ).layer

const addressOf = (context: Context.Context<never>): string | undefined =>
  Option.getOrUndefined(Context.getUnsafe(context, HttpServerRequest.HttpServerRequest).remoteAddress)
