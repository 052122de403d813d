/**
 * Traces by OpenTelemetry: loaded only when they are exported. Effect's bridge makes spans of what happens now and then, and those
 * of each request and each job are recorded by less; the official exporter sends both. A collector that is slow
 * or gone costs spans, never a request: spans wait in a bounded queue, and the stop waits for them no longer than
 * {@link FLUSH_MS_MAX}.
 */
import * as OtelTracer from "@effect/opentelemetry/OtelTracer"
import * as Resource from "@effect/opentelemetry/Resource"
import { BasicTracerProvider } from "@opentelemetry/sdk-trace-base"
import { Clock, Context, Effect, Fiber, Layer, Option, Tracer } from "effect"
import { HttpMiddleware } from "effect/http"
import type { MessageTracer } from "./MessageSpans.ts"
import { CurrentObserver } from "./Observer.ts"
import { databaseSpan } from "./otlp/DatabaseSpans.ts"
import { makeExporter } from "./otlp/Exporter.ts"
import { messageSpans } from "./otlp/RecordedMessages.ts"
import { newTraceId, RecordedSpan, type SpanSink } from "./otlp/RecordedSpan.ts"
import { finishRequest, requestTracer } from "./otlp/RequestSpans.ts"
import { type IsSampled, isSampledBy, samplerOf } from "./otlp/Sampling.ts"
import { SpanClock } from "./otlp/SpanClock.ts"
import { SpanQueue } from "./otlp/SpanQueue.ts"
import {
  CurrentRequestSpan,
  CurrentRequestTracer,
  type TracingOptions,
  type TracingSettings,
} from "./Tracing.ts"

/** How long the stop waits for the last spans to leave. */
const FLUSH_MS_MAX = 2_000
/** What all spans are said to be made by. */
const SCOPE = "renderowl"

/** Where all spans go when they have ended. */
class Spans extends Context.Service<
  Spans,
  {
    readonly sink: SpanSink
    readonly queue: SpanQueue
    readonly resource: Resource.Resource["Service"]
    readonly isSampled: IsSampled
    readonly clock: SpanClock
  }
>()("renderowl/telemetry/OpenTelemetry/Spans") {}

const spans = (settings: TracingSettings, { version }: TracingOptions) =>
  Layer.effect(
    Spans,
    Effect.gen(function* () {
      const of = { resource: yield* Resource.Resource, instrumentationScope: { name: SCOPE, version } }
      const exporter = yield* makeExporter(settings.batches.timeoutMs)
      const observer = yield* CurrentObserver
      const queue = yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new SpanQueue(settings, of, exporter, () =>
              observer.tell("spans", { spans: 1, ok: false, isQueueFull: true }),
            ),
        ),
        (queue) =>
          Effect.promise(() => queue.shutdown().catch(() => {})).pipe(
            Effect.interruptible,
            Effect.timeoutOption(FLUSH_MS_MAX),
          ),
      )
      return {
        sink: { limits: settings.limits, take: (span) => queue.add(span) },
        queue,
        resource: of.resource,
        isSampled: isSampledBy(settings),
        clock: new SpanClock(yield* Clock.Clock),
      }
    }),
  )

/** The SDK's, for Effect's bridge. */
const sdkTracer = Layer.effect(
  OtelTracer.OtelTracer,
  Effect.map(Spans, ({ isSampled, queue, resource }) =>
    new BasicTracerProvider({
      resource,
      sampler: samplerOf(isSampled),
      spanProcessors: [queue],
    }).getTracer(SCOPE),
  ),
)

/**
 * Effect's tracer over OpenTelemetry's, but for two things: messages, and what nobody records, cost less; and no span becomes the
 * active one of OpenTelemetry, since nobody here asks for that, and it would cost every step of every fiber a look at the
 * asynchronous context.
 */
const tracer = Layer.effect(
  Tracer.Tracer,
  Effect.gen(function* () {
    const bridge = yield* OtelTracer.make
    const { clock, isSampled, sink } = yield* Spans
    const beginMessage = messageSpans(sink, isSampled, clock)
    return {
      beginMessage,
      span: (given) => {
        const request = given.root || Option.isSome(given.parent) ? undefined : requestHere()
        const options = request ? { ...given, parent: Option.some(request) } : given
        if (request !== null && given.sampled) return bridge.span(options)
        const traceId = Option.getOrUndefined(options.parent)?.traceId ?? newTraceId()
        return new RecordedSpan(sink, { ...options, traceId, sampled: false })
      },
    } satisfies MessageTracer
  }),
)

/** What is known of the request that the running fiber works for: see {@link CurrentRequestSpan}. */
const requestHere = (): Tracer.Span | null | undefined => Fiber.getCurrent()?.getRef(CurrentRequestSpan)

/** What is told of requests and of the database. */
const told = Layer.effectDiscard(
  Effect.gen(function* () {
    const { clock, sink } = yield* Spans
    const observer = yield* CurrentObserver
    yield* observer.on("request", (request, toldAt) => finishRequest(request, clock.nanosAt(toldAt)))
    yield* observer.on("database", (operation, toldAt) => {
      const span = databaseSpan(operation, toldAt, clock)
      if (span !== undefined) sink.take(span)
    })
  }),
)

const requests = ({ untraced }: TracingOptions) =>
  Layer.effect(
    CurrentRequestTracer,
    Effect.map(Spans, ({ isSampled, sink }) => requestTracer(sink, isSampled, untraced)),
  )

const isNamedByEnvironment = (): boolean =>
  process.env["OTEL_SERVICE_NAME"] !== undefined ||
  /(?:^|,)\s*service\.name=/.test(process.env["OTEL_RESOURCE_ATTRIBUTES"] ?? "")

/** Exports what is traced within it. */
export const layer = (settings: TracingSettings, options: TracingOptions): Layer.Layer<never> =>
  Layer.mergeAll(
    tracer,
    told,
    requests(options),
    // The edge has a span of its own for each request: Effect's looks at each header and parses the address.
    Layer.succeed(HttpMiddleware.TracerDisabledWhen, () => true),
  ).pipe(
    Layer.provide(sdkTracer),
    Layer.provide(spans(settings, options)),
    Layer.provide(
      Resource.layerFromEnv({
        ...(isNamedByEnvironment() ? {} : { "service.name": options.service }),
        "service.version": options.version,
      }),
    ),
  )
