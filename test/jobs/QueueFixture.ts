/** A queue over a real store, with the clock in the test's hands. */
import { Deferred, Effect, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Job from "../../src/jobs/Job.ts"
import type { JobContext } from "../../src/jobs/JobContext.ts"
import { jobEventTypes } from "../../src/jobs/JobEvents.ts"
import { jobProjection } from "../../src/jobs/JobProjection.ts"
import { queueEventTypes } from "../../src/jobs/QueueBehavior.ts"
import { JobStore } from "../../src/jobs/JobStore.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { filler } from "../support/FullDisk.ts"
import { inMemory, onFile } from "../support/TestDatabase.ts"
import { settle } from "../support/Turns.ts"

/** When every test begins. */
export const START = 1_700_000_000_000

/** The journal of jobs and its tables, over a database. */
export const storeOf = (database: typeof inMemory) =>
  JobStore.layer.pipe(
    Layer.provideMerge(
      // A projection remembers rows, so each database needs one of its own.
      Layer.suspend(() =>
        SqliteJournal.layer({
          events: [...jobEventTypes, ...queueEventTypes, filler],
          projections: [jobProjection()],
        }),
      ),
    ),
    Layer.provideMerge(database),
  )

/** With the clock of the test at {@link START}. */
export const storeOn = (database: typeof inMemory) =>
  Layer.provideMerge(storeOf(database), Layer.effectDiscard(TestClock.setTime(START)))

/** With the real clock. */
export const liveStore = storeOf(onFile)

export const store = storeOn(onFile)

/** A queue with these workers over the store at hand: one process, as it were. */
export const queueWith = (
  workers: Layer.Layer<never, never, Queue>,
  options: Parameters<typeof Queue.layer>[0] = {},
) =>
  Layer.fresh(
    workers.pipe(Layer.provideMerge(Queue.layer({ worker: "test", grace: 0, ...options })), Layer.orDie),
  )

/** A queue with these workers over a store of its own. */
export const running = (
  workers: Layer.Layer<never, never, Queue>,
  options: Parameters<typeof Queue.layer>[0] = {},
) => queueWith(workers, options).pipe(Layer.provideMerge(store))

/** The job of most tests: it has a number, and is tried three times, one second, then two, then four apart. */
export const Numbered = Job.make("numbered", {
  payload: Schema.Struct({ n: Schema.Int }),
  success: Schema.Unknown as Schema.Codec<unknown>,
  error: Schema.Unknown as Schema.Codec<unknown>,
  retry: { maxAttempts: 3, base: "1 second", max: "1 minute", jitter: false },
  timeout: "10 minutes",
})

/** Runs numbered jobs. */
export const numbered = (
  handler: (n: number, job: JobContext) => Effect.Effect<unknown, unknown>,
  options?: { readonly concurrency?: number },
) => Numbered.toLayer(({ n }, job) => handler(n, job), options)

export const eventsOf = (id: string) =>
  Effect.flatMap(Journal, (journal) =>
    Effect.map(journal.readStream(id), (events) =>
      events.map(({ event }) => event as unknown as { readonly _tag: string } & Record<string, unknown>),
    ),
  )

/** The tags of a job's events, in order. */
export const historyOf = (id: string) =>
  Effect.map(eventsOf(id), (events) => events.map(({ _tag }) => _tag.replace("Job", "")))

export const statusOf = (id: string) =>
  Effect.flatMap(Queue, (queue) => Effect.map(queue.get(id), ({ state }) => state.status))

/** Waits for a job's end. */
export const ended = (id: string) =>
  Effect.flatMap(Queue, (queue) => Effect.map(queue.await(id), ({ state }) => state))

/** Attempts that wait until their number is let go, and what they did. */
export const gates = (options?: { readonly concurrency?: number }) => {
  const open = new Map<number, Deferred.Deferred<unknown, unknown>>()
  const log: Array<string> = []
  const running = new Set<number>()
  let most = 0
  const run = (n: number) =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<unknown, unknown>()
      open.set(n, gate)
      running.add(n)
      most = Math.max(most, running.size)
      log.push(`${n}`)
      return yield* Deferred.await(gate)
    }).pipe(Effect.ensuring(Effect.sync(() => running.delete(n))))
  return {
    run,
    worker: numbered(run, { concurrency: 100, ...options }),
    /** The numbers that started, in order. */
    log,
    /** The numbers that run now. */
    running: () => [...running].toSorted((a, b) => a - b),
    /** The most that ever ran at a time. */
    most: () => most,
    /** Lets the attempt of a number complete. */
    complete: (n: number) => Effect.andThen(Deferred.succeed(open.get(n)!, n), settle),
    fail: (n: number, error: unknown) => Effect.andThen(Deferred.fail(open.get(n)!, error), settle),
  }
}
