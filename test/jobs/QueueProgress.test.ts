import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { advance, settle } from "../support/Turns.ts"
import { gates, Numbered, running, START } from "./QueueFixture.ts"

const progressOf = (id: string) =>
  Effect.flatMap(Journal, (journal) =>
    Effect.map(journal.readStream(id), (events) =>
      events.flatMap(({ event, metadata }) =>
        event._tag === "JobProgressed"
          ? [[(event as unknown as { percent: number }).percent, metadata?.principal]]
          : [],
      ),
    ),
  )

const caller = { principal: "internal:signature" }

describe("progress that is told from elsewhere", () => {
  const held = gates()
  it.effect("is seen at once, and journaled once a second with who told it", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      const tell = (percent: number) => queue.progress(id, 1, { percent, detail: { percent } }, caller)
      const seen = yield* Effect.forkChild(
        queue.follow(id).pipe(
          Stream.filter((update) => update._tag === "Progress"),
          Stream.take(1),
          Stream.runCollect,
        ),
      )
      yield* settle
      yield* tell(10)
      expect(yield* Fiber.join(seen)).toMatchObject([{ progress: { attempt: 1, percent: 10, at: START } }])
      yield* tell(20)
      expect((yield* queue.get(id)).liveProgress).toMatchObject({ percent: 20, detail: { percent: 20 } })
      yield* advance("1 second")
      yield* tell(30)
      expect(yield* progressOf(id)).toEqual([
        [10, caller.principal],
        [30, caller.principal],
      ])
    }).pipe(Effect.provide(running(held.worker))),
  )

  const again = gates()
  it.effect("is refused without the lease: before, of another attempt, and when it has ended", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const tell = (id: string, attempt: number) => Effect.flip(queue.progress(id, attempt, { percent: 50 }))
      const stale = { _tag: "StaleLease" }
      const later = yield* Queue.enqueue(Numbered, { n: 2 }, { delay: "1 hour" })
      expect(yield* tell(later.id, 1)).toMatchObject(stale)
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      expect(yield* tell(id, 2)).toMatchObject({ ...stale, id, attempt: 2 })
      expect(yield* tell(id, 0)).toMatchObject(stale)
      yield* again.complete(1)
      expect(yield* tell(id, 1)).toMatchObject(stale)
      expect(yield* tell("job_00000000000000000000000000", 1)).toMatchObject({ _tag: "JobNotFound" })
      expect(yield* progressOf(id)).toEqual([])
      expect((yield* queue.get(id)).liveProgress).toBeUndefined()
    }).pipe(Effect.provide(running(again.worker))),
  )
})
