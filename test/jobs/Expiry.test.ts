import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { advance, settle } from "../support/Turns.ts"
import {
  ended,
  gates,
  historyOf,
  numbered,
  Numbered,
  queueWith,
  running,
  START,
  statusOf,
  store,
} from "./QueueFixture.ts"

const enqueue = (n: number, options = {}) => Queue.enqueue(Numbered, { n }, options)
const echo = numbered((n) => Effect.succeed(n))

describe("a job that expires", () => {
  it.effect("is cancelled at that moment if it has not started, wherever it waits", () => {
    const { log, worker } = gates({ concurrency: 1 })
    return Effect.gen(function* () {
      const queue = yield* Queue
      const a = yield* enqueue(1)
      yield* settle
      const ready = yield* enqueue(2, { expiresIn: "10 seconds" })
      const blocked = yield* enqueue(3, { expiresIn: "10 seconds", dependsOn: [a.id] })
      const keyed = yield* enqueue(4, { expiresIn: "10 seconds", concurrencyKey: "a" })
      yield* queue.pause("default")
      yield* advance("9999 millis")
      expect(yield* Effect.forEach([ready, blocked, keyed], ({ id }) => statusOf(id))).toEqual([
        "waiting",
        "blocked",
        "waiting",
      ])
      yield* advance(1)
      for (const { id } of [ready, blocked, keyed]) {
        expect(yield* ended(id)).toMatchObject({
          status: "cancelled",
          cancelled: { cause: "expired" },
          finishedAt: START + 10_000,
        })
      }
      expect(log).toEqual(["1"])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("goes on when it has started in time", () => {
    const { complete, worker } = gates()
    return Effect.gen(function* () {
      const { id } = yield* enqueue(1, { expiresIn: "10 seconds" })
      yield* advance("1 minute")
      yield* complete(1)
      expect(yield* statusOf(id)).toBe("completed")
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("is not tried again after that: it is dead with what went wrong", () => {
    const { fail, worker } = gates()
    return Effect.gen(function* () {
      const { id } = yield* enqueue(1, { expiresIn: "10 seconds" })
      yield* advance("9500 millis")
      yield* fail(1, "broken")
      expect(yield* ended(id)).toMatchObject({ status: "dead_letter", error: { message: "broken" } })
      // Whoever redrives it wants it to run.
      const queue = yield* Queue
      yield* advance("1 hour")
      yield* queue.retry(id)
      yield* settle
      expect(yield* historyOf(id)).toEqual([
        "Enqueued",
        "Started",
        "AttemptFailed",
        "DeadLettered",
        "Redriven",
        "Started",
      ])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("while no process ran is not started by the next one", () =>
    Effect.gen(function* () {
      const ids = yield* Effect.gen(function* () {
        const queue = yield* Queue
        yield* ended((yield* enqueue(0)).id)
        yield* queue.pause("default")
        const jobs = yield* Effect.forEach(Array.from({ length: 1_200 }), (_, n) =>
          enqueue(n, { expiresIn: "1 minute" }),
        )
        return jobs.map(({ id }) => id)
      }).pipe(Effect.provide(queueWith(echo)))
      yield* TestClock.adjust("1 minute")
      yield* Effect.gen(function* () {
        const queue = yield* Queue
        yield* queue.resume("default")
        for (let i = 0; i < 10; i++) yield* advance(1)
        const states = yield* Effect.forEach(ids, (id) => queue.get(id))
        expect(new Set(states.map(({ state }) => `${state.status} ${state.attempt}`))).toEqual(
          new Set(["cancelled 0"]),
        )
      }).pipe(Effect.provide(queueWith(echo)))
    }).pipe(Effect.provide(store)),
  )

  it.effect("before it could start is refused, and nothing is stored", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      expect(yield* Effect.flip(enqueue(1, { expiresIn: 0 }))).toMatchObject({ _tag: "AlreadyExpired" })
      expect(yield* Effect.flip(enqueue(1, { expiresIn: "1 second", delay: "1 second" }))).toMatchObject({
        _tag: "AlreadyExpired",
        expiresAt: START + 1_000,
        dueAt: START + 1_000,
      })
      expect(yield* journal.head).toBe(0)
    }).pipe(Effect.provide(running(echo))),
  )
})
