/**
 * What a load has shown, for people, for programs, and as a yes or no: with limits, a load is a test.
 */
import { Schema } from "effect"
import type { LatencySummary } from "../../telemetry/LatencyHistogram.ts"
import { columns, number } from "../CommandLine.ts"
import type { EndpointResult, LoadPoint } from "./LoadRecord.ts"
import type { LoadRun } from "./LoadRun.ts"

/** The tester may be what limits from this share of the time at work, or of its own ceiling. */
const BUSY_MAX = 0.9
const CEILING_SHARE_MAX = 0.7
/** Its timers come this much late at most when it keeps up. */
const LATENESS_MAX_MS = 20

/** What must hold; undefined limits nothing. */
export interface Limits {
  /** Milliseconds. */
  readonly maxP99?: number | undefined
  /** Of all requests, from 0 to 1. */
  readonly maxErrorRate?: number | undefined
}

export interface LimitResult {
  readonly name: string
  readonly limit: number
  readonly value: number
  readonly ok: boolean
}

export interface LoadResult {
  readonly url: string
  readonly scenario: string
  /** ISO 8601, UTC. */
  readonly startedAt: string
  readonly seconds: number
  readonly concurrency: number
  /** Requests a second that were due; null: as many as the connections took. */
  readonly rate: number | null
  readonly requests: number
  readonly perSecond: number
  readonly errorCount: number
  readonly errorRate: number
  readonly errors: ReadonlyArray<{ readonly type: string; readonly count: number }>
  /** Milliseconds, of all requests; with a rate, from when they were due. */
  readonly latency: LatencySummary
  /** From when they were sent. */
  readonly service: LatencySummary
  readonly endpoints: ReadonlyArray<EndpointResult>
  readonly points: ReadonlyArray<LoadPoint>
  readonly distribution: ReadonlyArray<{ readonly from: number; readonly to: number; readonly count: number }>
  readonly tester: {
    /** Requests a second that it can do here against a server that does nothing; null when that was not measured. */
    readonly ceilingPerSecond: number | null
    readonly busy: number
    readonly cpuMicros: number
    /** How late its timers came, milliseconds. */
    readonly latenessP99: number
    /** Why the figures may say more about the tester than about the server. */
    readonly doubts: ReadonlyArray<string>
  }
  readonly limits: ReadonlyArray<LimitResult>
  readonly ok: boolean
}

/** A load did not keep to its limits. */
export class LimitsExceeded extends Schema.TaggedError<LimitsExceeded>()("LimitsExceeded", {
  limits: Schema.Array(Schema.String),
}) {
  override get message(): string {
    return this.limits.join("; ")
  }

  static of(result: LoadResult): LimitsExceeded {
    return new LimitsExceeded({ limits: result.limits.filter(({ ok }) => !ok).map(limitText) })
  }
}

export const resultOf = (
  { cost, elapsedMs, record }: LoadRun,
  about: Pick<LoadResult, "url" | "scenario" | "startedAt" | "concurrency" | "rate"> & {
    readonly ceilingPerSecond: number | null
  },
  limits: Limits,
): LoadResult => {
  const { ceilingPerSecond, ...rest } = about
  const latency = record.latency.summary()
  const requests = latency.count
  const answered = record.service.count
  const perSecond = (answered / elapsedMs) * 1_000
  const errorRate = requests === 0 ? 1 : record.errorCount / requests
  const latenessP99 = record.lateness.percentile(99)
  const checked = check(limits, { errorRate, p99: latency.p99 })
  return {
    ...rest,
    seconds: elapsedMs / 1_000,
    requests,
    perSecond,
    errorCount: record.errorCount,
    errorRate,
    errors: record.errors,
    latency,
    service: record.service.summary(),
    endpoints: record.endpoints,
    points: record.points,
    distribution: [...record.latency.buckets()],
    tester: {
      ceilingPerSecond,
      ...cost,
      latenessP99,
      doubts: doubtsAbout({ ceilingPerSecond, busy: cost.busy, latenessP99, perSecond }),
    },
    limits: checked,
    ok: checked.every(({ ok }) => ok),
  }
}

/** A load of which nothing came back as it should is never fine. */
const check = (
  { maxErrorRate, maxP99 }: Limits,
  { errorRate, p99 }: { readonly errorRate: number; readonly p99: number },
): ReadonlyArray<LimitResult> => [
  ...(maxP99 === undefined
    ? []
    : [{ name: "p99 in milliseconds", limit: maxP99, value: p99, ok: p99 <= maxP99 }]),
  ...(maxErrorRate !== undefined
    ? [{ name: "error rate", limit: maxErrorRate, value: errorRate, ok: errorRate <= maxErrorRate }]
    : errorRate < 1
      ? []
      : [{ name: "error rate", limit: 1, value: errorRate, ok: false }]),
]

const doubtsAbout = (tester: {
  readonly ceilingPerSecond: number | null
  readonly busy: number
  readonly latenessP99: number
  readonly perSecond: number
}): ReadonlyArray<string> => {
  const { busy, ceilingPerSecond, latenessP99, perSecond } = tester
  return [
    ...(busy > BUSY_MAX ? [`its event loop was at work ${percent(busy)} of the time`] : []),
    ...(ceilingPerSecond !== null && perSecond > ceilingPerSecond * CEILING_SHARE_MAX
      ? [`it did ${percent(perSecond / ceilingPerSecond)} of the most that it can do here`]
      : []),
    ...(latenessP99 > LATENESS_MAX_MS ? [`its timers came up to ${millis(latenessP99)} late (p99)`] : []),
  ]
}

export const percent = (share: number): string =>
  `${(share * 100).toFixed(share > 0 && share < 0.01 ? 3 : 1)} %`

/** Three digits that count. */
export const millis = (value: number): string => {
  if (value === 0) return "0 ms"
  return `${value >= 100 ? number(Math.round(value)) : value.toPrecision(3)} ms`
}

export const limitText = ({ limit, name, ok, value }: LimitResult): string =>
  `${name} is ${Number(value.toPrecision(3))}, ${ok ? "within" : "beyond"} the limit of ${limit}`

/** What load it was: the heading of the report. */
export const loadText = ({ concurrency, rate, scenario, url }: LoadResult): string =>
  `${scenario} at ${url}, ${concurrency} ${concurrency === 1 ? "connection" : "connections"}, ${
    rate === null ? "as many requests as they take" : `${number(rate)} requests a second`
  }`

/** What the tester had to do with it, in sentences. */
export const testerText = ({ perSecond, tester }: LoadResult): ReadonlyArray<string> => [
  `the tester was at work ${percent(tester.busy)} of the time, ${tester.cpuMicros.toFixed(0)} µs of processor a request`,
  ...(tester.ceilingPerSecond === null
    ? []
    : [
        `it can do ${number(tester.ceilingPerSecond)} requests/s here against a server that does nothing; ` +
          `this was ${percent(perSecond / tester.ceilingPerSecond)} of that`,
      ]),
  ...tester.doubts.map((doubt) => `the figures may be those of the tester: ${doubt}`),
]

const latencyRow = (name: string, { max, mean, p50, p90, p95, p99, p999 }: LatencySummary) => [
  name,
  ...[p50, p90, p95, p99, p999, max, mean].map(millis),
]

/** For a terminal. */
export const resultText = (result: LoadResult): string => {
  const { endpoints, errors, latency, limits, rate, requests, seconds, service } = result
  return [
    loadText(result),
    `${number(requests)} requests in ${seconds.toFixed(1)} s, ${number(Math.round(result.perSecond))} answered a second, ` +
      `${number(result.errorCount)} failed (${percent(result.errorRate)})`,
    "",
    ...columns([
      ["latency", "p50", "p90", "p95", "p99", "p99.9", "longest", "mean"],
      latencyRow(rate === null ? "all" : "all, from when they were due", latency),
      ...(rate === null ? [] : [latencyRow("all, from when they were sent", service)]),
      ...(endpoints.length > 1 ? endpoints.map((one) => latencyRow(one.endpoint, one.latency)) : []),
    ]),
    ...(errors.length === 0
      ? []
      : ["", ...columns([["errors", ""], ...errors.map(({ count, type }) => [type, number(count)])])]),
    "",
    ...testerText(result),
    ...limits.map(limitText),
  ].join("\n")
}
