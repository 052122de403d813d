import { assert, describe, it } from "@effect/vitest"
import { SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api"
import { ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer"
import { resourceFromAttributes } from "@opentelemetry/resources"
import type { ReadableSpan } from "@opentelemetry/sdk-trace-base"
import * as fc from "fast-check"
import { endedSpan } from "../../../src/telemetry/otlp/Conventions.ts"
import { TraceRequest } from "../../../src/telemetry/otlp/TraceRequest.ts"
import { decodeTraceRequest, type PlainTraceRequest, readTraceRequest } from "../../support/OtlpReceiver.ts"

const resource = resourceFromAttributes({ "service.name": "renderowl", "process.pid": 7 })
const instrumentationScope = { name: "renderowl", version: "1.2.3" }

const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((all) => Buffer.from(all).toString("hex"))
/** Such as a double can hold in nanoseconds until 2116: multiples of 512. */
const time = fc.tuple(
  fc.integer({ min: 0, max: 4_000_000_000 }),
  fc.integer({ min: 0, max: 999_999_999 }).map((nanos) => nanos - (nanos % 512)),
)
/** Also longer than what one byte says the length of, and in letters of several bytes; nothing that could be taken for a secret. */
const text = fc
  .oneof(fc.string({ unit: "binary", maxLength: 60 }), fc.string({ minLength: 100, maxLength: 20_000 }))
  .map((text) => text.replaceAll(/[@=]/g, "-"))
const attributes = fc.dictionary(
  fc.string({ minLength: 1, maxLength: 50 }).filter((name) => name !== "__proto__"),
  fc.oneof(
    text,
    fc.boolean(),
    fc.maxSafeInteger(),
    fc.double({ noNaN: true, noDefaultInfinity: true }).filter((value) => !Number.isInteger(value)),
    fc.array(fc.string(), { maxLength: 3 }),
  ),
  { maxKeys: 12 },
)
const context = fc.record({
  traceId: hex(16),
  spanId: hex(8),
  traceFlags: fc.constantFrom(0, 1),
  isRemote: fc.boolean(),
})

const span: fc.Arbitrary<ReadableSpan> = fc
  .record({
    name: text,
    kind: fc.constantFrom(
      SpanKind.INTERNAL,
      SpanKind.SERVER,
      SpanKind.CLIENT,
      SpanKind.PRODUCER,
      SpanKind.CONSUMER,
    ),
    own: context.map((own) => ({ ...own, traceFlags: TraceFlags.SAMPLED })),
    parent: fc.option(context, { nil: undefined }),
    startTime: time,
    endTime: time,
    status: fc.oneof(
      fc.constant({ code: SpanStatusCode.UNSET }),
      fc.record({ code: fc.constant(SpanStatusCode.ERROR), message: text }),
    ),
    attributes,
    links: fc.array(fc.record({ context, attributes }), { maxLength: 3 }),
    events: fc.array(fc.record({ name: text, time, attributes }), { maxLength: 3 }),
    droppedAttributesCount: fc.nat(300),
    droppedEventsCount: fc.nat(300),
    droppedLinksCount: fc.nat(300),
  })
  .map(({ own, parent, ...span }) =>
    Object.assign(span, parent && { parentSpanContext: parent }, {
      spanContext: () => own,
      duration: [0, 0] as [number, number],
      ended: true,
      resource,
      instrumentationScope,
    }),
  )

/** No status and one that is not set are the same. */
const read = (body: Uint8Array): PlainTraceRequest => {
  const request = readTraceRequest(body)
  for (const { scopeSpans } of request.resourceSpans)
    for (const { spans } of scopeSpans) for (const span of spans) span.status ??= { message: "", code: 0 }
  return request
}

describe("a request to a collector", () => {
  it("says the same as that of the official serializer, as read by the published definitions", () => {
    const request = new TraceRequest(resource, instrumentationScope)
    fc.assert(
      fc.property(fc.array(span, { minLength: 1, maxLength: 4 }), (spans) => {
        request.reset()
        for (const span of spans) request.add(endedSpan(span))
        assert.strictEqual(request.count, spans.length)
        const official = ProtobufTraceSerializer.serializeRequest(spans)!
        assert.deepStrictEqual(read(request.finish()), read(official))
      }),
      { numRuns: 300 },
    )
  })

  it("tells its resource whole, whatever limit the text of an attribute has", () => {
    const request = new TraceRequest(
      resourceFromAttributes({ "service.name": "renderowl" }),
      instrumentationScope,
      4,
    )
    fc.assert(
      fc.property(span, (span) => {
        request.reset()
        request.add(endedSpan(span))
        const [received] = decodeTraceRequest(request.finish())
        assert.deepStrictEqual(received!.resource, { "service.name": "renderowl" })
        for (const value of Object.values(received!.attributes))
          if (typeof value === "string") assert.isAtMost(value.length, 4)
      }),
      { numRuns: 20 },
    )
  })
})
