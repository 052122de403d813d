/**
 * Spans about jobs, which cost 2 µs less each than by `Effect.useSpan` (measured). What those of one operation, queue and type have
 * in common is written once.
 */
import { Context, type Exit, Option } from "effect"
import * as MessageSpans from "../MessageSpans.ts"
import { newTraceId, RecordedSpan, type SpanSink } from "./RecordedSpan.ts"
import type { IsSampled } from "./Sampling.ts"
import type { SpanClock } from "./SpanClock.ts"
import { commonAttributes } from "./TraceRequest.ts"

/** Callers can name any number of queues: when there are too many, those that are still used are made again. */
const KINDS_MAX = 1_000

interface Kind {
  readonly name: string
  readonly common: Uint8Array
}

class RecordedMessageSpan extends RecordedSpan implements MessageSpans.MessageSpan {
  readonly #clock: SpanClock

  constructor(
    sink: SpanSink,
    clock: SpanClock,
    { common, name }: Kind,
    { link, operation, parent }: MessageSpans.Message,
    traceId: string,
    sampled: boolean,
  ) {
    super(sink, {
      name,
      kind: operation === "send" ? "producer" : "consumer",
      traceId,
      parent: Option.fromUndefinedOr(parent),
      links: link === undefined ? [] : [{ span: link, attributes: {} }],
      annotations: Context.empty(),
      startTime: clock.nanosAt(performance.now()),
      sampled,
    })
    this.common = common
    this.#clock = clock
  }

  finish(exit: Exit.Exit<unknown, unknown>): void {
    this.end(this.#clock.nanosAt(performance.now()), exit)
  }
}

/** Begins them. */
export const messageSpans = (
  sink: SpanSink,
  isSampled: IsSampled,
  clock: SpanClock,
): MessageSpans.MessageTracer["beginMessage"] => {
  const kinds = new Map<string, Kind>()
  const kindOf = (message: MessageSpans.Message): Kind => {
    const key = `${message.operation} ${message.queue} ${message.type ?? ""}`
    const known = kinds.get(key)
    if (known !== undefined) return known
    const kind = {
      name: MessageSpans.nameOf(message),
      common: commonAttributes(MessageSpans.messageAttributes(message), sink.limits.charactersMax),
    }
    if (kinds.size >= KINDS_MAX) kinds.clear()
    kinds.set(key, kind)
    return kind
  }
  return (message) => {
    const { parent } = message
    const traceId = parent?.traceId ?? newTraceId()
    const sampled = isSampled(traceId, parent?.sampled)
    return new RecordedMessageSpan(sink, clock, kindOf(message), message, traceId, sampled)
  }
}
