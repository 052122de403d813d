import { assert, describe, it } from "@effect/vitest"
import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import { resourceFromAttributes } from "@opentelemetry/resources"
import { BasicTracerProvider, SamplingDecision } from "@opentelemetry/sdk-trace-base"
import { newSpanId, newTraceId } from "../../../src/telemetry/otlp/RecordedSpan.ts"
import { SpanQueue, type SpanBatch } from "../../../src/telemetry/otlp/SpanQueue.ts"
import { decodeTraceRequest } from "../../support/OtlpReceiver.ts"

const of = { resource: resourceFromAttributes({}), instrumentationScope: { name: "renderowl" } }
const batches = { batchMax: 3, queueMax: 7, delayMs: 3_600_000, timeoutMs: 1_000 }
const limits = { attributesMax: 128, eventsMax: 128, linksMax: 128, charactersMax: undefined }

/** A queue whose collector takes a batch when it is told to. */
const open = () => {
  const sent: Array<{ readonly spans: number; readonly names: ReadonlyArray<string> }> = []
  const requests: Array<Uint8Array> = []
  const answers: Array<(isFree: boolean) => void> = []
  let dropped = 0
  let isShut = false
  const exporter = {
    send: (batch: SpanBatch) => {
      // Now: what it is in is used again.
      sent.push({
        spans: batch.spans,
        names: decodeTraceRequest(batch.request).map(({ name }) => name),
      })
      requests.push(batch.request)
      return new Promise<boolean>((resolve) => void answers.push(resolve))
    },
    shutdown: async () => void (isShut = true),
  }
  const queue = new SpanQueue({ batches, limits }, of, exporter, () => void dropped++)
  const end = (name: string) =>
    queue.add({
      name,
      kind: SpanKind.INTERNAL,
      traceId: newTraceId(),
      spanId: newSpanId(),
      traceState: undefined,
      parentSpanId: undefined,
      isParentRemote: false,
      startNanos: 1,
      endNanos: 2,
      common: undefined,
      attributes: {},
      events: [],
      links: [],
      droppedAttributes: 0,
      droppedEvents: 0,
      droppedLinks: 0,
      status: { code: SpanStatusCode.UNSET },
    })
  return {
    queue,
    end,
    /** The collector has the batch that was sent last. */
    answer: (isFree = true) => answers.shift()!(isFree),
    requests,
    names: () => sent.map(({ names }) => names),
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

  it("of the SDK are sent as well, but for those that nobody wants sampled", () => {
    const { names, queue } = open()
    const tracer = new BasicTracerProvider({
      spanProcessors: [queue],
      sampler: {
        shouldSample: (_context, _traceId, name) => ({
          decision: name === "looked at" ? SamplingDecision.RECORD : SamplingDecision.RECORD_AND_SAMPLED,
        }),
        toString: () => "test",
      },
    }).getTracer("test")
    for (const name of ["looked at", "d", "looked at", "e", "f"]) tracer.startSpan(name).end()
    assert.deepStrictEqual(names(), [["d", "e", "f"]])
  })

  it("are written over none that may still be read", async () => {
    const { answer, end, names, requests } = open()
    const namesIn = (request: Uint8Array) => decodeTraceRequest(request).map(({ name }) => name)
    for (const name of "abc") end(name)
    answer(false)
    await turns()
    for (const name of "def") end(name)
    answer()
    await turns()
    for (const name of "ghijkl") end(name)
    answer()
    await turns()
    assert.deepStrictEqual(names(), [[..."abc"], [..."def"], [..."ghi"], [..."jkl"]])
    assert.deepStrictEqual(namesIn(requests[0]!), [..."abc"])
    // That of the second was free again.
    assert.strictEqual(requests[3]!.buffer, requests[1]!.buffer)
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
