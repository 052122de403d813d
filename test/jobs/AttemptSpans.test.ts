import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Option, Schema, Tracer } from "effect"
import * as Job from "../../src/jobs/Job.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { recordingTracer } from "../support/RecordingTracer.ts"
import { advance, settle } from "../support/Turns.ts"
import { enqueued } from "./JobHistories.ts"
import { ended, numbered, Numbered, queueWith, running, START, statusOf, store } from "./QueueFixture.ts"

const recording = () => {
  const { spans, tracer } = recordingTracer()
  const named = (name: string) => spans.filter((span) => span.name === name)
  return { layer: Layer.succeed(Tracer.Tracer, tracer), named }
}

const exitOf = ({ status }: Tracer.Span) => {
  if (status._tag === "Started") return assert.fail("it has not ended")
  return status.exit
}

describe("the span of an attempt", () => {
  it.effect("is under that of the submission, and is what the handler's own spans are under", () => {
    const { layer, named } = recording()
    const worker = numbered((n) =>
      Effect.succeed(n).pipe(
        Effect.withSpan("work"),
        Effect.tap(() => Effect.annotateCurrentSpan("frames", 3)),
      ),
    )
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* ended(id)
      const [sent] = named("send default")
      const [attempt] = named("process default")
      const [work] = named("work")
      assert.strictEqual(Option.getOrThrow(attempt!.parent).spanId, sent!.spanId)
      assert.strictEqual(Option.getOrThrow(work!.parent).spanId, attempt!.spanId)
      assert.deepStrictEqual(Object.fromEntries(attempt!.attributes), {
        "messaging.system": "renderowl",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "renderowl.job.type": "numbered",
        "messaging.message.id": id,
        "renderowl.job.attempt": 1,
        frames: 3,
      })
      assert.isTrue([sent, attempt, work].every((span) => Exit.isSuccess(exitOf(span!))))
    }).pipe(Effect.provide(running(worker).pipe(Layer.provideMerge(layer))))
  })

  it.effect("ends when the job is cancelled", () => {
    const { layer, named } = recording()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      const [attempt] = named("process default")
      assert.strictEqual(attempt!.status._tag, "Started")
      yield* queue.cancel(id)
      yield* settle
      assert.isTrue(Exit.hasInterrupts(exitOf(attempt!)))
    }).pipe(Effect.provide(running(numbered(() => Effect.never)).pipe(Layer.provideMerge(layer))))
  })

  it.effect("ends when the attempt takes too long, and links the next one to it", () => {
    const { layer, named } = recording()
    return Effect.gen(function* () {
      yield* Queue.enqueue(Numbered, { n: 1 })
      yield* advance("10 minutes")
      yield* advance("1 second")
      const [first, second] = named("process default")
      assert.isTrue(Exit.isFailure(exitOf(first!)))
      assert.deepStrictEqual(
        second!.links.map(({ span }) => span.spanId),
        [first!.spanId],
      )
    }).pipe(Effect.provide(running(numbered(() => Effect.never)).pipe(Layer.provideMerge(layer))))
  })

  it.effect("ends when the payload cannot even be looked at, which fails the attempt", () => {
    const { layer, named } = recording()
    const Flawed = Job.make("flawed", {
      payload: Schema.Struct({
        n: Schema.Int.pipe(
          Schema.check(
            Schema.makeFilter(() => {
              throw new Error("the check is flawed")
            }),
          ),
        ),
      }),
      success: Schema.Void,
      retry: { maxAttempts: 1 },
    })
    return Effect.gen(function* () {
      const journal = yield* Journal
      const events = [enqueued({ type: "flawed", max_attempts: 1 })]
      yield* journal.append([{ stream: "job_1", expectedVersion: 0, events }], START)
      yield* Effect.gen(function* () {
        yield* settle
        assert.strictEqual(yield* statusOf("job_1"), "dead_letter")
        const [attempt] = named("process default")
        assert.isTrue(Exit.hasDies(exitOf(attempt!)))
      }).pipe(Effect.provide(queueWith(Flawed.toLayer(() => Effect.void))))
    }).pipe(Effect.provide(store.pipe(Layer.provideMerge(layer))))
  })
})
