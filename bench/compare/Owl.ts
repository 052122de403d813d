/**
 * RenderOwl as a contestant: as it comes, with `synchronous=FULL`. It keeps the whole history of every job, checks payloads
 * against their schema, and journals the start of an attempt before the handler is called.
 */
import { Deferred, Effect, type Scope } from "effect"
import { Queue } from "../../src/jobs/Queue.ts"
import { NOOP_PAYLOAD, NoopJob } from "../support/NoopJob.ts"
import { acceptOnly, openOwl } from "../support/Owl.ts"
import type { Contestant } from "./Contestant.ts"

export const openRenderOwl = (folder: string): Effect.Effect<Contestant, never, Scope.Scope> =>
  Effect.map(Effect.orDie(openOwl(folder, () => {})), ({ queue }) => ({
    name: "RenderOwl",
    durability: "synchronous=FULL",
    prepare: Effect.void,
    enqueue: (jobs, callers) => {
      const caller = Effect.gen(function* () {
        for (let i = 0; i < jobs / callers; i++) yield* Queue.enqueue(NoopJob, NOOP_PAYLOAD)
      })
      return Effect.forEach(Array.from({ length: callers }), () => caller, {
        concurrency: "unbounded",
        discard: true,
      }).pipe(Effect.provideService(Queue, queue), Effect.orDie, accepting(queue))
    },
    enqueueBatches: (jobs, size) =>
      Effect.gen(function* () {
        const batch = Array.from({ length: size }, () => ({ type: NoopJob.type, payload: NOOP_PAYLOAD }))
        for (let done = 0; done < jobs; done += size)
          yield* queue.submitBatch(done + size <= jobs ? batch : batch.slice(0, jobs - done))
      }).pipe(Effect.orDie, accepting(queue)),
    drain: (jobs, concurrency) =>
      Effect.gen(function* () {
        let startedAt = 0
        let left = jobs
        const last = yield* Deferred.make<void>()
        yield* queue
          .register({
            job: NoopJob,
            run: () => {
              if (startedAt === 0) startedAt = performance.now()
              return --left === 0 ? Deferred.succeed(last, undefined) : Effect.void
            },
            concurrency,
          })
          .pipe(
            Effect.andThen(Deferred.await(last)),
            // The end of the handler's scope waits for the attempts under way.
            Effect.scoped,
          )
        return performance.now() - startedAt
      }),
    pickUp: Effect.gen(function* () {
      let called = Deferred.makeUnsafe<number>()
      yield* queue.register({
        job: NoopJob,
        run: () => Deferred.succeed(called, performance.now()),
        concurrency: 1,
      })
      return Effect.gen(function* () {
        called = Deferred.makeUnsafe()
        const at = performance.now()
        yield* Queue.enqueue(NoopJob, NOOP_PAYLOAD)
        return (yield* Deferred.await(called)) - at
      }).pipe(Effect.provideService(Queue, queue), Effect.orDie)
    }),
  }))

/** Takes the type's jobs and starts none, while an effect runs. */
const accepting =
  (queue: Queue["Service"]) =>
  <A>(effect: Effect.Effect<A>): Effect.Effect<A> =>
    acceptOnly(queue).pipe(Effect.andThen(effect), Effect.scoped)
