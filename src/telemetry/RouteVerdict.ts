/**
 * When a route is slow, and when it fails: one answer for whoever lists such routes and whoever is told of them.
 */
import { SLOW_REQUEST_MS } from "./Logging.ts"
import type { RouteReport } from "./RouteTimes.ts"

/** A route fails when more of its answers than this are our fault. */
const ERROR_RATE_MAX = 0.1

export const errorRateOf = ({ errors, requests }: Pick<RouteReport, "errors" | "requests">): number =>
  requests === 0 ? 0 : errors / requests

/** One request in twenty is slow. */
export const isSlow = ({ times }: RouteReport): boolean => times.percentile(95) > SLOW_REQUEST_MS

export const isFailing = (report: RouteReport): boolean => errorRateOf(report) > ERROR_RATE_MAX
