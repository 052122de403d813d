import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Queue } from "../../src/jobs/Queue.ts"
import type { Submission } from "../../src/jobs/Submission.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { advance, settle } from "../support/Turns.ts"
import { enqueued } from "./JobHistories.ts"
import {
  ended,
  eventsOf,
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
const job = (n: number, options: Partial<Submission> = {}): Submission => ({
  type: "numbered",
  payload: { n },
  ...options,
})
const fatal = { _tag: "Fatal", retryable: false }

describe("a job that depends on others", () => {
  it.effect("runs when all of them have completed, and its history tells of each", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const a = yield* enqueue(1)
      const b = yield* enqueue(2, { queue: "elsewhere" })
      const c = yield* enqueue(3, { dependsOn: [a.id, b.id] })
      yield* complete(2)
      expect(yield* statusOf(c.id)).toBe("blocked")
      yield* complete(1)
      yield* complete(3)
      expect(log).toEqual(["1", "2", "3"])
      expect(yield* historyOf(c.id)).toEqual([
        "Enqueued",
        "DependencyEnded",
        "DependencyEnded",
        "Released",
        "Started",
        "Completed",
      ])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("does not wait for what has completed already", () =>
    Effect.gen(function* () {
      const a = yield* enqueue(1)
      yield* ended(a.id)
      const b = yield* enqueue(2, { dependsOn: [a.id] })
      expect(yield* ended(b.id)).toMatchObject({ status: "completed", dependencies: undefined })
    }).pipe(Effect.provide(running(numbered((n) => Effect.succeed(n))))),
  )

  it.effect("also keeps to its own due time", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const a = yield* enqueue(1)
      yield* enqueue(2, { dependsOn: [a.id], delay: "1 minute" })
      yield* complete(1)
      yield* advance("59 seconds")
      expect(log).toEqual(["1"])
      yield* advance("1 second")
      expect(log).toEqual(["1", "2"])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("is cancelled when one of them dies, and so are those that depend on it", () => {
    const { fail, worker } = gates()
    return Effect.gen(function* () {
      const a = yield* enqueue(1)
      const b = yield* enqueue(2, { dependsOn: [a.id] })
      const c = yield* enqueue(3, { dependsOn: [b.id], queue: "elsewhere" })
      yield* settle
      yield* fail(1, fatal)
      expect(yield* ended(b.id)).toMatchObject({
        status: "cancelled",
        cancelled: { cause: "dependency_failed", reason: `${a.id} ended as dead_letter` },
      })
      expect(yield* ended(c.id)).toMatchObject({
        status: "cancelled",
        cancelled: { cause: "dependency_failed", reason: `${b.id} ended as cancelled` },
      })
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("runs all the same when it was told to", () => {
    const { complete, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const a = yield* enqueue(1, { delay: "1 hour" })
      const b = yield* enqueue(2, { dependsOn: [a.id], onDependencyFailure: "run" })
      yield* queue.cancel(a.id)
      yield* settle
      yield* complete(2)
      expect(yield* statusOf(b.id)).toBe("completed")
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("waits for somebody to redrive what has died when it was told to", () => {
    const { complete, fail, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const a = yield* enqueue(1)
      const b = yield* enqueue(2, { dependsOn: [a.id], onDependencyFailure: "wait" })
      yield* settle
      yield* fail(1, fatal)
      yield* advance("1 day")
      expect(yield* statusOf(b.id)).toBe("blocked")
      yield* queue.retry(a.id)
      yield* settle
      yield* complete(1)
      yield* complete(2)
      expect(yield* eventsOf(b.id)).toMatchObject([
        { _tag: "JobEnqueued" },
        { _tag: "JobDependencyEnded", outcome: "dead_letter", settled: false },
        { _tag: "JobDependencyEnded", outcome: "completed", settled: true },
        { _tag: "JobReleased" },
        { _tag: "JobStarted" },
        { _tag: "JobCompleted" },
      ])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("can be cancelled, rescheduled and given another priority while it waits, but not run", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const a = yield* enqueue(1)
      const b = yield* enqueue(2, { dependsOn: [a.id] })
      const c = yield* enqueue(3, { dependsOn: [a.id] })
      expect(yield* Effect.flip(queue.retry(b.id))).toMatchObject({ _tag: "JobConflict", status: "blocked" })
      yield* queue.prioritize(b.id, "urgent")
      yield* queue.cancel(c.id)
      yield* settle
      yield* complete(1)
      expect(log).toEqual(["1", "2"])
      expect(yield* ended(c.id)).toMatchObject({ status: "cancelled", cancelled: {} })
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("is told what happened while no process ran", () =>
    Effect.gen(function* () {
      const before = gates()
      const [a, b] = yield* Effect.gen(function* () {
        const a = yield* enqueue(1)
        const b = yield* enqueue(2, { dependsOn: [a.id], queue: "elsewhere" })
        yield* settle
        return [a, b] as const
      }).pipe(Effect.provide(queueWith(before.worker)))
      // The completion is durable, and the process ends before anybody is told.
      const journal = yield* Journal
      const version = (yield* journal.readStream(a.id)).length
      yield* journal.append(
        [
          {
            stream: a.id,
            expectedVersion: version,
            events: [
              { _tag: "JobStarted", attempt: 2, worker: "lost" },
              { _tag: "JobCompleted", attempt: 2, result: null },
            ] as never,
          },
        ],
        0,
      )
      yield* Effect.gen(function* () {
        expect(yield* ended(b.id)).toMatchObject({ status: "completed", result: 2 })
      }).pipe(Effect.provide(queueWith(numbered((n) => Effect.succeed(n)))))
    }).pipe(Effect.provide(store)),
  )

  it.effect("is told that one has completed which was redriven while its death was being told", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const write = (
        stream: string,
        ...events: ReadonlyArray<{ readonly _tag: string; [_: string]: unknown }>
      ) =>
        Effect.flatMap(journal.readStream(stream), ({ length }) =>
          journal.append([{ stream, expectedVersion: length, events }], START),
        )
      yield* write("job_1", enqueued({ type: "numbered" }))
      const dependent = { depends_on: ["job_1"], on_dependency_failure: "wait" } as const
      yield* write("job_2", enqueued({ type: "numbered", ...dependent }))
      yield* write("job_1", { _tag: "JobCancelled" })
      yield* write(
        "job_1",
        { _tag: "JobRedriven", due_at: START },
        { _tag: "JobStarted", attempt: 1, worker: "lost" },
        { _tag: "JobCompleted", attempt: 1, result: null },
      )
      // What was decided before is stored after it.
      yield* write("job_2", {
        _tag: "JobDependencyEnded",
        job: "job_1",
        outcome: "cancelled",
        settled: false,
      })
      yield* Effect.gen(function* () {
        yield* settle
        expect(yield* statusOf("job_2")).toBe("completed")
      }).pipe(Effect.provide(queueWith(numbered((n) => Effect.succeed(n)))))
    }).pipe(Effect.provide(store)),
  )

  it.effect("on a job that is not there is refused, and nothing is stored", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const queue = yield* Queue
      const unknown = "job_00000000000000000000000000"
      expect(yield* Effect.flip(enqueue(1, { dependsOn: [unknown] }))).toMatchObject({
        _tag: "InvalidDependency",
        fault: "unknown",
        dependency: unknown,
      })
      expect(
        yield* Effect.flip(queue.submitBatch([job(1, { ref: "a" }), job(2, { dependsOn: ["b"] })])),
      ).toMatchObject({ fault: "unknown", dependency: "b", index: 1 })
      expect(yield* journal.head).toBe(0)
    }).pipe(Effect.provide(running(numbered((n) => Effect.succeed(n))))),
  )
})

describe("a batch", () => {
  it.effect("may depend within itself, in any order and over queues; the answers keep its order", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const batch = yield* queue.submitBatch([
        job(3, { ref: "join", dependsOn: ["left", "right"], queue: "elsewhere" }),
        job(2, { ref: "right", dependsOn: ["start"] }),
        job(0, { ref: "start" }),
        job(1, { ref: "left", dependsOn: ["start"] }),
      ])
      yield* settle
      for (const n of [0, 2, 1, 3]) yield* complete(n)
      expect(log.toSorted()).toEqual(["0", "1", "2", "3"])
      expect([log[0], log[3]]).toEqual(["0", "3"])
      expect(yield* Effect.forEach(batch, ({ id }) => ended(id))).toMatchObject([
        { result: 3 },
        { result: 2 },
        { result: 0 },
        { result: 1 },
      ])
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("that waits for itself is refused, and nothing is stored", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const queue = yield* Queue
      const cycle = [job(0), job(1, { ref: "a", dependsOn: ["b"] }), job(2, { ref: "b", dependsOn: ["a"] })]
      expect(yield* Effect.flip(queue.submitBatch(cycle))).toMatchObject({
        fault: "cycle",
        dependency: "b",
        index: 1,
      })
      // Whoever only waits for a cycle is not in it.
      const behind = [
        job(0, { dependsOn: ["a"] }),
        job(1, { ref: "a", dependsOn: ["b"] }),
        job(2, { ref: "c", dependsOn: ["b"] }),
        job(3, { ref: "b", dependsOn: ["c"] }),
      ]
      expect(yield* Effect.flip(queue.submitBatch(behind))).toMatchObject({
        fault: "cycle",
        dependency: "b",
        index: 2,
      })
      expect(
        yield* Effect.flip(queue.submitBatch([job(1, { ref: "a", dependsOn: ["a"] }), job(2)])),
      ).toMatchObject({
        fault: "cycle",
        index: 0,
      })
      expect(
        yield* Effect.flip(queue.submitBatch([job(1, { ref: "a" }), job(2, { ref: "a", dependsOn: ["a"] })])),
      ).toMatchObject({
        fault: "ambiguous",
        index: 1,
      })
      expect(yield* journal.head).toBe(0)
    }).pipe(Effect.provide(running(numbered((n) => Effect.succeed(n))))),
  )

  it.effect("depends on the job that there is, where an idempotency key is known", () => {
    const { complete, log, worker } = gates()
    return Effect.gen(function* () {
      const queue = yield* Queue
      const first = yield* enqueue(1, { idempotencyKey: "key" })
      const [, b] = yield* queue.submitBatch([
        job(1, { ref: "a", idempotencyKey: "key" }),
        job(2, { dependsOn: ["a"] }),
      ])
      expect((yield* queue.get(b!.id)).state.dependencies?.on).toEqual([first.id])
      yield* settle
      yield* complete(1)
      expect(log).toEqual(["1", "2"])
    }).pipe(Effect.provide(running(worker)))
  })
})
