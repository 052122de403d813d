/** Rate limits over a real file, and who asks. */
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { LimitsStore, type LimitsStoreOptions } from "../../../src/http/rate-limits/LimitsStore.ts"
import * as Limits from "../../../src/http/rate-limits/RateLimits.ts"
import { Principal, type Tier } from "../../../src/security/Principal.ts"
import type { Scope as Right } from "../../../src/security/Scope.ts"

export interface Opened {
  readonly limits: Limits.RateLimits
  readonly store: LimitsStore["Service"]
}

/** Opens them, for as long as the scope is open. */
export const open = (
  options: LimitsStoreOptions & Partial<Limits.RateLimitOptions>,
): Effect.Effect<Opened, never, Scope.Scope> =>
  Effect.map(
    Layer.build(
      Limits.layer({ anonymousTier: "free", ...options }).pipe(
        Layer.provideMerge(LimitsStore.layer(options)),
      ),
    ),
    (context) => ({
      limits: Context.get(context, Limits.RateLimits),
      store: Context.get(context, LimitsStore),
    }),
  )

/** Limits that can be closed before their test ends. */
export const openClosable = Effect.fnUntraced(function* (
  options: LimitsStoreOptions & Partial<Limits.RateLimitOptions>,
) {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const opened = yield* Scope.provide(open(options), scope)
  return { ...opened, close: Scope.close(scope, Exit.void) }
})

export const caller = (
  id: string,
  kind: "api_key" | "user" | "internal" = "api_key",
  tier: Tier = "free",
  scopes: ReadonlyArray<Right> = ["jobs:read"],
) => new Principal({ id, kind, owner: "user_1", scopes, tier })

export const ROUTE = { method: "GET", path: "/v1/jobs/:id" }

/** How many of `most` requests are admitted before the first that is not. */
export const admitted = Effect.fnUntraced(function* (
  verdict: ReturnType<Limits.RateLimits["admit"]>,
  most: number,
) {
  for (let n = 0; n < most; n++) if ((yield* verdict) !== undefined) return n
  return most
})
