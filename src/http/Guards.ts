/**
 * What recognises callers: an endpoint behind any of these answers nobody else, and says which scopes it requires.
 */
import type { HttpApiEndpoint } from "effect/http-api"
import { Authorization } from "./Authorization.ts"
import { InternalAuthorization, InternalSignature } from "./InternalAuthorization.ts"

const GUARDS: ReadonlySet<unknown> = new Set([Authorization, InternalAuthorization, InternalSignature])

/** Whether an endpoint tells its callers apart. */
export const isGuarded = (endpoint: HttpApiEndpoint.Top): boolean =>
  [...endpoint.middlewares].some((middleware) => GUARDS.has(middleware))

/** The place of what guards an endpoint among its middlewares, from the innermost; -1 when anybody may call. */
export const guardAt = (middlewares: ReadonlyArray<unknown>): number =>
  middlewares.findIndex((middleware) => GUARDS.has(middleware))
