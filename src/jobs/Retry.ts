/**
 * How long to wait before the next attempt. Exponential with full jitter: the wait is drawn evenly between nothing and
 * the ceiling, which spreads a crowd of failures best.
 *
 * @source https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
import { Duration } from "effect"

/** When and how often a job is tried again. */
export interface RetryPolicy {
  /** Attempts in all, the first one included. */
  readonly maxAttempts: number
  readonly backoff: "exponential" | "fixed"
  /** The ceiling of the first wait (`exponential`), or of every one (`fixed`). */
  readonly base: Duration.Input
  /** The ceiling of all waits. */
  readonly max: Duration.Input
  /** Draw the wait between 0 and the ceiling instead of waiting to the ceiling. */
  readonly jitter: boolean
}

/** What a job gets when it does not say otherwise. */
export const DEFAULT_RETRY: RetryPolicy = {
  maxAttempts: 3,
  backoff: "exponential",
  base: "1 second",
  max: "5 minutes",
  jitter: true,
}

/**
 * The wait in whole milliseconds after the `failures`-th failed attempt (1, 2, 3 …). `random` is in [0, 1).
 */
export const retryDelayMs = (policy: RetryPolicy, failures: number, random: number): number => {
  const base = Duration.toMillis(policy.base)
  const ceiling = Math.min(
    Duration.toMillis(policy.max),
    policy.backoff === "fixed" ? base : base * 2 ** Math.min(failures - 1, 50),
  )
  return Math.ceil(policy.jitter ? ceiling * random : ceiling)
}
