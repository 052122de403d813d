/**
 * Spans about jobs, which cost 2 µs less each than those of Effect's bridge (measured). What those of one operation, queue and type
 * have in common is written once.
 */
import { Context, type Exit, Option } from "effect"
import * as MessageSpans from "../MessageSpans.ts"
import { newTraceId, RecordedSpan, type SpanSink } from "./RecordedSpan.ts"
import type { IsSampled } from "./Sampling.ts"
import type { SpanClock } from "./SpanClock.ts"
import { commonAttributes } from "./TraceRequest.ts"

/** Of an operation. Callers can name any number of queues: when there are too many, those that are still used are made again. */
const KINDS_MAX = 1_000

interface Kind {
  readonly name: string
  readonly common: Uint8Array
}

/** Those of one operation. */
class Kinds {
  readonly #byQueue = new Map<string, Map<string | undefined, Kind>>()
  #count = 0

  of(queue: string, type: string | undefined, make: () => Kind): Kind {
    const known = this.#byQueue.get(queue)?.get(type)
    if (known !== undefined) return known
    const kind = make()
    if (this.#count >= KINDS_MAX) {
      this.#byQueue.clear()
      this.#count = 0
    }
    this.#count++
    const ofQueue = this.#byQueue.get(queue)
    if (ofQueue === undefined) this.#byQueue.set(queue, new Map([[type, kind]]))
    else ofQueue.set(type, kind)
    return kind
  }
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

  finishMessage(exit: Exit.Exit<unknown, unknown>): void {
    this.end(this.#clock.nanosAt(performance.now()), exit)
  }
}

/** Begins them. */
export const messageSpans = (
  sink: SpanSink,
  isSampled: IsSampled,
  clock: SpanClock,
): MessageSpans.MessageTracer["beginMessage"] => {
  const kinds = { send: new Kinds(), process: new Kinds() }
  const kindOf = (message: MessageSpans.Message): Kind =>
    kinds[message.operation].of(message.queue, message.type, () => ({
      name: MessageSpans.nameOf(message),
      common: commonAttributes(MessageSpans.messageAttributes(message), sink.limits.charactersMax),
    }))
  return (message) => {
    const { parent } = message
    const traceId = parent?.traceId ?? newTraceId()
    const sampled = isSampled(traceId, parent?.sampled)
    return new RecordedMessageSpan(sink, clock, kindOf(message), message, traceId, sampled)
  }
}
