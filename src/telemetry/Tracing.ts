/**
 * Spans for what happens, sent to an OpenTelemetry collector where the standard `OTEL_*` variables say so. Without them nothing
 * of OpenTelemetry is loaded, and whoever would make a span makes none: see {@link isTraced}.
 */
import { Config, Context, Effect, type Fiber, Layer, Schema, Tracer } from "effect"
import * as TraceParent from "./TraceParent.ts"

/** What this program is to a collector, unless `OTEL_SERVICE_NAME` says otherwise. */
export interface TracingOptions {
  readonly service: string
  readonly version: string
}

/** What the exporter speaks. */
const PROTOCOL = "http/protobuf"
const Protocol = Schema.Literals([PROTOCOL])
const TracesExporter = Schema.Literals(["otlp", "none"])

const endpoint = (name: string) => Config.option(Config.schema(Schema.URLFromString, name))

/**
 * Whether traces are to be exported: where an endpoint is named or the exporter is, and nothing turns it off. What else there is
 * (headers, time limits, sampling, batches, resource) the SDK reads by itself.
 *
 * @source https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
 */
export const settings = Config.map(
  Config.all({
    isDisabled: Config.withDefault(Config.Boolean("OTEL_SDK_DISABLED"), false),
    exporter: Config.option(Config.schema(TracesExporter, "OTEL_TRACES_EXPORTER")),
    endpoint: endpoint("OTEL_EXPORTER_OTLP_ENDPOINT"),
    tracesEndpoint: endpoint("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"),
    protocol: Config.withDefault(Config.schema(Protocol, "OTEL_EXPORTER_OTLP_PROTOCOL"), PROTOCOL),
    tracesProtocol: Config.withDefault(
      Config.schema(Protocol, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"),
      PROTOCOL,
    ),
  }),
  ({ endpoint, exporter, isDisabled, tracesEndpoint }) => {
    if (isDisabled) return false
    if (exporter._tag === "Some") return exporter.value === "otlp"
    return endpoint._tag === "Some" || tracesEndpoint._tag === "Some"
  },
)

/** Exports what is traced within it; with `isOn` false, nothing. */
export const layer = (isOn: boolean, options: TracingOptions): Layer.Layer<never> =>
  isOn
    ? Layer.unwrap(
        Effect.map(
          // Half a second of loading that nobody else pays for.
          Effect.promise(() => import("./OpenTelemetry.ts")),
          (sdk) => sdk.layer(options),
        ),
      )
    : Layer.empty

/** Whether anybody sees the spans that are made here. */
export const isTraced = (fiber: Fiber.Fiber<unknown, unknown>): boolean =>
  fiber.getRef(Tracer.Tracer) !== Tracer.nativeTracer

/** The span of a `traceparent`, for others to be under or linked to. */
export const spanFrom = (traceparent: string | undefined): Tracer.ExternalSpan | undefined => {
  const ids = TraceParent.parse(traceparent)
  return ids === undefined ? undefined : Tracer.externalSpan(ids)
}

/** The span that a fiber works in, where anybody sees it. */
export const currentSpan = (fiber: Fiber.Fiber<unknown, unknown>): Tracer.AnySpan | undefined =>
  isTraced(fiber)
    ? Context.getOrUndefined(fiber.context as Context.Context<Tracer.ParentSpan>, Tracer.ParentSpan)
    : undefined
