import { assert, describe, it } from "@effect/vitest"
import { SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api"
import { resourceFromAttributes } from "@opentelemetry/resources"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import { EndedSpan, newSpanId, newTraceId } from "../../../src/telemetry/otlp/RecordedSpan.ts"
import { SpanQueue, type SpanBatch } from "../../../src/telemetry/otlp/SpanQueue.ts"
import { decodeTraceRequest } from "../../support/OtlpReceiver.ts"

const of = { resource: resourceFromAttributes({}), instrumentationScope: { name: "renderowl" } }
const batches = { batchMax: 3, queueMax: 7, delayMs: 3_600_000, timeoutMs: 1_000 }
const limits = { attributesMax: 128, eventsMax: 128, linksMax: 128, charactersMax: undefined }

/** A queue whose collector takes a batch when it is told to. */
const open = () => {
  const sent: Array<SpanBatch> = []
  const answers: Array<() => void> = []
  let dropped = 0
  let isShut = false
  const exporter = {
    send: (batch: SpanBatch) => {
      sent.push(batch)
      return new Promise<void>((resolve) => void answers.push(resolve))
    },
    shutdown: async () => void (isShut = true),
  }
  const queue = new SpanQueue({ batches, limits }, of, exporter, () => void dropped++)
  const sink = { ...of, limits, take: (span: ReadableSpan) => queue.onEnd(span) }
  const end = (name: string, traceFlags: number = TraceFlags.SAMPLED) =>
    sink.take(
      new EndedSpan(sink, {
        name,
        kind: SpanKind.INTERNAL,
        context: { traceId: newTraceId(), spanId: newSpanId(), traceFlags },
        parent: undefined,
        startNanos: 1,
        endNanos: 2,
        attributes: {},
        status: { code: SpanStatusCode.UNSET },
        links: undefined,
      }),
    )
  return {
    queue,
    end,
    /** The collector has the batch that was sent last. */
    answer: () => answers.shift()!(),
    names: () => sent.map(({ request }) => decodeTraceRequest(request).map(({ name }) => name)),
    counts: () => sent.map(({ spans }) => spans),
    dropped: () => dropped,
    isShut: () => isShut,
  }
}

const turns = () => new Promise<void>((resolve) => setImmediate(resolve))

describe("spans that have ended", () => {
  it("are sent a batch at a time, in their order", async () => {
    const { answer, counts, end, names } = open()
    for (const name of ["a", "b", "c", "d", "e", "f"]) end(name)
    assert.deepStrictEqual(names(), [["a", "b", "c"]])
    answer()
    await turns()
    assert.deepStrictEqual(names(), [
      ["a", "b", "c"],
      ["d", "e", "f"],
    ])
    assert.deepStrictEqual(counts(), [3, 3])
  })

  it("that nobody wants recorded are not sent", () => {
    const { end, names } = open()
    for (const name of ["a", "b", "c"]) end(name, TraceFlags.NONE)
    for (const name of ["d", "e", "f"]) end(name)
    assert.deepStrictEqual(names(), [["d", "e", "f"]])
  })

  it("are dropped and counted when too many wait for the collector, and taken again once it has some", async () => {
    const { answer, dropped, end, names, queue } = open()
    for (const name of "abcdefghij") end(name)
    assert.strictEqual(dropped(), 3)
    answer()
    await turns()
    for (const name of "klmn") end(name)
    assert.strictEqual(dropped(), 4)
    const flushed = queue.forceFlush()
    for (let batch = 0; batch < 3; batch++) {
      answer()
      await turns()
    }
    await flushed
    assert.deepStrictEqual(names().flat().join(""), "abcdefgklm")
  })

  it("are all sent before the queue is shut, and none is taken after", async () => {
    const { answer, dropped, end, isShut, names, queue } = open()
    for (const name of "abcde") end(name)
    const shut = queue.shutdown()
    end("late")
    answer()
    await turns()
    assert.isFalse(isShut())
    answer()
    await shut
    assert.isTrue(isShut())
    assert.deepStrictEqual(names(), [
      ["a", "b", "c"],
      ["d", "e"],
    ])
    assert.strictEqual(dropped(), 0)
  })
})

describe("a queue without spans", () => {
  it("has nothing to send when it is flushed or shut", async () => {
    const { isShut, names, queue } = open()
    await queue.forceFlush()
    await queue.shutdown()
    assert.isTrue(isShut())
    assert.isEmpty(names())
  })
})
