/**
 * Whether a caller may have one more answer now, by token buckets that Effect's `RateLimiter` can go by as well. Recognised callers are
 * counted by their own id, all others by the network that they come from. So are credentials that are refused: where too
 * many different ones come from, those that are not known yet are not even looked at. `admin` is counted and never refused.
 */
import { Clock, Context, Effect, type Fiber, Layer, type Redacted } from "effect"
import { clientNetwork } from "../../security/ClientNetwork.ts"
import type { Principal, Tier } from "../../security/Principal.ts"
import { counterOf, gauge } from "../../telemetry/Instruments.ts"
import { RateLimitExceededProblem } from "../AccessProblems.ts"
import { CurrentRequest } from "../RequestIdentity.ts"
import { addressKey, LimitsStore, type LimitsStoreStats } from "./LimitsStore.ts"
import { type Policy, policyOf, TIERS } from "./Policy.ts"
import { noteQuota, type Quota } from "./QuotaHeaders.ts"
import { RefusedCredentials } from "./RefusedCredentials.ts"
import type { CallerKind, OrderedViolation } from "./Violations.ts"

/** What is asked for, as it is declared: `GET /v1/jobs/:id`. */
export interface LimitedRoute {
  readonly method: string
  readonly path: string
}

/** Undefined: the request may go on. */
type Verdict = Effect.Effect<RateLimitExceededProblem | undefined>

export interface RateLimitCounts {
  readonly allowed: number
  readonly refused: number
  /** Beyond the limit, and answered all the same. */
  readonly exempt: number
}

export interface RateLimits {
  /** Counts a request of a recognised caller. */
  readonly admit: (principal: Principal, route: LimitedRoute) => Verdict
  /** Counts a request from an address, against the share of anonymous callers unless another is given. */
  readonly admitAddress: (address: string | undefined, route: LimitedRoute, policy?: Policy) => Verdict
  /**
   * Whether credentials that are not known yet may be tried from an address. Counts nothing, unless they were refused before:
   * then it is a request like any other without credentials, and no guess.
   */
  readonly admitAttempt: (
    credential: Redacted.Redacted<string>,
    address: string | undefined,
    route: LimitedRoute,
  ) => Verdict
  /** Counts credentials that were refused, once. */
  readonly attemptFailed: (
    credential: Redacted.Redacted<string>,
    address: string | undefined,
    route: LimitedRoute,
  ) => Effect.Effect<void>
  /** Who was refused, the newest first, of those before a `sequence`. */
  readonly violations: (before?: number) => ReadonlyArray<OrderedViolation>
  readonly stats: () => RateLimitCounts & LimitsStoreStats
}

const ALLOWED: Verdict = Effect.undefined

const unlimited: RateLimits = {
  admit: () => ALLOWED,
  admitAddress: () => ALLOWED,
  admitAttempt: () => ALLOWED,
  attemptFailed: () => Effect.void,
  violations: () => [],
  stats: () => ({
    allowed: 0,
    refused: 0,
    exempt: 0,
    callers: 0,
    addresses: 0,
    evictions: 0,
    isFileInUse: false,
  }),
}

/** The limits of this server; without {@link layer}, there are none. */
export const RateLimits = Context.Reference<RateLimits>("renderowl/http/rate-limits/RateLimits", {
  defaultValue: () => unlimited,
})

export interface RateLimitOptions {
  /** The tier whose share anonymous callers have. */
  readonly anonymousTier: Tier
}

/** Who asks, and what is counted. */
interface Caller {
  readonly key: string
  readonly policy: Policy
  readonly id: string
  readonly kind: CallerKind
}

const make = Effect.fnUntraced(function* ({ anonymousTier }: RateLimitOptions) {
  const { refused, stats: storeStats, take: takeFromBucket, violations } = yield* LimitsStore
  const { anonymous, failedAuthentication } = TIERS[anonymousTier]
  const counts = { allowed: 0, refused: 0, exempt: 0 }
  const refusedCredentials = new RefusedCredentials()

  const note = (fiber: AnyFiber, quota: Quota): void => {
    const identity = fiber.getRef(CurrentRequest)
    if (identity !== undefined) noteQuota(identity, quota)
  }

  /**
   * Takes from a bucket, as `RateLimiter.consume` does, and answers `[remaining, elapsedMillis]`; `remaining` is negative where
   * there was not as much. Straight from the store of that, and at once: through `consume`, a check takes 3 µs and a refusal
   * 60, most of it for errors that are made and checked; so it is 0.2 and 9 (measured).
   */
  const take = ({ key, policy: { limit, refillMs } }: Caller, tokens: number, now: number) =>
    takeFromBucket({ key, tokens, limit, refillMs, allowOverflow: false }, now)

  /** Counts a request, which is refused when there is nothing left. */
  const spend = (caller: Caller, route: LimitedRoute, isExempt = false): Verdict =>
    Effect.withFiber((fiber) => {
      const now = nowOf(fiber)
      const [left, elapsedMs] = take(caller, 1, now)
      if (left < 0 && !isExempt) return Effect.succeed(refuse(fiber, caller, route, { now, elapsedMs }))
      if (left < 0) counts.exempt++
      else counts.allowed++
      const remaining = Math.max(0, left)
      const { policy } = caller
      note(fiber, { policy, remaining, resetMs: resetMsOf(policy, remaining, elapsedMs) })
      return ALLOWED
    })

  const refuse = (
    fiber: AnyFiber,
    { id, kind, policy }: Caller,
    route: LimitedRoute,
    { elapsedMs, now }: { readonly now: number; readonly elapsedMs: number },
  ): RateLimitExceededProblem => {
    // Whole seconds, and never at once: a bucket may have its next token within the millisecond.
    const retryAfter = Math.max(1, Math.ceil((policy.refillMs - elapsedMs) / 1_000))
    counts.refused++
    refused({ caller: id, kind, policy: policy.name, route: `${route.method} ${route.path}` }, now)
    note(fiber, { policy, remaining: 0, resetMs: retryAfter * 1_000 })
    return new RateLimitExceededProblem({
      detail: `${policy.perMinute} requests a minute are allowed (${policy.name}).`,
      retry_after: retryAfter,
      limit: policy.perMinute,
      remaining: 0,
      reset_at: new Date(now + resetMsOf(policy, 0, elapsedMs)).toISOString(),
    })
  }

  const addressCaller = (address: string | undefined, policy: Policy): Caller => {
    const network = clientNetwork(address)
    return { key: addressKey(policy.name, network), policy, id: network, kind: "address" }
  }

  for (const outcome of ["allowed", "refused", "exempt"] as const) {
    yield* counterOf({
      name: "renderowl_rate_limit_requests_total",
      description: "Requests that were counted against a rate limit; exempt: beyond it, by an administrator",
      labels: { outcome },
      read: () => counts[outcome],
    })
  }
  yield* gauge({
    name: "renderowl_rate_limit_buckets",
    description: "Callers whose rate is being counted",
    read: () => {
      const { addresses, callers } = storeStats()
      return addresses + callers
    },
  })

  const limits: RateLimits = {
    admit: (principal, route) => {
      const { id, kind, scopes } = principal
      const caller: Caller = { key: id, policy: policyOf(principal), id, kind }
      return spend(caller, route, scopes.includes("admin"))
    },
    admitAddress: (address, route, policy = anonymous) => spend(addressCaller(address, policy), route),
    admitAttempt: (credential, address, route) => {
      if (refusedCredentials.has(credential)) return spend(addressCaller(address, anonymous), route)
      const caller = addressCaller(address, failedAuthentication)
      return Effect.withFiber((fiber) => {
        const now = nowOf(fiber)
        const [left, elapsedMs] = take(caller, 0, now)
        return left < 1 ? Effect.succeed(refuse(fiber, caller, route, { now, elapsedMs })) : ALLOWED
      })
    },
    attemptFailed: (credential, address, route) => {
      if (refusedCredentials.has(credential)) return Effect.void
      refusedCredentials.add(credential)
      return Effect.asVoid(spend(addressCaller(address, failedAuthentication), route))
    },
    violations,
    stats: () => ({ ...counts, ...storeStats() }),
  }
  return limits
})

type AnyFiber = Fiber.Fiber<unknown, unknown>

const nowOf = (fiber: AnyFiber): number => fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

/** Milliseconds until the bucket is full. */
const resetMsOf = ({ limit, refillMs }: Policy, remaining: number, elapsedMs: number): number =>
  Math.max(0, (limit - remaining) * refillMs - elapsedMs)

/** The limits, with their counts in a `LimitsStore`. */
export const layer = (options: RateLimitOptions): Layer.Layer<never, never, LimitsStore> =>
  Layer.effect(RateLimits, make(options))
