/**
 * Spans about jobs, which to OpenTelemetry are messages: of a submission, and of each attempt.
 *
 * @source https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/
 */
import { Context, Effect, type Exit, type Fiber, type Tracer } from "effect"
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

/** Makes spans that know when they end. */
export interface MessageTracer {
  readonly begin: (message: Message) => MessageSpan
}

export interface MessageSpan extends Tracer.Span {
  readonly finish: (exit: Exit.Exit<unknown, unknown>) => void
}

/** `undefined`: spans are made by Effect's tracer, whoever has provided that. */
export const CurrentMessageTracer = Context.Reference<MessageTracer | undefined>(
  "renderowl/telemetry/CurrentMessageTracer",
  { defaultValue: () => undefined },
)

/** Where whoever asks is traced: works in a span, which ends as the work does. */
export const withinMessage = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  message: Message,
  work: (span: Tracer.Span) => Effect.Effect<A, E, R>,
): Effect.Effect<A, E, R> => {
  const tracer = fiber.getRef(CurrentMessageTracer)
  if (tracer !== undefined) {
    const span = tracer.begin(message)
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
