/**
 * The OpenTelemetry SDK behind Effect's tracer, with the official exporter: loaded only when traces are exported. A collector that is
 * slow or gone costs spans and now and then a line in the log, never a request: spans wait in a bounded queue, and the stop
 * waits for them no longer than {@link FLUSH_MS_MAX}.
 */
import * as OtelTracer from "@effect/opentelemetry/OtelTracer"
import * as Resource from "@effect/opentelemetry/Resource"
import * as Otel from "@opentelemetry/api"
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto"
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type ReadableSpan,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-base"
import { Clock, Effect, Layer, Tracer } from "effect"
import { CurrentObserver, type DatabaseOperation } from "./Observer.ts"
import { scrub } from "./Redaction.ts"
import * as TraceParent from "./TraceParent.ts"
import type { TracingOptions } from "./Tracing.ts"

/** How long the stop waits for the last spans to leave. */
const FLUSH_MS_MAX = 2_000
/** A collector that is down stays down for a while: it is said once in this time. */
const FAILURE_INTERVAL_MS = 60_000
const SERVER_ERROR = 500

const QUERY = "url.query"
/** Of a span: what may have in it what a caller or a handler has written. */
const FREE_TEXT = ["url.full", QUERY, "exception.message", "exception.stacktrace"]

const cleaned = (attributes: Otel.Attributes): Otel.Attributes => {
  let clean: Otel.Attributes | undefined
  for (const name of FREE_TEXT) {
    const value = attributes[name]
    if (typeof value !== "string") continue
    // A query comes without the mark by which one is told.
    const text = name === QUERY ? scrub(`?${value}`).slice(1) : scrub(value)
    if (text === value) continue
    clean ??= { ...attributes }
    clean[name] = text
  }
  return clean ?? attributes
}

type Event = ReadableSpan["events"][number]

const cleanedEvent = (event: Event): Event =>
  event.attributes === undefined
    ? event
    : { ...event, name: scrub(event.name), attributes: cleaned(event.attributes) }

/**
 * The span as OpenTelemetry's conventions have it: a server's by the template of its route, which is not known when it begins;
 * without a status unless it failed, where Effect says `OK`; and without secrets.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/http/http-spans/
 */
const conventional = (span: ReadableSpan): ReadableSpan => {
  const { attributes, events, kind, status } = span
  const changes: { -readonly [Key in keyof ReadableSpan]?: ReadableSpan[Key] } = {}
  let ours = cleaned(attributes)
  if (kind === Otel.SpanKind.SERVER) {
    const route = attributes["http.route"]
    if (typeof route === "string") changes.name = `${span.name} ${route}`
    const code = attributes["http.response.status_code"]
    if (typeof code === "number" && code >= SERVER_ERROR) ours = { ...ours, "error.type": String(code) }
  }
  if (ours !== attributes) changes.attributes = ours
  if (events.length > 0) changes.events = events.map(cleanedEvent)
  if (status.code === Otel.SpanStatusCode.OK) changes.status = { code: Otel.SpanStatusCode.UNSET }
  else if (status.message !== undefined) changes.status = { ...status, message: scrub(status.message) }
  return Object.keys(changes).length === 0
    ? span
    : Object.create(
        span,
        Object.fromEntries(
          Object.entries(changes).map(([name, value]) => [name, { value, enumerable: true }]),
        ),
      )
}

/** Sends spans as {@link conventional} has them, and tells what becomes of it. */
class ConventionalExporter implements SpanExporter {
  readonly #exporter: SpanExporter
  readonly #onFailure: (spans: number, cause: unknown) => void

  constructor(exporter: SpanExporter, onFailure: (spans: number, cause: unknown) => void) {
    this.#exporter = exporter
    this.#onFailure = onFailure
  }

  export(spans: Array<ReadableSpan>, done: Parameters<SpanExporter["export"]>[1]): void {
    this.#exporter.export(spans.map(conventional), (result) => {
      if (result.error !== undefined) this.#onFailure(spans.length, result.error)
      done(result)
    })
  }

  forceFlush(): Promise<void> {
    return this.#exporter.forceFlush?.() ?? Promise.resolve()
  }

  shutdown(): Promise<void> {
    return this.#exporter.shutdown()
  }
}

/** Says that spans were lost, once in a while. */
const failureReport = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let saidAt = Number.NEGATIVE_INFINITY
  let lost = 0
  return (spans: number, cause: unknown) => {
    lost += spans
    const now = clock.currentTimeMillisUnsafe()
    if (now - saidAt < FAILURE_INTERVAL_MS) return
    fork(Effect.logWarning("traces could not be exported", { spans: lost, reason: String(cause) }))
    saidAt = now
    lost = 0
  }
})

const provider = Layer.effect(
  OtelTracer.OtelTracerProvider,
  Effect.gen(function* () {
    const resource = yield* Resource.Resource
    const exporter = new ConventionalExporter(new OTLPTraceExporter(), yield* failureReport)
    return yield* Effect.acquireRelease(
      Effect.sync(
        () => new BasicTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(exporter)] }),
      ),
      (provider) =>
        Effect.promise(() => provider.shutdown().catch(() => {})).pipe(
          Effect.interruptible,
          Effect.timeoutOption(FLUSH_MS_MAX),
        ),
    )
  }),
)

/**
 * Effect's tracer over OpenTelemetry's, but for one thing: it does not make each span the active one of OpenTelemetry, since
 * nobody here asks for that, and it would cost every step of every fiber a look at the asynchronous context.
 */
const tracer = Layer.effect(
  Tracer.Tracer,
  Effect.map(OtelTracer.make, ({ span }) => Tracer.make({ span })),
)

/** What the database does for a traced request or attempt. A commit that several share is under one of them, with links to the others. */
const databaseSpans = Layer.effectDiscard(
  Effect.gen(function* () {
    const tracer = yield* OtelTracer.OtelTracer
    const observer = yield* CurrentObserver
    yield* observer.on("database", (operation) => {
      const [parent, ...others] = contextsOf(operation)
      if (parent === undefined) return
      const { durationMs, events, name, ok, sql, startedAt } = operation
      const span = tracer.startSpan(
        name === "COMMIT" ? "COMMIT journal" : name,
        {
          kind: Otel.SpanKind.CLIENT,
          startTime: startedAt,
          links: others.map((context) => ({ context })),
          attributes: {
            "db.system.name": "sqlite",
            "db.operation.name": name,
            ...(sql === undefined ? {} : { "db.query.text": sql }),
            ...(name === "COMMIT" ? { "renderowl.journal.events": events } : {}),
          },
        },
        Otel.trace.setSpanContext(Otel.ROOT_CONTEXT, parent),
      )
      if (!ok) span.setStatus({ code: Otel.SpanStatusCode.ERROR })
      span.end(startedAt + durationMs)
    })
  }),
)

/** The spans that it was done for, as far as they are sampled. */
const contextsOf = ({ parent, traces }: DatabaseOperation): ReadonlyArray<Otel.SpanContext> => {
  const contexts: Array<Otel.SpanContext> = []
  const add = (ids: TraceParent.SpanIds | undefined) => {
    if (ids?.sampled === true)
      contexts.push({ traceId: ids.traceId, spanId: ids.spanId, traceFlags: Otel.TraceFlags.SAMPLED })
  }
  add(parent)
  for (const traceparent of traces) add(TraceParent.parse(traceparent))
  return contexts
}

const isNamedByEnvironment = (): boolean =>
  process.env["OTEL_SERVICE_NAME"] !== undefined ||
  /(?:^|,)\s*service\.name=/.test(process.env["OTEL_RESOURCE_ATTRIBUTES"] ?? "")

/** Exports what is traced within it. */
export const layer = ({ service, version }: TracingOptions): Layer.Layer<never> =>
  Layer.mergeAll(tracer, databaseSpans).pipe(
    Layer.provide(OtelTracer.layerTracer),
    Layer.provide(provider),
    Layer.provide(
      Resource.layerFromEnv({
        ...(isNamedByEnvironment() ? {} : { "service.name": service }),
        "service.version": version,
      }),
    ),
  )
