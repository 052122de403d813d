/**
 * The official exporter of OTLP over HTTP, with its settings, retries and time limits, but for the serializer: batches
 * come as the bytes that are sent. A collector that is slow or gone costs spans, and now and then a line in the log.
 */
import {
  convertLegacyHttpOptions,
  createOtlpHttpExportDelegate,
} from "@opentelemetry/otlp-exporter-base/node-http"
import { OTLPExporterBase } from "@opentelemetry/otlp-exporter-base"
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import { Clock, Effect } from "effect"
import { CurrentObserver } from "../Observer.ts"
import type { BatchExporter, SpanBatch } from "./SpanQueue.ts"

/** A collector that is down stays down for a while: it is said once in this time. */
const FAILURE_INTERVAL_MS = 60_000
/** As the SDK numbers results. */
const EXPORTED = 0

/** Told how many spans were sent, and why they were not taken, if they were not. */
type OnExport = (spans: number, error: unknown) => void

class Exporter extends OTLPExporterBase<SpanBatch> implements BatchExporter {
  readonly #onExport: OnExport
  readonly #timeoutMs: number

  /** After `timeoutMs` it is not waited for any longer, and what was sent counts as lost. */
  constructor(onExport: OnExport, timeoutMs: number) {
    super(
      createOtlpHttpExportDelegate(
        convertLegacyHttpOptions({}, "TRACES", "v1/traces", { "Content-Type": "application/x-protobuf" }),
        {
          serializeRequest: ({ request }: SpanBatch) => request,
          deserializeResponse: (body: Uint8Array) => ProtobufTraceSerializer.deserializeResponse(body),
        },
        "otlp_http_span_exporter",
        { name: "span", countItems: ({ spans }: SpanBatch) => spans },
        undefined,
      ),
    )
    this.#onExport = onExport
    this.#timeoutMs = timeoutMs
  }

  send(batch: SpanBatch): Promise<boolean> {
    return new Promise((resolve) => {
      let isOver = false
      const over = (error: unknown, isFree: boolean) => {
        if (isOver) return
        isOver = true
        clearTimeout(timer)
        this.#onExport(batch.spans, error)
        resolve(isFree)
      }
      const tooLate = () => over(new Error("the collector takes too long"), false)
      const timer = setTimeout(tooLate, this.#timeoutMs).unref()
      this.export(batch, ({ code, error }) => {
        // A collector that refuses may have answered before it had read everything, and the rest is still on its way.
        if (code === EXPORTED) over(undefined, true)
        else over(error ?? new Error("not exported"), false)
      })
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
    observer.tell("spans", { spans, ok: error === undefined })
    if (error === undefined) return
    lost += spans
    const now = clock.currentTimeMillisUnsafe()
    if (now - saidAt < FAILURE_INTERVAL_MS) return
    fork(Effect.logWarning("traces could not be exported", { spans: lost, reason: String(error) }))
    saidAt = now
    lost = 0
  }
})

export const makeExporter = (timeoutMs: number): Effect.Effect<BatchExporter> =>
  Effect.map(exportReport, (onExport) => new Exporter(onExport, timeoutMs))
