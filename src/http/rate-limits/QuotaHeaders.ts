/**
 * What an answer says about the share that its request was counted against. It is noted where the request is counted, and read at
 * the edge, which every answer passes: problems that a handler failed with, answers from the cache, and refusals alike.
 *
 * @source https://datatracker.ietf.org/doc/draft-ietf-httpapi-ratelimit-headers/ (draft 11)
 */
import type { RequestIdentity } from "../RequestIdentity.ts"
import type { Policy } from "./Policy.ts"

/** How much of a share is left. */
export interface Quota {
  readonly policy: Policy
  /** Requests that would be answered now. */
  readonly remaining: number
  /** Milliseconds until the share is whole again; for a request that was refused, until one is answered again. */
  readonly resetMs: number
}

/** On the identity itself: an entry of a WeakMap costs the request, and the collector after it, a microsecond (measured). */
interface Counted extends RequestIdentity {
  [QUOTA]?: Quota
}

const QUOTA = Symbol("renderowl/http/rate-limits/Quota")

/** Of several that a request was counted against, the last one is told. */
export const noteQuota = (identity: RequestIdentity, quota: Quota): void => {
  ;(identity as Counted)[QUOTA] = quota
}

/** `RateLimit-Policy` and `RateLimit`; nothing for a request that was not counted. */
export const quotaHeaders = (identity: RequestIdentity): Readonly<Record<string, string>> | undefined => {
  const quota = (identity as Counted)[QUOTA]
  if (quota === undefined) return undefined
  const { policy, remaining, resetMs } = quota
  return {
    "ratelimit-policy": policy.header,
    // What is left of the burst is not part of the quota that the policy promises.
    ratelimit: `"${policy.name}";r=${Math.min(remaining, policy.perMinute)};t=${Math.ceil(resetMs / 1_000)}`,
  }
}
