/**
 * Spans about jobs, which to OpenTelemetry are messages: of a submission, and of each attempt.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
import { Clock, Context, Effect, type Exit, type Fiber, Option, References, Tracer } from "effect"
import { MESSAGING_SYSTEM } from "./JobMetrics.ts"

/** What a span is about. */
export interface Message {
  readonly operation: "send" | "process"
  readonly queue: string
  /** Of the job; `undefined`: of several. */
  readonly type: string | undefined
  readonly parent: Tracer.AnySpan | undefined
  /** What it is linked to. */
  readonly link?: Tracer.AnySpan | undefined
}

/** A tracer that makes spans of messages for less than others cost. */
export interface MessageTracer extends Tracer.Tracer {
  readonly beginMessage: (message: Message) => MessageSpan
}

/** One that knows the time by itself. */
export interface MessageSpan extends Tracer.Span {
  readonly finishMessage: (exit: Exit.Exit<unknown, unknown>) => void
}

const isMessageTracer = (tracer: Tracer.Tracer): tracer is MessageTracer => "beginMessage" in tracer
const isMessageSpan = (span: Tracer.Span): span is MessageSpan => "finishMessage" in span

/** Begins a span, where whoever asks is traced. Whoever begins it must {@link finish} it. */
export const begin = (fiber: Fiber.Fiber<unknown, unknown>, message: Message): Tracer.Span => {
  const tracer = fiber.cache.tracer ?? Tracer.nativeTracer
  const links = fiber.getRef(References.TracerSpanLinks)
  if (!isMessageTracer(tracer)) return beginBy(tracer, fiber, message, links)
  const span = tracer.beginMessage(message)
  annotate(span, fiber.getRef(References.TracerSpanAnnotations))
  if (links.length > 0) span.addLinks(links)
  return span
}

/** By a tracer that knows nothing of messages, with what the fiber has to say of its spans. */
const beginBy = (
  tracer: Tracer.Tracer,
  fiber: Fiber.Fiber<unknown, unknown>,
  message: Message,
  links: ReadonlyArray<Tracer.SpanLink>,
): Tracer.Span => {
  const { link, operation, parent } = message
  const span = tracer.span({
    name: nameOf(message),
    kind: operation === "send" ? "producer" : "consumer",
    parent: Option.fromUndefinedOr(parent),
    root: parent === undefined,
    links: link === undefined ? [...links] : [...links, { span: link, attributes: {} }],
    annotations: Context.empty(),
    startTime: fiber.getRef(Clock.Clock).currentTimeNanosUnsafe(),
    sampled: parent?.sampled !== false,
  })
  annotate(span, fiber.getRef(References.TracerSpanAnnotations))
  annotate(span, messageAttributes(message))
  return span
}

const annotate = (span: Tracer.Span, attributes: Readonly<Record<string, unknown>>): void => {
  for (const name in attributes) span.attribute(name, attributes[name])
}

/** Ends it as what it is about has ended. */
export const finish = (
  fiber: Fiber.Fiber<unknown, unknown>,
  span: Tracer.Span,
  exit: Exit.Exit<unknown, unknown>,
): void => {
  if (isMessageSpan(span)) span.finishMessage(exit)
  else if (span.status._tag === "Started") span.end(fiber.getRef(Clock.Clock).currentTimeNanosUnsafe(), exit)
}

/** Ends it as the work does. */
export const finishAfter = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  span: Tracer.Span,
  work: Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> =>
  Effect.onExitPrimitive(work, (exit) => {
    finish(fiber, span, exit)
    return undefined
  })

export const nameOf = ({ operation, queue }: Message): string => `${operation} ${queue}`

/** What spans of one operation, queue and type have in common. */
export const messageAttributes = ({ operation, queue, type }: Message): Readonly<Record<string, string>> => ({
  "messaging.system": MESSAGING_SYSTEM,
  "messaging.operation.name": operation,
  "messaging.operation.type": operation,
  "messaging.destination.name": queue,
  ...(type === undefined ? {} : { "renderowl.job.type": type }),
})
