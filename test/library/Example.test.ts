import { expect, it } from "@effect/vitest"
import { Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Job from "../../src/jobs/Job.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"

const Import = Job.make("feed:import", {
  payload: Schema.Struct({ url: Schema.String }),
  success: Schema.Struct({ items: Schema.Int }),
  error: Schema.TaggedStruct("FeedUnavailable", { status: Schema.Int }),
  retry: { maxAttempts: 3, base: "1 minute", jitter: false },
  timeout: "30 seconds",
})

// The first attempt is turned away, the second hangs, the third works.
const ImportLive = Import.toLayer((_feed, { attempt }) => {
  if (attempt === 1) return Effect.fail({ _tag: "FeedUnavailable", status: 503 } as const)
  return attempt === 2 ? Effect.never : Effect.succeed({ items: 7 })
})

it.effect("a feed that is down, then hangs, is imported in the end", () =>
  Effect.gen(function* () {
    const { id } = yield* Queue.enqueue(Import, { url: "https://example.com/feed" })
    yield* TestClock.adjust("5 minutes") // takes a few milliseconds
    expect(yield* Queue.await(Import, id)).toEqual({ items: 7 })
    const { state } = yield* (yield* Queue).get(id)
    expect(state.attempts.map(({ startedAt, error }) => [startedAt / 1_000, error?.name])).toEqual([
      [0, "FeedUnavailable"],
      [60, "TimedOut"], // a minute later; then 30 seconds of hanging, and a wait of two minutes
      [210, undefined],
    ])
  }).pipe(Effect.provide(ImportLive.pipe(Layer.provideMerge(RenderOwl.layerTest())))),
)
