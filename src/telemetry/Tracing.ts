/**
 * Spans for what happens, sent to an OpenTelemetry collector where the standard `OTEL_*` variables say so. Without them nothing
 * of OpenTelemetry is loaded, and whoever would make a span makes none: see {@link parentSpan}.
 */
import { Config, Context, Effect, type Fiber, Layer, Option, Schema, Tracer } from "effect"
import type { HttpServerRequest } from "effect/http"
import * as TraceParent from "./TraceParent.ts"

/** Which traces are recorded: of those that begin here, or of all (without `parentbased_`). */
const SAMPLERS = [
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
  "always_on",
  "always_off",
  "traceidratio",
] as const

/** How traces are exported. */
export interface TracingSettings {
  readonly sampler: (typeof SAMPLERS)[number]
  /** Of the traces, for the samplers that take a share. */
  readonly ratio: number
  readonly batches: BatchSettings
  readonly limits: SpanLimits
}

/** What is kept of a span at most. */
export interface SpanLimits {
  /** Beside those that a request, an operation of the database, or jobs of one queue and type always have. */
  readonly attributesMax: number
  readonly eventsMax: number
  readonly linksMax: number
  /** Of the text of an attribute; `undefined`: all of it. */
  readonly charactersMax: number | undefined
}

/** How spans wait until they are sent. */
export interface BatchSettings {
  /** Spans that are sent at a time. */
  readonly batchMax: number
  /** Spans that wait; what comes beyond is dropped. */
  readonly queueMax: number
  /** How long a span waits for others, in milliseconds. */
  readonly delayMs: number
  /** How long a batch may take, in milliseconds. */
  readonly timeoutMs: number
}

export interface TracingOptions {
  /** What this program is to a collector, unless `OTEL_SERVICE_NAME` says otherwise. */
  readonly service: string
  readonly version: string
  /** Paths whose requests are not traced. */
  readonly untraced: ReadonlyArray<string>
}

/** What the exporter speaks. */
const PROTOCOL = "http/protobuf"
const Protocol = Schema.Literals([PROTOCOL])
const Sampler = Schema.Literals(SAMPLERS)
const Ratio = Schema.FiniteFromString.pipe(Schema.check(Schema.isBetween({ minimum: 0, maximum: 1 })))
const wholeFrom = (minimum: number) =>
  Schema.FiniteFromString.pipe(
    Schema.check(Schema.isInt(), Schema.isBetween({ minimum, maximum: 1_000_000 })),
  )
const Limit = wholeFrom(0)
const Count = wholeFrom(1)
const TracesExporter = Schema.Literals(["otlp", "none"])

const limit = (name: string) => Config.schema(Limit, name)
const count = (name: string, otherwise: number) => Config.withDefault(Config.schema(Count, name), otherwise)

/** With the defaults of the standard, as all of these. */
const batches = Config.map(
  Config.all({
    batchMax: count("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512),
    queueMax: count("OTEL_BSP_MAX_QUEUE_SIZE", 2_048),
    delayMs: Config.withDefault(limit("OTEL_BSP_SCHEDULE_DELAY"), 5_000),
    timeoutMs: count("OTEL_BSP_EXPORT_TIMEOUT", 30_000),
  }),
  (given): BatchSettings => ({ ...given, batchMax: Math.min(given.batchMax, given.queueMax) }),
)

const MEMBERS_MAX = 128
const limits = Config.map(
  Config.all({
    attributesOfAll: Config.withDefault(limit("OTEL_ATTRIBUTE_COUNT_LIMIT"), MEMBERS_MAX),
    attributes: Config.option(limit("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT")),
    eventsMax: Config.withDefault(limit("OTEL_SPAN_EVENT_COUNT_LIMIT"), MEMBERS_MAX),
    linksMax: Config.withDefault(limit("OTEL_SPAN_LINK_COUNT_LIMIT"), MEMBERS_MAX),
    charactersOfAll: Config.option(limit("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT")),
    characters: Config.option(limit("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT")),
  }),
  ({ attributes, attributesOfAll, characters, charactersOfAll, eventsMax, linksMax }): SpanLimits => ({
    attributesMax: Option.getOrElse(attributes, () => attributesOfAll),
    eventsMax,
    linksMax,
    charactersMax: Option.getOrUndefined(Option.orElse(characters, () => charactersOfAll)),
  }),
)

const endpoint = (name: string) => Config.option(Config.schema(Schema.URLFromString, name))

/**
 * How traces are to be exported: where an endpoint is named or the exporter is, and nothing turns it off; otherwise not at all. What
 * else there is (headers, time limits, the resource) the SDK reads by itself.
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
    sampler: Config.withDefault(Config.schema(Sampler, "OTEL_TRACES_SAMPLER"), "parentbased_always_on"),
    ratio: Config.withDefault(Config.schema(Ratio, "OTEL_TRACES_SAMPLER_ARG"), 1),
    batches,
    limits,
  }),
  ({
    batches,
    endpoint,
    exporter,
    isDisabled,
    limits,
    ratio,
    sampler,
    tracesEndpoint,
  }): TracingSettings | undefined => {
    const isWanted =
      exporter._tag === "Some"
        ? exporter.value === "otlp"
        : endpoint._tag === "Some" || tracesEndpoint._tag === "Some"
    return isWanted && !isDisabled ? { sampler, ratio, batches, limits } : undefined
  },
)

/** Exports what is traced within it; without settings, nothing. */
export const layer = (settings: TracingSettings | undefined, options: TracingOptions): Layer.Layer<never> =>
  settings === undefined
    ? Layer.empty
    : Layer.unwrap(
        Effect.map(
          // A tenth of a second of loading that nobody else pays for.
          Effect.promise(() => import("./OpenTelemetry.ts")),
          (sdk) => sdk.layer(settings, options),
        ),
      )

/** What a request is in its trace. */
export interface RequestIds {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | undefined
}

/** Makes the spans of requests, which end when the observer is told of the request. */
export interface RequestTracer {
  /**
   * Whether a request is recorded: decided before anything is made for it, as most of the cost of tracing is in spans. `caller`
   * says whether the caller's own span is recorded; `undefined`: it has none.
   */
  readonly isRecorded: (url: string, traceId: string, caller: boolean | undefined) => boolean
  /** `startedAt`: by `performance.now()`. */
  readonly begin: (
    request: HttpServerRequest.HttpServerRequest,
    ids: RequestIds,
    startedAt: number,
  ) => Tracer.Span
}

/** Of what is being built; `undefined`: requests are not traced. */
export const CurrentRequestTracer = Context.Reference<RequestTracer | undefined>(
  "renderowl/telemetry/CurrentRequestTracer",
  { defaultValue: () => undefined },
)

/**
 * The span of the request that a fiber works for; `null`: one that is not recorded, and nothing within it is. Effect's own key for
 * the span that others are under would have every fiber of a request look up again what it knows of its context, at 2 to 4 µs a
 * request (measured).
 */
export const CurrentRequestSpan = Context.Reference<Tracer.Span | null | undefined>(
  "renderowl/telemetry/CurrentRequestSpan",
  { defaultValue: () => undefined },
)

/**
 * The span that those of a fiber are under: `undefined` where they are the first of their trace, and `null` where nobody would see
 * them, since none are exported or they are within something that is not recorded.
 */
export const parentSpan = (fiber: Fiber.Fiber<unknown, unknown>): Tracer.AnySpan | undefined | null => {
  const { span, tracer = Tracer.nativeTracer, tracerEnabled } = fiber.cache
  if (tracer === Tracer.nativeTracer || !tracerEnabled) return null
  const parent = span ?? fiber.getRef(CurrentRequestSpan)
  return parent?.sampled === false ? null : parent
}

/** The span of a `traceparent`, for others to be under or linked to. */
export const spanFrom = (traceparent: string | undefined): Tracer.ExternalSpan | undefined => {
  const ids = TraceParent.parse(traceparent)
  return ids === undefined ? undefined : Tracer.externalSpan(ids)
}
