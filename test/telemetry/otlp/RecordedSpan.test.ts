import { assert, describe, it } from "@effect/vitest"
import { Context, Exit, Option, Tracer } from "effect"
import type { EndedSpan } from "../../../src/telemetry/otlp/EndedSpan.ts"
import { newSpanId, newTraceId, RecordedSpan } from "../../../src/telemetry/otlp/RecordedSpan.ts"

const link = () => ({
  span: Tracer.externalSpan({ traceId: newTraceId(), spanId: newSpanId() }),
  attributes: {},
})

describe("a recorded span", () => {
  it("keeps as much as it may, and says how much it has dropped", () => {
    const taken: Array<EndedSpan> = []
    const span = new RecordedSpan(
      {
        limits: { attributesMax: 2, eventsMax: 1, linksMax: 3, charactersMax: undefined },
        take: (ended) => void taken.push(ended),
      },
      {
        name: "work",
        kind: "internal",
        traceId: newTraceId(),
        parent: Option.none(),
        links: [link(), link()],
        annotations: Context.empty(),
        startTime: 1n,
        sampled: true,
      },
    )
    for (const name of ["one", "two", "three", "one"]) span.attribute(name, name)
    for (const name of ["first", "second", "third"]) span.event(name, 2n)
    span.addLinks([link(), link(), link()])
    span.end(3n, Exit.void)
    const [ended] = taken as [EndedSpan]
    assert.deepStrictEqual(ended.attributes, { one: "one", two: "two" })
    assert.deepStrictEqual(
      ended.events.map(({ name }) => name),
      ["first"],
    )
    assert.lengthOf(ended.links, 3)
    assert.deepStrictEqual([ended.droppedAttributes, ended.droppedEvents, ended.droppedLinks], [1, 2, 2])
  })
})
