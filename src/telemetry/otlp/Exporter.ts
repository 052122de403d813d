/**
 * The official exporter of OTLP over HTTP, with its settings, retries and time limits, but for the serializer: see
 * {@link encode}. A collector that is slow or gone costs spans, and now and then a line in the log.
 */
import {
  convertLegacyHttpOptions,
  createOtlpHttpExportDelegate,
} from "@opentelemetry/otlp-exporter-base/node-http"
import { OTLPExporterBase } from "@opentelemetry/otlp-exporter-base"
import { ProtobufTraceSerializer, TraceExporterMetricsHelper } from "@opentelemetry/otlp-transformer"
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace-base"
import { Clock, Effect } from "effect"
import { CurrentObserver } from "../Observer.ts"
import { makeConventional } from "./Conventions.ts"
import { EndedSpan } from "./RecordedSpan.ts"
import { encode } from "./TraceRequest.ts"

/** A collector that is down stays down for a while: it is said once in this time. */
const FAILURE_INTERVAL_MS = 60_000

const serializer = {
  serializeRequest: encode,
  deserializeResponse: (body: Uint8Array) => ProtobufTraceSerializer.deserializeResponse(body),
}

/** Told how many spans were sent, and why they were not taken, if they were not. */
type OnExport = (spans: number, error: unknown) => void

class TraceExporter extends OTLPExporterBase<Array<ReadableSpan>> implements SpanExporter {
  readonly #onExport: OnExport

  constructor(onExport: OnExport) {
    super(
      createOtlpHttpExportDelegate(
        convertLegacyHttpOptions({}, "TRACES", "v1/traces", { "Content-Type": "application/x-protobuf" }),
        serializer,
        "otlp_http_span_exporter",
        TraceExporterMetricsHelper,
        undefined,
      ),
    )
    this.#onExport = onExport
  }

  override export(spans: Array<ReadableSpan>, done: Parameters<SpanExporter["export"]>[1]): void {
    for (const span of spans) if (!(span instanceof EndedSpan)) makeConventional(span)
    super.export(spans, (result) => {
      this.#onExport(spans.length, result.error)
      done(result)
    })
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

export const makeExporter: Effect.Effect<SpanExporter> = Effect.map(
  exportReport,
  (onExport) => new TraceExporter(onExport),
)
