/**
 * How late the event loop is: how much longer than wanted it takes until a timer comes. Whoever looks has an interval of its own,
 * which ends when it takes what there is: nobody shortens that of somebody else.
 */
import { Effect, type Scope } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"

/** How often it is looked at. */
const RESOLUTION_MS = 10
const NANOS_PER_MILLISECOND = 1e6

/** How late the event loop was in one interval, in milliseconds. */
export interface LoopDelay {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly max: number
}

export interface LoopDelayMonitor {
  /** Of the interval so far. */
  readonly look: () => LoopDelay
  /** The same, and another interval begins. */
  readonly take: () => LoopDelay
}

/** Looks for as long as the scope is open. */
export const loopDelayMonitor: Effect.Effect<LoopDelayMonitor, never, Scope.Scope> = Effect.gen(function* () {
  const delay = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const delay = monitorEventLoopDelay({ resolution: RESOLUTION_MS })
      delay.enable()
      return delay
    }),
    (delay) => Effect.sync(() => void delay.disable()),
  )
  // What is measured is the time between two looks, of which the resolution was meant; of none, it is no number.
  const late = (nanos: number) => Math.max(0, nanos / NANOS_PER_MILLISECOND - RESOLUTION_MS) || 0
  const look = (): LoopDelay => ({
    p50: late(delay.percentile(50)),
    p90: late(delay.percentile(90)),
    p99: late(delay.percentile(99)),
    max: delay.count === 0 ? 0 : late(delay.max),
  })
  const take = (): LoopDelay => {
    const taken = look()
    delay.reset()
    return taken
  }
  return { look, take }
})
