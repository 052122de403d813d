/**
 * Spans about jobs, which to OpenTelemetry are messages: of a submission, and of each attempt.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
import { Effect, type Exit, type Fiber, References, Tracer } from "effect"
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

/** A tracer that makes spans of messages by less than `Effect.useSpan` needs. */
export interface MessageTracer extends Tracer.Tracer {
  readonly beginMessage: (message: Message) => MessageSpan
}

/** One that knows the time by itself. */
export interface MessageSpan extends Tracer.Span {
  readonly finish: (exit: Exit.Exit<unknown, unknown>) => void
}

const isMessageTracer = (tracer: Tracer.Tracer): tracer is MessageTracer => "beginMessage" in tracer

/** Where whoever asks is traced: works in a span, which ends as the work does. */
export const withinMessage = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  message: Message,
  work: (span: Tracer.Span) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> => {
  const tracer = fiber.getRef(Tracer.Tracer)
  if (isMessageTracer(tracer)) {
    const span = tracer.beginMessage(message)
    for (const [name, value] of Object.entries(fiber.getRef(References.TracerSpanAnnotations)))
      span.attribute(name, value)
    span.addLinks(fiber.getRef(References.TracerSpanLinks))
    return Effect.onExit(work(span), (exit) => {
      span.finish(exit)
      return Effect.void
    })
  }
  const { link, operation, parent } = message
  const options: Tracer.SpanOptionsNoTrace = {
    kind: operation === "send" ? "producer" : "consumer",
    ...(parent === undefined ? { root: true } : { parent }),
    links: link === undefined ? [] : [{ span: link, attributes: {} }],
    attributes: messageAttributes(message),
  }
  return Effect.useSpan(nameOf(message), options, work)
}

export const nameOf = ({ operation, queue }: Message): string => `${operation} ${queue}`

/** What spans of one operation, queue and type have in common. */
export const messageAttributes = ({ operation, queue, type }: Message): Readonly<Record<string, string>> => ({
  "messaging.system": MESSAGING_SYSTEM,
  "messaging.operation.name": operation,
  "messaging.operation.type": operation,
  "messaging.destination.name": queue,
  ...(type === undefined ? {} : { "renderowl.job.type": type }),
})
