/**
 * Who is calling: the result of authentication, and all that authorization, rate limits and the journal's metadata need to
 * know. It is never built from what the caller says about itself.
 */
import { Context, Schema } from "effect"
import { Scope } from "./Scope.ts"

/** The plan that sets a caller's share of the service. */
export const Tier = Schema.Literals(["free", "starter", "creator", "pro", "enterprise"]).annotate({
  identifier: "Tier",
})
export type Tier = typeof Tier.Type

/** By what the caller was recognised: an API key, a user's token, or an internal signature. */
const PrincipalKind = Schema.Literals(["api_key", "user", "internal"])

/** A recognised caller. */
export class Principal extends Schema.Class<Principal>("Principal")({
  /** The key's own id (`key_…`), the user's (`user_…`, or `user:` and the subject of a token), or the name of an internal caller. */
  id: Schema.String,
  kind: PrincipalKind,
  /** The user on whose behalf it acts. */
  owner: Schema.String,
  scopes: Schema.Array(Scope),
  tier: Tier,
}) {}

/** The caller of the current request; only routes behind authorization have one. */
export class CurrentPrincipal extends Context.Service<CurrentPrincipal, Principal>()(
  "renderowl/security/CurrentPrincipal",
) {}
