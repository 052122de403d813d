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
  AlwaysOffSampler,
  AlwaysOnSampler,
  BasicTracerProvider,
  BatchSpanProcessor,
  ParentBasedSampler,
  type ReadableSpan,
  type Sampler,
  SamplingDecision,
  type SpanExporter,
  TraceIdRatioBasedSampler,
} from "@opentelemetry/sdk-trace-base"
import { Clock, Effect, Layer, Tracer } from "effect"
import { HttpMiddleware, type HttpServerRequest } from "effect/http"
import { CurrentObserver, type DatabaseOperation } from "./Observer.ts"
import { scrub } from "./Redaction.ts"
import * as TraceParent from "./TraceParent.ts"
import type { TracingOptions, TracingSettings } from "./Tracing.ts"

/** How long the stop waits for the last spans to leave. */
const FLUSH_MS_MAX = 2_000
/** A collector that is down stays down for a while: it is said once in this time. */
const FAILURE_INTERVAL_MS = 60_000
const SERVER_ERROR = 500

const QUERY = "url.query"
/** Of a span: what may have in it what a caller or a handler has written. */
const FREE_TEXT = ["url.full", QUERY, "exception.message", "exception.stacktrace"]

const clean = (attributes: Otel.Attributes): void => {
  for (const name of FREE_TEXT) {
    const value = attributes[name]
    if (typeof value !== "string") continue
    // A query comes without the mark by which one is told.
    attributes[name] = name === QUERY ? scrub(`?${value}`).slice(1) : scrub(value)
  }
}

/** A span that has ended and is the exporter's alone. */
type OwnSpan = { -readonly [Key in keyof ReadableSpan]: ReadableSpan[Key] }

/**
 * Makes a span what OpenTelemetry's conventions want: a server's is named by the template of its route, which is not known when it
 * begins; one that has not failed has no status, where Effect says `OK`; and there are no secrets in it. In place: a copy of each
 * would cost a third of the export.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/http/http-spans/
 */
const makeConventional = (span: OwnSpan): void => {
  const { attributes, events, kind, status } = span
  clean(attributes)
  if (kind === Otel.SpanKind.SERVER) {
    const route = attributes["http.route"]
    if (typeof route === "string") span.name = `${span.name} ${route}`
    const code = attributes["http.response.status_code"]
    if (typeof code === "number" && code >= SERVER_ERROR) attributes["error.type"] = String(code)
  }
  for (const event of events) {
    event.name = scrub(event.name)
    if (event.attributes !== undefined) clean(event.attributes)
  }
  if (status.code === Otel.SpanStatusCode.OK) span.status = { code: Otel.SpanStatusCode.UNSET }
  else if (status.message !== undefined) span.status = { ...status, message: scrub(status.message) }
}

/** Which spans are recorded, but for those of requests that begin a trace: see {@link isSkipped}. */
const samplerOf = ({ ratio, sampler }: TracingSettings): Sampler => {
  const root = sampler.endsWith("always_on")
    ? new AlwaysOnSampler()
    : sampler.endsWith("always_off")
      ? new AlwaysOffSampler()
      : new TraceIdRatioBasedSampler(ratio)
  const configured = isParentBased(sampler) ? new ParentBasedSampler({ root }) : root
  return {
    shouldSample: (context, traceId, name, kind, attributes, links) =>
      kind === Otel.SpanKind.SERVER && Otel.trace.getSpanContext(context) === undefined
        ? { decision: SamplingDecision.RECORD_AND_SAMPLED }
        : configured.shouldSample(context, traceId, name, kind, attributes, links),
    toString: () => configured.toString(),
  }
}

type Request = HttpServerRequest.HttpServerRequest

const isParentBased = (sampler: TracingSettings["sampler"]): boolean => sampler.startsWith("parentbased_")

/**
 * Whether a request is not recorded: decided before anything is made for it, as most of the cost of tracing is in spans, and
 * those of requests that nobody records cost as much as others until the SDK has a look at them.
 */
const isSkipped = ({ ratio, sampler }: TracingSettings, untraced: ReadonlyArray<string>) => {
  const paths = new Set(untraced)
  const share = sampler.endsWith("always_on") ? 1 : sampler.endsWith("always_off") ? 0 : ratio
  const followsCaller = isParentBased(sampler)
  const decide = ({ headers, url }: Request): boolean => {
    if (paths.has(url)) return true
    const caller = TraceParent.parse(headers["traceparent"])
    // One that counts by the id of the trace decides with the span.
    if (caller !== undefined) return followsCaller && !caller.sampled
    return share < 1 && Math.random() >= share
  }
  // Effect asks twice about each, one time right after the other.
  let asked: Request | undefined
  let answer = false
  return (request: Request): boolean => {
    if (request !== asked) {
      asked = request
      answer = decide(request)
    }
    return answer
  }
}

/** Sends spans as {@link makeConventional} has them, and tells what becomes of it. */
class ConventionalExporter implements SpanExporter {
  readonly #exporter: SpanExporter
  readonly #onExport: (spans: number, error: unknown) => void

  /** `onExport` is told how many spans were sent, and why they were not taken, if they were not. */
  constructor(exporter: SpanExporter, onExport: (spans: number, error: unknown) => void) {
    this.#exporter = exporter
    this.#onExport = onExport
  }

  export(spans: Array<ReadableSpan>, done: Parameters<SpanExporter["export"]>[1]): void {
    for (const span of spans) makeConventional(span)
    this.#exporter.export(spans, (result) => {
      this.#onExport(spans.length, result.error)
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

/** Tells what became of spans, and says once in a while that some were lost. */
const exportReport = Effect.gen(function* () {
  const clock = yield* Clock.Clock
  const observer = yield* CurrentObserver
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  let saidAt = Number.NEGATIVE_INFINITY
  let lost = 0
  return (spans: number, error: unknown) => {
    const ok = error === undefined
    observer.tell("spans", { spans, ok })
    if (ok) return
    lost += spans
    const now = clock.currentTimeMillisUnsafe()
    if (now - saidAt < FAILURE_INTERVAL_MS) return
    fork(Effect.logWarning("traces could not be exported", { spans: lost, reason: String(error) }))
    saidAt = now
    lost = 0
  }
})

const provider = (settings: TracingSettings) =>
  Layer.effect(
    OtelTracer.OtelTracerProvider,
    Effect.gen(function* () {
      const resource = yield* Resource.Resource
      const exporter = new ConventionalExporter(new OTLPTraceExporter(), yield* exportReport)
      return yield* Effect.acquireRelease(
        Effect.sync(
          () =>
            new BasicTracerProvider({
              resource,
              sampler: samplerOf(settings),
              spanProcessors: [new BatchSpanProcessor(exporter)],
            }),
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
export const layer = (
  settings: TracingSettings,
  { service, untraced, version }: TracingOptions,
): Layer.Layer<never> =>
  Layer.mergeAll(
    tracer,
    databaseSpans,
    Layer.succeed(HttpMiddleware.TracerDisabledWhen, isSkipped(settings, untraced)),
  ).pipe(
    Layer.provide(OtelTracer.layerTracer),
    Layer.provide(provider(settings)),
    Layer.provide(
      Resource.layerFromEnv({
        ...(isNamedByEnvironment() ? {} : { "service.name": service }),
        "service.version": version,
      }),
    ),
  )
