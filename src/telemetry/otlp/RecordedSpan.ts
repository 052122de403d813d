/**
 * A span of what happens all the time: a request, a submission, an attempt. It holds what is said of it and makes nothing else
 * until it ends; one of the SDK under Effect's bridge costs 5 to 8 µs more (measured), a tenth of a request by itself.
 */
import * as Otel from "@opentelemetry/api"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { Cause, type Context, type Exit, Inspectable, Option, type Tracer } from "effect"
import { randomHex } from "../RandomHex.ts"
import type { SpanLimits } from "../Tracing.ts"
import { clean, cleanText } from "./Conventions.ts"

type Event = ReadableSpan["events"][number]

/** Where spans go when they end. */
export interface SpanSink {
  readonly resource: ReadableSpan["resource"]
  readonly instrumentationScope: ReadableSpan["instrumentationScope"]
  readonly limits: SpanLimits
  readonly take: (span: ReadableSpan) => void
}

const TRACE_ID_BYTES = 16
const SPAN_ID_BYTES = 8
const NANOS_PER_SECOND = 1_000_000_000
const NANOS_PER_MILLI = 1_000_000
const UNSET: Otel.SpanStatus = { code: Otel.SpanStatusCode.UNSET }
const NO_LINKS: Array<Otel.Link> = []
const NO_EVENTS: Array<Event> = []

export const newTraceId = (): string => randomHex(TRACE_ID_BYTES)
export const newSpanId = (): string => randomHex(SPAN_ID_BYTES)

/** To a quarter of a microsecond, which is what a double has room for. */
const hrTime = (nanos: number): Otel.HrTime => {
  const seconds = Math.floor(nanos / NANOS_PER_SECOND)
  return [seconds, nanos - seconds * NANOS_PER_SECOND]
}

const KINDS: Readonly<Record<Tracer.SpanKind, Otel.SpanKind>> = {
  internal: Otel.SpanKind.INTERNAL,
  server: Otel.SpanKind.SERVER,
  client: Otel.SpanKind.CLIENT,
  producer: Otel.SpanKind.PRODUCER,
  consumer: Otel.SpanKind.CONSUMER,
}

/** How a span is known to others. */
export const contextOf = ({ _tag, sampled, spanId, traceId }: Tracer.AnySpan): Otel.SpanContext => ({
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
  readonly startTime: bigint
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
  readonly links: Array<Tracer.SpanLink> = []
  status: Tracer.SpanStatus
  readonly #sink: SpanSink
  readonly #attributes: Otel.Attributes = {}
  #attributeCount = 0
  #droppedAttributes = 0
  #droppedEvents = 0
  #droppedLinks = 0
  #events: Array<Event> | undefined

  constructor(sink: SpanSink, options: RecordedSpanOptions) {
    this.name = options.name
    this.kind = options.kind
    this.traceId = options.traceId
    this.spanId = options.spanId ?? newSpanId()
    this.parent = options.parent
    this.annotations = options.annotations
    this.sampled = options.sampled
    this.status = { _tag: "Started", startTime: options.startTime }
    this.#sink = sink
    if (options.links.length > 0) this.addLinks(options.links)
  }

  get attributes(): ReadonlyMap<string, unknown> {
    return new Map(Object.entries(this.#attributes))
  }

  attribute(name: string, value: unknown): void {
    if (!this.sampled || this.status._tag === "Ended") return
    if (this.#attributes[name] === undefined) {
      if (this.#attributeCount >= this.#sink.limits.attributesMax) {
        this.#droppedAttributes++
        return
      }
      this.#attributeCount++
    }
    this.#attributes[name] = attributeValue(value)
  }

  event(name: string, startTime: bigint, attributes: Record<string, unknown> = {}): void {
    if (!this.sampled || this.status._tag === "Ended") return
    if ((this.#events?.length ?? 0) >= this.#sink.limits.eventsMax) {
      this.#droppedEvents++
      return
    }
    const values = Object.fromEntries(
      Object.entries(attributes).map(([name, value]) => [name, attributeValue(value)]),
    )
    clean(values)
    ;(this.#events ??= []).push({
      name: cleanText(name),
      time: hrTime(Number(startTime)),
      attributes: values,
    })
  }

  addLinks(links: ReadonlyArray<Tracer.SpanLink>): void {
    if (this.status._tag === "Ended") return
    const taken = links.slice(0, Math.max(0, this.#sink.limits.linksMax - this.links.length))
    this.links.push(...taken)
    this.#droppedLinks += links.length - taken.length
  }

  end(endTime: bigint, exit: Exit.Exit<unknown, unknown>): void {
    if (this.status._tag === "Ended") return
    const { startTime } = this.status
    const status = exit._tag === "Success" ? UNSET : this.#failed(endTime, exit.cause)
    this.status = { _tag: "Ended", startTime, endTime, exit }
    this.#take(this.name, Number(startTime), Number(endTime), this.#attributes, status)
  }

  /** For whoever knows how long it took and what it was: it ends with this name, and these attributes as well. */
  endAfter(
    durationMs: number,
    endTime: bigint,
    name: string,
    attributes: Otel.Attributes,
    status: Otel.SpanStatus | undefined,
    exit: Exit.Exit<unknown, unknown>,
  ): void {
    if (this.status._tag === "Ended") return
    const { startTime } = this.status
    const end = Number(endTime)
    const start = end - Math.round(durationMs * NANOS_PER_MILLI)
    this.status = { _tag: "Ended", startTime, endTime, exit }
    const all = this.#attributeCount === 0 ? attributes : { ...this.#attributes, ...attributes }
    this.#take(name, start, end, all, status ?? UNSET)
  }

  #take(
    name: string,
    startNanos: number,
    endNanos: number,
    attributes: Otel.Attributes,
    status: Otel.SpanStatus,
  ): void {
    if (!this.sampled) return
    this.#sink.take(
      new EndedSpan(this.#sink, {
        name,
        kind: KINDS[this.kind],
        context: contextOf(this),
        parent: Option.isSome(this.parent) ? contextOf(this.parent.value) : undefined,
        startNanos,
        endNanos,
        attributes,
        droppedAttributesCount: this.#droppedAttributes,
        droppedEventsCount: this.#droppedEvents,
        droppedLinksCount: this.#droppedLinks,
        status,
        events: this.#events,
        links:
          this.links.length === 0 ? undefined : this.links.map(({ span }) => ({ context: contextOf(span) })),
      }),
    )
  }

  /** As Effect's bridge has it: an interruption is no error, and everything else is told with its stack. */
  #failed(at: bigint, cause: Cause.Cause<unknown>): Otel.SpanStatus {
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

interface Ended {
  readonly name: string
  readonly kind: Otel.SpanKind
  readonly context: Otel.SpanContext
  readonly parent: Otel.SpanContext | undefined
  /** Nanoseconds since 1970. */
  readonly startNanos: number
  readonly endNanos: number
  readonly attributes: Otel.Attributes
  readonly droppedAttributesCount?: number
  readonly droppedEventsCount?: number
  readonly droppedLinksCount?: number
  readonly status: Otel.SpanStatus
  readonly events?: Array<Event> | undefined
  readonly links: Array<Otel.Link> | undefined
}

/** What the SDK's processor and exporter are given. */
export class EndedSpan implements ReadableSpan {
  readonly name: string
  readonly kind: Otel.SpanKind
  readonly parentSpanContext?: Otel.SpanContext
  readonly startTime: Otel.HrTime
  readonly endTime: Otel.HrTime
  readonly status: Otel.SpanStatus
  readonly attributes: Otel.Attributes
  readonly links: Array<Otel.Link>
  readonly events: Array<Event>
  readonly resource: ReadableSpan["resource"]
  readonly instrumentationScope: ReadableSpan["instrumentationScope"]
  readonly droppedAttributesCount: number
  readonly droppedEventsCount: number
  readonly droppedLinksCount: number
  readonly #context: Otel.SpanContext

  constructor({ instrumentationScope, resource }: SpanSink, span: Ended) {
    this.name = span.name
    this.kind = span.kind
    this.#context = span.context
    if (span.parent !== undefined) this.parentSpanContext = span.parent
    this.startTime = hrTime(span.startNanos)
    this.endTime = hrTime(Math.max(span.startNanos, span.endNanos))
    this.status = span.status
    this.attributes = span.attributes
    this.links = span.links ?? NO_LINKS
    this.events = span.events ?? NO_EVENTS
    this.resource = resource
    this.instrumentationScope = instrumentationScope
    this.droppedAttributesCount = span.droppedAttributesCount ?? 0
    this.droppedEventsCount = span.droppedEventsCount ?? 0
    this.droppedLinksCount = span.droppedLinksCount ?? 0
  }

  spanContext(): Otel.SpanContext {
    return this.#context
  }

  get duration(): Otel.HrTime {
    const [seconds, nanos] = this.endTime
    const difference = (seconds - this.startTime[0]) * NANOS_PER_SECOND + nanos - this.startTime[1]
    return hrTime(difference)
  }

  get ended(): true {
    return true
  }
}
