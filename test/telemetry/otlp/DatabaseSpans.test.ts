import { SpanKind, SpanStatusCode } from "@opentelemetry/api"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Tracer } from "effect"
import type { DatabaseOperation } from "../../../src/telemetry/Observer.ts"
import { databaseSpan } from "../../../src/telemetry/otlp/DatabaseSpans.ts"
import { newSpanId, newTraceId } from "../../../src/telemetry/otlp/RecordedSpan.ts"
import { SpanClock } from "../../../src/telemetry/otlp/SpanClock.ts"
import * as TraceParent from "../../../src/telemetry/TraceParent.ts"

const ids = (sampled = true) => ({ traceId: newTraceId(), spanId: newSpanId(), sampled })

const scan: DatabaseOperation = {
  name: "SCAN",
  ok: true,
  cause: undefined,
  startedAt: 0,
  durationMs: 2,
  sql: "SELECT 1",
  rows: 1,
  events: 0,
  traces: [],
  parent: undefined,
}
const commit = { ...scan, name: "COMMIT", sql: undefined, rows: undefined, events: 3 } as const

const spanOf = (operation: DatabaseOperation) =>
  Effect.map(Clock.Clock, (clock) => databaseSpan(operation, performance.now(), new SpanClock(clock)))

describe("the span of what the database does", () => {
  it.live("is under the span that asked, and has the statement and how long it took", () =>
    Effect.gen(function* () {
      const parent = Tracer.externalSpan(ids())
      const span = (yield* spanOf({ ...scan, parent }))!
      assert.deepInclude(span, {
        name: "SCAN",
        kind: SpanKind.CLIENT,
        traceId: parent.traceId,
        parentSpanId: parent.spanId,
        status: { code: SpanStatusCode.UNSET },
        attributes: {
          "db.system.name": "sqlite",
          "db.operation.name": "SCAN",
          "db.query.text": "SELECT 1",
        },
      })
      // To a quarter of a microsecond each.
      assert.closeTo(span.endNanos - span.startNanos, 2_000_000, 1_000)
    }),
  )

  it.live(
    "of a commit that several share is under the first of them that is recorded, and linked to the others",
    () =>
      Effect.gen(function* () {
        const [unrecorded, first, second] = [ids(false), ids(), ids()]
        const traces = [unrecorded, first, second].map(TraceParent.format)
        const span = (yield* spanOf({ ...commit, traces }))!
        assert.deepInclude(span, {
          name: "COMMIT journal",
          traceId: first.traceId,
          parentSpanId: first.spanId,
        })
        assert.deepInclude(span.attributes, { "renderowl.journal.events": 3 })
        assert.deepStrictEqual(
          span.links.map(({ context }) => [context.traceId, context.spanId]),
          [[second.traceId, second.spanId]],
        )
      }),
  )

  it.live("is an error where it has failed, and is not made where nobody is traced", () =>
    Effect.gen(function* () {
      const failed = { ...commit, ok: false, cause: new Error("the disk is gone") }
      const span = yield* spanOf({ ...failed, traces: [TraceParent.format(ids())] })
      assert.strictEqual(span!.status.code, SpanStatusCode.ERROR)
      assert.isUndefined(yield* spanOf(failed))
      assert.isUndefined(yield* spanOf({ ...scan, parent: Tracer.externalSpan(ids(false)) }))
    }),
  )
})
