/**
 * What came of a load, while it goes on: latencies in histograms, for the whole, for each endpoint and for each interval of
 * time, and errors by what was wrong. Its memory does not grow with the number of requests.
 */
import { LatencyHistogram, type LatencySummary } from "../../telemetry/LatencyHistogram.ts"
import type { Outcome } from "./Requester.ts"

/** Points of the charts; longer loads have wider ones. */
const POINTS_MAX = 600
const INTERVAL_MS_MIN = 1_000
/** Kinds of errors and endpoints that are told apart. */
const KINDS_MAX = 50
const OTHER = "other"

/** A stretch of the load, by when its answers came. */
export interface LoadPoint {
  /** Seconds from the start, at its end. */
  readonly at: number
  readonly perSecond: number
  readonly errorsPerSecond: number
  /** Milliseconds; null when no answer came. */
  readonly p50: number | null
  readonly p95: number | null
  readonly p99: number | null
}

export interface EndpointResult {
  readonly endpoint: string
  readonly errors: number
  readonly latency: LatencySummary
}

export class LoadRecord {
  readonly latency = new LatencyHistogram()
  /** From when each request was sent: the same, unless there is a rate. */
  readonly service = new LatencyHistogram()
  /** By how much the tester sent later than it meant to, with a connection free. */
  readonly lateness = new LatencyHistogram()
  readonly #endpoints = new Map<string, { errors: number; readonly latency: LatencyHistogram }>()
  readonly #errors = new Map<string, number>()
  readonly #points: Array<LoadPoint> = []
  readonly #durationMs: number
  readonly #intervalMs: number
  readonly #interval = new LatencyHistogram()
  #intervalErrors = 0
  #intervalEnd: number
  #errorCount = 0

  constructor(durationMs: number) {
    this.#durationMs = durationMs
    this.#intervalMs = Math.max(INTERVAL_MS_MIN, durationMs / POINTS_MAX)
    this.#intervalEnd = this.#intervalMs
  }

  /** Counts a request that was answered or failed `at` milliseconds from the start. Those that failed count as well. */
  request(
    endpoint: string,
    outcome: Outcome,
    times: { readonly latency: number; readonly service: number; readonly at: number },
  ): void {
    // What comes after the end of the load belongs to its last interval.
    while (times.at >= this.#intervalEnd && this.#intervalEnd < this.#durationMs) this.#endInterval()
    this.latency.record(times.latency)
    this.service.record(times.service)
    this.#interval.record(times.latency)
    const sums = this.#endpointOf(endpoint)
    sums.latency.record(times.latency)
    if (outcome === undefined) return
    sums.errors++
    this.#intervalErrors++
    this.#countError(outcome, 1)
  }

  /** Counts requests that were due and never sent: they have waited for so long, and would have for longer. */
  unsent(endpoint: string, waitedMs: number, count: number): void {
    this.latency.record(waitedMs, count)
    const sums = this.#endpointOf(endpoint)
    sums.latency.record(waitedMs, count)
    sums.errors += count
    this.#countError("due and never sent", count)
  }

  /** Closes the last interval, which may be a short one. */
  end(): void {
    if (this.#interval.count === 0) return
    this.#endInterval(this.#durationMs - (this.#intervalEnd - this.#intervalMs))
  }

  get errorCount(): number {
    return this.#errorCount
  }

  /** Most frequent first. */
  get errors(): ReadonlyArray<{ readonly type: string; readonly count: number }> {
    return [...this.#errors].map(([type, count]) => ({ type, count })).sort((a, b) => b.count - a.count)
  }

  get endpoints(): ReadonlyArray<EndpointResult> {
    return [...this.#endpoints]
      .map(([endpoint, { errors, latency }]) => ({ endpoint, errors, latency: latency.summary() }))
      .sort((a, b) => b.latency.count - a.latency.count)
  }

  get points(): ReadonlyArray<LoadPoint> {
    return this.#points
  }

  #endInterval(lengthMs = this.#intervalMs): void {
    const seconds = Math.max(lengthMs, 1) / 1_000
    const percentile = (percent: number) =>
      this.#interval.count === 0 ? null : this.#interval.percentile(percent)
    this.#points.push({
      at: (this.#intervalEnd - this.#intervalMs + lengthMs) / 1_000,
      perSecond: this.#interval.count / seconds,
      errorsPerSecond: this.#intervalErrors / seconds,
      p50: percentile(50),
      p95: percentile(95),
      p99: percentile(99),
    })
    this.#intervalEnd += this.#intervalMs
    this.#interval.reset()
    this.#intervalErrors = 0
  }

  #endpointOf(endpoint: string) {
    const name = this.#endpoints.has(endpoint) || this.#endpoints.size < KINDS_MAX ? endpoint : OTHER
    const known = this.#endpoints.get(name)
    if (known !== undefined) return known
    const sums = { errors: 0, latency: new LatencyHistogram() }
    this.#endpoints.set(name, sums)
    return sums
  }

  #countError(type: string, count: number): void {
    this.#errorCount += count
    const name = this.#errors.has(type) || this.#errors.size < KINDS_MAX ? type : OTHER
    this.#errors.set(name, (this.#errors.get(name) ?? 0) + count)
  }
}
