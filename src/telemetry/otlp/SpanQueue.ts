/**
 * Spans on their way to the collector: written down a few in a row as they end, so that few are kept, and sent a batch at a time. The
 * SDK's own processor keeps them until a batch is full, which costs more in collecting them than in sending them: 3 µs a span
 * (measured). Bounded like that one, by the same settings: while the collector takes its time, what comes beyond is dropped and
 * counted.
 *
 * @source https://opentelemetry.io/docs/specs/otel/trace/sdk/#batching-processor
 */
import { TraceFlags } from "@opentelemetry/api"
import type { ReadableSpan, SpanProcessor } from "@opentelemetry/sdk-trace-base"
import type { BatchSettings, TracingSettings } from "../Tracing.ts"
import { endedSpan } from "./Conventions.ts"
import type { EndedSpan } from "./EndedSpan.ts"
import { TraceRequest } from "./TraceRequest.ts"

/** Spans as they are sent. */
export interface SpanBatch {
  readonly spans: number
  readonly request: Uint8Array
}

/** What sends batches, one at a time. */
export interface BatchExporter {
  /**
   * Ends when the collector has the batch, or it is lost; never fails. Says whether nobody reads the request any more, so that its
   * memory can be used for another.
   */
  readonly send: (batch: SpanBatch) => Promise<boolean>
  readonly shutdown: () => Promise<void>
}

/** Spans that are written down in a row. */
const WRITTEN_AT_ONCE = 32
/** Requests that are kept to be filled again. */
const EMPTY_MAX = 2

export class SpanQueue implements SpanProcessor {
  readonly #batches: BatchSettings
  readonly #exporter: BatchExporter
  readonly #onDrop: () => void
  readonly #newRequest: () => TraceRequest
  /** Those that are not written down yet. */
  #ended: Array<EndedSpan> = []
  /** The batch that is being filled. */
  #filling: TraceRequest
  /** Those to be sent, the oldest first. */
  readonly #closed: Array<TraceRequest> = []
  /** Those that were sent, to be filled again: new memory for each batch would cost as much as sending it. */
  readonly #empty: Array<TraceRequest> = []
  /** Spans in all of them, and in the one under way. */
  #waiting = 0
  #sending: Promise<void> | undefined
  /** What does not fill a batch is to be sent after the one under way. */
  #isRestDue = false
  #timer: NodeJS.Timeout | undefined
  #isClosed = false

  constructor(
    { batches, limits }: Pick<TracingSettings, "batches" | "limits">,
    { instrumentationScope, resource }: Pick<ReadableSpan, "resource" | "instrumentationScope">,
    exporter: BatchExporter,
    onDrop: () => void,
  ) {
    this.#batches = batches
    this.#exporter = exporter
    this.#onDrop = onDrop
    this.#newRequest = () =>
      new TraceRequest(resource, instrumentationScope, limits.charactersMax, batches.batchMax)
    this.#filling = this.#newRequest()
  }

  /** Takes a span that is to be sent. */
  add(span: EndedSpan): void {
    if (this.#isClosed) return
    if (this.#waiting >= this.#batches.queueMax) return this.#onDrop()
    this.#waiting++
    const ended = this.#ended
    ended.push(span)
    if (this.#filling.count + ended.length >= this.#batches.batchMax) return this.#send()
    if (ended.length >= WRITTEN_AT_ONCE) this.#write()
    this.#timer ??= setTimeout(() => this.#send(), this.#batches.delayMs).unref()
  }

  onStart(): void {}

  /** For the spans of the SDK. */
  onEnd(span: ReadableSpan): void {
    if ((span.spanContext().traceFlags & TraceFlags.SAMPLED) !== 0) this.add(endedSpan(span))
  }

  /** Ends when all that has ended so far was sent, or is lost. */
  async forceFlush(): Promise<void> {
    this.#send()
    while (this.#sending !== undefined) await this.#sending
  }

  async shutdown(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.forceFlush()
    await this.#exporter.shutdown()
  }

  #write(): void {
    const ended = this.#ended
    this.#ended = []
    for (const span of ended) this.#filling.add(span)
  }

  /** Whatever there is; where a batch is under way, what fills none goes after it, so that there is never more than one such. */
  #send(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#write()
    if (this.#sending === undefined || this.#filling.count >= this.#batches.batchMax) this.#close()
    else this.#isRestDue = true
    if (this.#closed.length > 0) this.#sending ??= this.#sendAll()
  }

  #close(): void {
    if (this.#filling.count === 0) return
    this.#closed.push(this.#filling)
    this.#filling = this.#empty.pop() ?? this.#newRequest()
  }

  async #sendAll(): Promise<void> {
    for (let batch = this.#next(); batch !== undefined; batch = this.#next()) {
      const spans = batch.count
      const isFree = await this.#exporter.send({ spans, request: batch.finish() })
      this.#waiting -= spans
      if (!isFree || this.#empty.length >= EMPTY_MAX) continue
      batch.reset()
      this.#empty.push(batch)
    }
    this.#sending = undefined
  }

  #next(): TraceRequest | undefined {
    if (this.#closed.length === 0 && this.#isRestDue) {
      this.#isRestDue = false
      this.#write()
      this.#close()
    }
    return this.#closed.shift()
  }
}
