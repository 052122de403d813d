/**
 * What one caller may give to a key, or take over from one: nothing that it does not have itself. That goes for scopes, the
 * tier, the owner, and the limits of the key it calls with: a key that ends, or works from one network only, cannot make
 * one that does not. `admin` may give anything.
 */
import { Schema } from "effect"
import { contain } from "../../security/AllowedNetworks.ts"
import { Tier } from "../../security/Principal.ts"
import { covers, Scope } from "../../security/Scope.ts"

/** What a key may do, and what limits it. */
export interface Grant {
  readonly scopes: ReadonlyArray<Scope>
  readonly tier: Tier
  readonly owner: string
  readonly expires_at: number | null
  readonly allowed_ips: ReadonlyArray<string>
  readonly allowed_origins: ReadonlyArray<string>
}

/** Scopes were to be given, or taken over, that the caller does not hold. */
export class ScopesNotHeld extends Schema.TaggedError<ScopesNotHeld>()("ScopesNotHeld", {
  required: Schema.Array(Scope),
  held: Schema.Array(Scope),
}) {}

/** Something else was to be given, or taken over, that goes beyond the caller's own. */
export class GrantExceeded extends Schema.TaggedError<GrantExceeded>()("GrantExceeded", {
  what: Schema.Literals(["tier", "owner", "expires_at", "allowed_ips", "allowed_origins"]),
}) {}

/** Why `own` cannot give `wanted`; undefined when it can. */
export const excess = (own: Grant, wanted: Grant): ScopesNotHeld | GrantExceeded | undefined => {
  if (own.scopes.includes("admin")) return undefined
  if (!covers(own.scopes, wanted.scopes))
    return new ScopesNotHeld({ required: wanted.scopes, held: own.scopes })
  const beyond = limits.find(([, isWithin]) => !isWithin(own, wanted))
  return beyond === undefined ? undefined : new GrantExceeded({ what: beyond[0] })
}

/** The order of the tiers is the order of their shares. */
const rank = (tier: Tier): number => Tier.literals.indexOf(tier)

const limits: ReadonlyArray<readonly [GrantExceeded["what"], (own: Grant, wanted: Grant) => boolean]> = [
  ["owner", (own, wanted) => own.owner === wanted.owner],
  ["tier", (own, wanted) => rank(wanted.tier) <= rank(own.tier)],
  [
    "expires_at",
    (own, wanted) =>
      own.expires_at === null || (wanted.expires_at !== null && wanted.expires_at <= own.expires_at),
  ],
  [
    "allowed_ips",
    (own, wanted) =>
      own.allowed_ips.length === 0 ||
      (wanted.allowed_ips.length > 0 && contain(own.allowed_ips, wanted.allowed_ips)),
  ],
  [
    "allowed_origins",
    (own, wanted) =>
      own.allowed_origins.length === 0 ||
      (wanted.allowed_origins.length > 0 &&
        wanted.allowed_origins.every((origin) => own.allowed_origins.includes(origin))),
  ],
]
