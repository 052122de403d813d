/**
 * How requests did, by route, in the minutes just gone: a ring of slices for each route, each with a histogram of its times, so
 * that any window of whole slices has its percentiles without a single request being kept. Memory is bounded by the number of
 * routes and slices: what belongs to no route that has a place is counted together.
 */
import { LatencyHistogram } from "./LatencyHistogram.ts"

/** What a slice covers. A window is as sharp as this. */
export const SLICE_MS = 30_000
/** Slices that are kept: a quarter of an hour, which is the longest window, and the slice under way. */
const SLICES = 31
/** Methods and routes with a place of their own: 6 to 14 kB a slice in which they are asked for. */
export const ROUTES_MAX = 100
/** Requests of everybody else. */
export const OTHER_ROUTES = { method: "*", route: "other" } as const

/** One request, as far as it matters here. */
export interface Timed {
  readonly method: string
  readonly route: string
  readonly status: number
  /** `undefined`: it waited because it wanted to, and its time says nothing. */
  readonly durationMs: number | undefined
}

/** What became of the requests of a route in a window. */
export interface RouteReport {
  readonly method: string
  readonly route: string
  readonly requests: number
  /** Answers that were our fault (5xx). */
  readonly errors: number
  readonly times: LatencyHistogram
}

/** A slice of one route; `number` says which one since 1970. */
interface Slice {
  number: number
  requests: number
  errors: number
  readonly times: LatencyHistogram
}

interface Ring {
  readonly method: string
  readonly route: string
  readonly slices: Array<Slice | undefined>
}

const SERVER_ERROR = 500

const oldestOf = (windowMs: number, now: number): number =>
  Math.floor(now / SLICE_MS) - Math.min(SLICES - 1, Math.ceil(windowMs / SLICE_MS))

export class RouteTimes {
  /** By route, then by method. */
  readonly #rings = new Map<string, Map<string, Ring>>()
  #size = 0
  readonly #since: number

  /** `since`: when counting began, in milliseconds since 1970. */
  constructor(since: number) {
    this.#since = since
  }

  record(timed: Timed, now: number): void {
    const slice = this.#sliceOf(this.#ringOf(timed), Math.floor(now / SLICE_MS))
    slice.requests++
    if (timed.status >= SERVER_ERROR) slice.errors++
    if (timed.durationMs !== undefined) slice.times.record(timed.durationMs)
  }

  /**
   * The routes that were asked for in the `windowMs` before `now`, the busiest first: so many whole slices and the one
   * under way, which {@link coveredMs} says in milliseconds.
   */
  report(windowMs: number, now: number): ReadonlyArray<RouteReport> {
    const newest = Math.floor(now / SLICE_MS)
    const oldest = oldestOf(windowMs, now)
    const reports: Array<RouteReport> = []
    for (const { method, route, slices } of this.#rings.values().flatMap((rings) => rings.values())) {
      const times = new LatencyHistogram()
      let requests = 0
      let errors = 0
      for (const slice of slices) {
        if (slice === undefined || slice.number < oldest || slice.number > newest) continue
        requests += slice.requests
        errors += slice.errors
        times.add(slice.times)
      }
      if (requests > 0) reports.push({ method, route, requests, errors, times })
    }
    return reports.sort((one, other) => other.requests - one.requests)
  }

  /** How much of the past a report of this window is about. */
  coveredMs(windowMs: number, now: number): number {
    return Math.max(1, now - Math.max(this.#since, oldestOf(windowMs, now) * SLICE_MS))
  }

  #ringOf({ method, route }: Timed): Ring {
    const known = this.#rings.get(route)
    const ofMethod = known?.get(method)
    if (ofMethod !== undefined) return ofMethod
    if (this.#size >= ROUTES_MAX && route !== OTHER_ROUTES.route)
      return this.#ringOf({ ...OTHER_ROUTES, status: 0, durationMs: undefined })
    const ring: Ring = { method, route, slices: Array.from({ length: SLICES }) }
    if (known === undefined) this.#rings.set(route, new Map([[method, ring]]))
    else known.set(method, ring)
    this.#size++
    return ring
  }

  #sliceOf({ slices }: Ring, number: number): Slice {
    const place = number % SLICES
    let slice = slices[place]
    if (slice === undefined) {
      slice = { number, requests: 0, errors: 0, times: new LatencyHistogram() }
      slices[place] = slice
    } else if (slice.number !== number) {
      // What it held is older than any window.
      slice.number = number
      slice.requests = 0
      slice.errors = 0
      slice.times.reset()
    }
    return slice
  }
}
