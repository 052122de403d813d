/**
 * A span of what happens all the time: a request, a submission, an attempt. It holds what is said of it and makes nothing else
 * until it ends; one of the SDK under Effect's bridge costs 5 to 8 µs more (measured), a tenth of a request by itself.
 */
import * as Otel from "@opentelemetry/api"
import { Cause, type Context, type Exit, Inspectable, Option, type Tracer } from "effect"
import { randomHex } from "../RandomHex.ts"
import type { SpanLimits } from "../Tracing.ts"
import { cleaned, cleanText } from "./Conventions.ts"
import type { EndedSpan, SpanEvent } from "./EndedSpan.ts"

/** Where spans go when they end. */
export interface SpanSink {
  readonly limits: SpanLimits
  readonly take: (span: EndedSpan) => void
}

const TRACE_ID_BYTES = 16
const SPAN_ID_BYTES = 8
const NANOS_PER_MILLI = 1_000_000
const UNSET: Otel.SpanStatus = { code: Otel.SpanStatusCode.UNSET }
const NO_LINKS: Array<Otel.Link> = []
const NO_EVENTS: Array<SpanEvent> = []

export const newTraceId = (): string => randomHex(TRACE_ID_BYTES)
export const newSpanId = (): string => randomHex(SPAN_ID_BYTES)

const KINDS: Readonly<Record<Tracer.SpanKind, Otel.SpanKind>> = {
  internal: Otel.SpanKind.INTERNAL,
  server: Otel.SpanKind.SERVER,
  client: Otel.SpanKind.CLIENT,
  producer: Otel.SpanKind.PRODUCER,
  consumer: Otel.SpanKind.CONSUMER,
}

/** How a span is known to others. */
const contextOf = ({ _tag, sampled, spanId, traceId }: Tracer.AnySpan): Otel.SpanContext => ({
  traceId,
  spanId,
  traceFlags: sampled ? Otel.TraceFlags.SAMPLED : Otel.TraceFlags.NONE,
  isRemote: _tag === "ExternalSpan",
})

export interface RecordedSpanOptions {
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly traceId: string
  readonly spanId?: string
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly links: ReadonlyArray<Tracer.SpanLink>
  readonly annotations: Context.Context<never>
  /** Nanoseconds since 1970. */
  readonly startTime: bigint | number
  readonly sampled: boolean
}

export class RecordedSpan implements Tracer.Span {
  readonly _tag = "Span"
  readonly name: string
  readonly kind: Tracer.SpanKind
  readonly traceId: string
  readonly spanId: string
  readonly parent: Option.Option<Tracer.AnySpan>
  readonly annotations: Context.Context<never>
  readonly sampled: boolean
  /** Attributes that it has in common with many others: written already. */
  protected common: Uint8Array | undefined
  readonly #sink: SpanSink
  readonly #startTime: bigint | number
  #ended: { readonly endNanos: bigint | number; readonly exit: Exit.Exit<unknown, unknown> } | undefined
  #links: Array<Tracer.SpanLink> | undefined
  #attributes: Record<string, Otel.AttributeValue> | undefined
  #attributeCount = 0
  #events: Array<SpanEvent> | undefined
  #droppedAttributes = 0
  #droppedEvents = 0
  #droppedLinks = 0

  constructor(sink: SpanSink, options: RecordedSpanOptions) {
    this.name = options.name
    this.kind = options.kind
    this.traceId = options.traceId
    this.spanId = options.spanId ?? newSpanId()
    this.parent = options.parent
    this.annotations = options.annotations
    this.sampled = options.sampled
    this.#sink = sink
    this.#startTime = options.startTime
    if (options.links.length > 0) this.addLinks(options.links)
  }

  get status(): Tracer.SpanStatus {
    const startTime = BigInt(this.#startTime)
    if (this.#ended === undefined) return { _tag: "Started", startTime }
    const { endNanos, exit } = this.#ended
    return { _tag: "Ended", startTime, endTime: BigInt(endNanos), exit }
  }

  get attributes(): ReadonlyMap<string, unknown> {
    return new Map(Object.entries(this.#attributes ?? {}))
  }

  get links(): ReadonlyArray<Tracer.SpanLink> {
    return this.#links ?? []
  }

  attribute(name: string, value: unknown): void {
    if (!this.sampled || this.#ended !== undefined) return
    const attributes = (this.#attributes ??= {})
    if (attributes[name] === undefined) {
      if (this.#attributeCount >= this.#sink.limits.attributesMax) {
        this.#droppedAttributes++
        return
      }
      this.#attributeCount++
    }
    attributes[name] = attributeValue(value)
  }

  event(name: string, startTime: bigint | number, attributes: Record<string, unknown> = {}): void {
    if (!this.sampled || this.#ended !== undefined) return
    if ((this.#events?.length ?? 0) >= this.#sink.limits.eventsMax) {
      this.#droppedEvents++
      return
    }
    const values = Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [name, attributeValue(value)]),
    )
    ;(this.#events ??= []).push({
      name: cleanText(name),
      nanos: Number(startTime),
      attributes: cleaned(values),
      droppedAttributes: 0,
    })
  }

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    if (this.#ended !== undefined) return
    const kept = (this.#links ??= [])
    const taken = links.slice(0, Math.max(0, this.#sink.limits.linksMax - kept.length))
    kept.push(...taken)
    this.#droppedLinks += links.length - taken.length
  }

  end(endTime: bigint | number, exit: Exit.Exit<unknown, unknown>): void {
    if (this.#ended !== undefined) return
    const status = exit._tag === "Success" ? UNSET : this.#failed(endTime, exit.cause)
    const attributes = this.#attributes ?? {}
    this.#end(endTime, exit, Number(this.#startTime), this.name, attributes, status)
  }

  /** For whoever knows how long it took and what it was: it ends with this name, and these attributes as well. */
  endAfter(
    durationMs: number,
    endNanos: number,
    name: string,
    attributes: Otel.Attributes,
    status: Otel.SpanStatus | undefined,
    exit: Exit.Exit<unknown, unknown>,
  ): void {
    if (this.#ended !== undefined) return
    const start = endNanos - Math.round(durationMs * NANOS_PER_MILLI)
    const all = this.#attributes === undefined ? attributes : { ...this.#attributes, ...attributes }
    this.#end(endNanos, exit, start, name, all, status ?? UNSET)
  }

  #end(
    endNanos: bigint | number,
    exit: Exit.Exit<unknown, unknown>,
    startNanos: number,
    name: string,
    attributes: Otel.Attributes,
    status: Otel.SpanStatus,
  ): void {
    this.#ended = { endNanos, exit }
    if (!this.sampled) return
    const parent = Option.getOrUndefined(this.parent)
    this.#sink.take({
      name,
      kind: KINDS[this.kind],
      traceId: this.traceId,
      spanId: this.spanId,
      traceState: undefined,
      parentSpanId: parent?.spanId,
      isParentRemote: parent?._tag === "ExternalSpan",
      startNanos,
      endNanos: Math.max(startNanos, Number(endNanos)),
      common: this.common,
      attributes,
      events: this.#events ?? NO_EVENTS,
      links: this.#links?.map(({ span }) => ({ context: contextOf(span) })) ?? NO_LINKS,
      droppedAttributes: this.#droppedAttributes,
      droppedEvents: this.#droppedEvents,
      droppedLinks: this.#droppedLinks,
      status,
    })
  }

  /** As Effect's bridge has it: an interruption is no error, and everything else is told with its stack. */
  #failed(at: bigint | number, cause: Cause.Cause<unknown>): Otel.SpanStatus {
    if (Cause.hasInterruptsOnly(cause)) {
      this.attribute("effect.fiber.interrupted", true)
      return UNSET
    }
    const errors = Cause.prettyErrors(cause, { includeCauseInStack: true })
    for (const { message, name, stack } of errors)
      this.event("exception", at, {
        "exception.type": name,
        "exception.message": message,
        ...(stack === undefined ? {} : { "exception.stacktrace": stack }),
      })
    return { code: Otel.SpanStatusCode.ERROR, message: cleanText(errors[0]?.message ?? "") }
  }
}

const attributeValue = (value: unknown): Otel.AttributeValue =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean"
    ? value
    : Inspectable.toStringUnknown(value)
