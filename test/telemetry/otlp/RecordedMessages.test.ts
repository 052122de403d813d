import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Exit, Tracer } from "effect"
import * as MessageSpans from "../../../src/telemetry/MessageSpans.ts"
import type { EndedSpan } from "../../../src/telemetry/otlp/EndedSpan.ts"
import { messageSpans } from "../../../src/telemetry/otlp/RecordedMessages.ts"
import { newSpanId, newTraceId } from "../../../src/telemetry/otlp/RecordedSpan.ts"
import { SpanClock } from "../../../src/telemetry/otlp/SpanClock.ts"
import { recordingTracer } from "../../support/RecordingTracer.ts"

const QUEUES = 2_500

const message = (queue: string): MessageSpans.Message => ({
  operation: "send",
  queue,
  type: "test",
  parent: undefined,
})

const recording = Effect.map(Clock.Clock, (clock) => {
  const taken: Array<EndedSpan> = []
  const sink = {
    limits: { attributesMax: 128, eventsMax: 128, linksMax: 128, charactersMax: undefined },
    take: (span: EndedSpan) => void taken.push(span),
  }
  return { taken, beginMessage: messageSpans(sink, () => true, new SpanClock(clock)) }
})

const within = (queue: string, work: Effect.Effect<void>) =>
  Effect.withFiber<void>((fiber) =>
    MessageSpans.finishAfter(fiber, MessageSpans.begin(fiber, message(queue)), work),
  )

describe("the span of a message", () => {
  it.effect("says its own queue, however many queues callers think of", () =>
    Effect.gen(function* () {
      const { beginMessage, taken } = yield* recording
      const queues = Array.from({ length: QUEUES }, (_, n) => `queue-${n}-`)
      for (const queue of [...queues, ...queues]) beginMessage(message(queue)).finishMessage(Exit.void)
      assert.deepStrictEqual(
        taken.map(({ name }) => name),
        [...queues, ...queues].map((queue) => `send ${queue}`),
      )
      for (const [at, { common }] of taken.entries())
        assert.isTrue(Buffer.from(common!).includes(queues[at % QUEUES]!))
    }),
  )

  it.effect("has the annotations and links of its fiber, as others have", () =>
    Effect.gen(function* () {
      const { beginMessage, taken } = yield* recording
      const tracer: MessageSpans.MessageTracer = {
        beginMessage,
        span: () => assert.fail("made by the other"),
      }
      const linked = Tracer.externalSpan({ traceId: newTraceId(), spanId: newSpanId() })
      yield* within("videos", Effect.void).pipe(
        Effect.annotateSpans("tenant", "harbour"),
        Effect.linkSpans(linked),
        Effect.withTracer(tracer),
      )
      const [{ attributes, links }] = taken as [EndedSpan]
      assert.deepStrictEqual(attributes, { tenant: "harbour" })
      assert.deepStrictEqual(
        links.map(({ context }) => context.spanId),
        [linked.spanId],
      )
    }),
  )

  it.effect("is made by the tracer of its fiber, whoever has provided it", () =>
    Effect.gen(function* () {
      const { spans, tracer } = recordingTracer()
      yield* Effect.withTracer(within("videos", Effect.void), tracer)
      const [{ attributes, kind, name, status }] = spans as [Tracer.Span]
      assert.deepStrictEqual([name, kind, status._tag], ["send videos", "producer", "Ended"])
      assert.strictEqual(attributes.get("messaging.destination.name"), "videos")
    }),
  )
})
