/**
 * The metrics of a program in the text format of Prometheus. What is measured is registered where it happens, in the registry
 * of {@link layer}; what has to be asked for at each scrape is a {@link Collector}.
 */
import { Effect, Layer, Metric } from "effect"
import { PrometheusMetrics } from "effect/observability"
import * as DatabaseMetrics from "./DatabaseMetrics.ts"
import * as DiskSpace from "./DiskSpace.ts"
import * as JobMetrics from "./JobMetrics.ts"
import type { Observer } from "./Observer.ts"
import * as ProcessMetrics from "./ProcessMetrics.ts"
import * as RequestMetrics from "./RequestMetrics.ts"
import * as TraceMetrics from "./TraceMetrics.ts"

/** @source https://prometheus.io/docs/instrumenting/exposition_formats/ */
export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

/** Brings its gauges up to date. It must be quick: it runs at every scrape. */
export interface Collector {
  readonly name: string
  readonly collect: Effect.Effect<void, unknown>
}

/** Everything that was told and is registered, after the collectors have run. One that fails leaves its gauges as they were. */
export const scrape = (observer: Observer, collectors: ReadonlyArray<Collector>): Effect.Effect<string> =>
  Effect.forEach(
    collectors,
    ({ collect, name }) =>
      Effect.catchCause(collect, (cause) =>
        Effect.logWarning("metrics could not be collected", { name }, cause),
      ),
    { discard: true },
  ).pipe(
    Effect.andThen(
      Effect.map(Effect.context<never>(), (context) => {
        observer.deliver()
        return PrometheusMetrics.formatUnsafe(context)
      }),
    ),
  )

/** A registry of its own for everything that is built with it. */
export const registryLayer: Layer.Layer<never> = Layer.effect(
  Metric.MetricRegistry,
  Effect.sync(() => new Map()),
)

/** What is measured wherever it happens, and how much room is left for the data. */
export const layer = (folders: DiskSpace.Folders) =>
  Layer.mergeAll(
    RequestMetrics.layer,
    JobMetrics.layer,
    DatabaseMetrics.layer,
    ProcessMetrics.layer,
    TraceMetrics.layer,
    DiskSpace.layer(folders),
  )
