/**
 * How the process itself is: its event loop, its memory, its garbage collector, and the lines of its log that nobody took.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/runtime/nodejs-metrics/ and …/v8js-metrics/
 */
import { Effect, Layer } from "effect"
import { constants, performance, PerformanceObserver } from "node:perf_hooks"
import { getHeapSpaceStatistics } from "node:v8"
import { loopDelayMonitor } from "./EventLoopDelay.ts"
import { counterOf, Family, gauge, Histogram, OTHER } from "./Instruments.ts"
import { Logs } from "./LogSink.ts"

const GC_SECONDS = [0.0001, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1]
const MICROS_PER_SECOND = 1e6
const MILLIS_PER_SECOND = 1_000

const GC_TYPES: ReadonlyMap<number, string> = new Map([
  [constants.NODE_PERFORMANCE_GC_MAJOR, "major"],
  [constants.NODE_PERFORMANCE_GC_MINOR, "minor"],
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL, "incremental"],
  [constants.NODE_PERFORMANCE_GC_WEAKCB, "weakcb"],
])

/** Since the last scrape: what was slow an hour ago is over. */
const eventLoop = Effect.gen(function* () {
  const { look, take } = yield* loopDelayMonitor
  let delay = look()
  for (const name of ["p50", "p90", "p99", "max"] as const) {
    yield* gauge({
      name: `nodejs_eventloop_delay_${name}_seconds`,
      description: `Delay of the event loop since the last scrape, ${name}`,
      read: () => {
        // Read before the others, and with it the interval ends.
        if (name === "p50") delay = take()
        return delay[name] / MILLIS_PER_SECOND
      },
    })
  }
  let since = performance.eventLoopUtilization()
  yield* gauge({
    name: "nodejs_eventloop_utilization_ratio",
    description: "Share of the time since the last scrape in which the event loop was busy",
    read: () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, since)
      since = now
      return utilization
    },
  })
})

const memory = Effect.gen(function* () {
  yield* gauge({
    name: "process_memory_usage_bytes",
    description: "Memory of the process that is in RAM",
    read: () => process.memoryUsage.rss(),
  })
  yield* gauge({
    name: "renderowl_process_external_memory_bytes",
    description: "Memory outside of the JavaScript heap that its objects hold on to",
    read: () => process.memoryUsage().external,
  })
  for (const [index, { space_name: space }] of getHeapSpaceStatistics().entries()) {
    const labels = { v8js_heap_space_name: space }
    yield* gauge({
      name: "v8js_memory_heap_used_bytes",
      description: "Used part of a space of the JavaScript heap",
      labels,
      read: () => getHeapSpaceStatistics()[index]?.space_used_size ?? 0,
    })
    yield* gauge({
      name: "v8js_memory_heap_limit_bytes",
      description: "Size of a space of the JavaScript heap",
      labels,
      read: () => getHeapSpaceStatistics()[index]?.space_size ?? 0,
    })
  }
})

const garbageCollection = Effect.gen(function* () {
  const registry = yield* Effect.context<never>()
  const durations = new Family(
    ([type]) =>
      new Histogram(
        registry,
        { name: "v8js_gc_duration_seconds", description: "Time of a garbage collection" },
        GC_SECONDS,
        { v8js_gc_type: type! },
      ),
  )
  yield* Effect.acquireRelease(
    Effect.sync(() => {
      const observer = new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
          // The types of Node leave the details out.
          const { kind } = (entry as typeof entry & { readonly detail: { readonly kind: number } }).detail
          durations.of(GC_TYPES.get(kind) ?? OTHER).record(entry.duration / MILLIS_PER_SECOND)
        }
      })
      observer.observe({ entryTypes: ["gc"] })
      return observer
    }),
    (observer) => Effect.sync(() => observer.disconnect()),
  )
})

const time = Effect.gen(function* () {
  for (const mode of ["user", "system"] as const) {
    yield* counterOf({
      name: "process_cpu_time_seconds_total",
      description: "Time that the process has spent on a processor",
      labels: { cpu_mode: mode },
      read: () => process.cpuUsage()[mode] / MICROS_PER_SECOND,
    })
  }
  yield* gauge({
    name: "process_uptime_seconds",
    description: "Time since the process was started",
    read: () => process.uptime(),
  })
})

const log = Effect.gen(function* () {
  const sink = yield* Logs
  yield* counterOf({
    name: "renderowl_log_lines_total",
    description: "Lines that were logged",
    read: () => sink.stats.lines,
  })
  yield* counterOf({
    name: "renderowl_log_lines_lost_total",
    description: "Lines that were logged and that nobody took",
    read: () => sink.stats.dropped,
  })
})

export const layer = Layer.effectDiscard(Effect.all([eventLoop, memory, garbageCollection, time, log]))
