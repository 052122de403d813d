/**
 * How much of the service a caller has, in one place: requests a minute and the burst on top, by tier and by how the caller
 * is known. A share is a bucket of tokens: it holds what a minute gives plus the burst, and refills evenly.
 */
import type { Principal, Tier } from "../../security/Principal.ts"

const MINUTE_MS = 60_000
const MINUTE_SECONDS = 60

/** One share of the service. */
export interface Policy {
  /** As the headers, the violations and people name it. */
  readonly name: string
  readonly perMinute: number
  readonly burst: number
  /** Tokens that the bucket holds. */
  readonly limit: number
  /** Milliseconds for one token. */
  readonly refillMs: number
  /**
   * `RateLimit-Policy`: the rate that lasts. What the burst allows on top of it is not promised to anybody.
   *
   * @source https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/
   */
  readonly header: string
}

const policy = (name: string, perMinute: number, burst = 0): Policy => {
  const limit = perMinute + burst
  const refillMs = MINUTE_MS / perMinute
  return {
    name,
    perMinute,
    burst,
    limit,
    refillMs,
    header: `"${name}";q=${perMinute};w=${MINUTE_SECONDS}`,
  }
}

/** The shares of one tier. */
export interface TierShares {
  readonly key: Policy
  readonly user: Policy
  /** Of an address from which somebody calls without credentials. */
  readonly anonymous: Policy
  /** Of an address, for different credentials that are refused; as large as the share of anonymous callers. */
  readonly failedAuthentication: Policy
}

const shares = (
  tier: Tier,
  key: readonly [number, number],
  user: readonly [number, number],
  anonymous: number,
): TierShares => ({
  key: policy(`${tier}-key`, ...key),
  user: policy(`${tier}-user`, ...user),
  anonymous: policy("anonymous", anonymous),
  failedAuthentication: policy("failed-authentication", anonymous),
})

/** Requests a minute (burst): of an API key, of a signed-in user, and of an anonymous caller. */
export const TIERS: Readonly<Record<Tier, TierShares>> = {
  free: shares("free", [100, 10], [30, 5], 10),
  starter: shares("starter", [1_000, 50], [100, 20], 20),
  creator: shares("creator", [5_000, 200], [500, 50], 50),
  pro: shares("pro", [20_000, 1_000], [2_000, 200], 200),
  enterprise: shares("enterprise", [100_000, 5_000], [10_000, 1_000], 1_000),
}

/** For `/live`, `/ready` and `/health`: a probe that is refused would get the process killed. */
export const PROBES = policy("probes", 6_000, 1_000)
/** For `/docs`, `/openapi.json` and the pages of problems, which anybody reads and which come from memory. */
export const DOCUMENTATION = policy("documentation", 600, 100)

/** The share of a recognised caller. Internal callers have that of a key. */
export const policyOf = ({ kind, tier }: Principal): Policy =>
  kind === "user" ? TIERS[tier].user : TIERS[tier].key
