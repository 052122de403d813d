/**
 * BullMQ: a queue in Redis. What is acknowledged is in Redis' memory; when it reaches the disk is Redis' setting: with
 * `appendfsync everysec` up to a second of acknowledged jobs is lost with the power, with `always` none. Both are run, if
 * the Redis lets its setting be changed; afterwards it is as it was.
 */
import { Effect } from "effect"
import { NOOP_PAYLOAD } from "../support/NoopJob.ts"
import { byCallers, DrainClock, inBatches, Signal } from "./Callers.ts"
import { Absent, type Contestant, type Opening } from "./Contestant.ts"
import { load, versionOf } from "./rivals/Load.ts"

const JOB = "noop"

interface Redis {
  readonly config: {
    (get: "GET", name: string): Promise<ReadonlyArray<string>>
    (set: "SET", name: string, value: string): Promise<unknown>
  }
  readonly quit: () => Promise<unknown>
}

interface IoRedisModule {
  readonly Redis: new (url: string, options: { readonly maxRetriesPerRequest: null }) => Redis
}

interface BullQueue {
  readonly waitUntilReady: () => Promise<unknown>
  readonly add: (name: string, data: unknown) => Promise<unknown>
  readonly addBulk: (
    jobs: ReadonlyArray<{ readonly name: string; readonly data: unknown }>,
  ) => Promise<unknown>
  readonly obliterate: (options: { readonly force: true }) => Promise<void>
  readonly close: () => Promise<void>
}

interface BullWorker {
  readonly waitUntilReady: () => Promise<unknown>
  readonly run: () => Promise<void>
  readonly on: (event: "completed", listener: () => void) => unknown
  readonly close: () => Promise<void>
}

interface BullModule {
  readonly Queue: new (name: string, options: { readonly connection: Redis }) => BullQueue
  readonly Worker: new (
    name: string,
    handler: () => Promise<void>,
    options: { readonly connection: Redis; readonly concurrency: number; readonly autorun: false },
  ) => BullWorker
}

export const openBullMq = (url: string | undefined): Opening =>
  Effect.gen(function* () {
    const name = `BullMQ ${versionOf("bullmq")}`
    if (url === undefined) return yield* new Absent({ name, because: "there is no REDIS_URL" })
    const bull = yield* Effect.promise(() => load<BullModule>("bullmq"))
    const ioredis = yield* Effect.promise(() => load<IoRedisModule>("ioredis"))
    if (bull === undefined || ioredis === undefined)
      return yield* new Absent({ name, because: "it is not installed" })
    const redis = yield* Effect.acquireRelease(
      Effect.sync(() => new ioredis.Redis(url, { maxRetriesPerRequest: null })),
      (redis) => Effect.promise(() => redis.quit()),
    )
    const setting = (key: string) => Effect.promise(async () => (await redis.config("GET", key))[1] ?? "")
    const set = (key: string, value: string) => Effect.promise(() => redis.config("SET", key, value))
    const before = { appendonly: yield* setting("appendonly"), appendfsync: yield* setting("appendfsync") }
    const queueName = `renderowl-bench-${process.pid}`
    const queue = yield* Effect.acquireRelease(
      Effect.promise(async () => {
        const queue = new bull.Queue(queueName, { connection: redis })
        await queue.waitUntilReady()
        return queue
      }),
      (queue) => Effect.promise(() => queue.obliterate({ force: true }).then(() => queue.close())),
    )
    const worker = async (handler: () => Promise<void>, concurrency: number) => {
      const worker = new bull.Worker(queueName, handler, { connection: redis, concurrency, autorun: false })
      await worker.waitUntilReady()
      return worker
    }
    const contestant = (durability: string, prepare: Effect.Effect<void>): Contestant => ({
      name,
      durability,
      prepare,
      enqueue: (jobs, callers) =>
        Effect.promise(() => byCallers(jobs, callers, () => queue.add(JOB, NOOP_PAYLOAD))),
      enqueueBatches: (jobs, batch) =>
        Effect.promise(() =>
          inBatches(jobs, batch, (payloads) => queue.addBulk(payloads.map((data) => ({ name: JOB, data })))),
        ),
      drain: (jobs, concurrency) =>
        Effect.promise(async () => {
          const clock = new DrainClock(jobs)
          const all = await worker(async () => clock.called(), concurrency)
          all.on("completed", () => clock.completed())
          const ended = all.run()
          const elapsed = await clock.elapsed
          await all.close()
          await ended
          return elapsed
        }),
      pickUp: Effect.gen(function* () {
        let called = new Signal()
        yield* Effect.acquireRelease(
          Effect.promise(async () => {
            const only = await worker(async () => called.give(), 1)
            return { only, ended: only.run() }
          }),
          ({ only, ended }) => Effect.promise(() => only.close().then(() => ended)),
        )
        return Effect.promise(async () => {
          called = new Signal()
          const at = performance.now()
          await queue.add(JOB, NOOP_PAYLOAD)
          return (await called.moment) - at
        })
      }),
    })
    const mayChange = yield* Effect.acquireRelease(
      Effect.promise(() =>
        redis.config("SET", "appendonly", "yes").then(
          () => true,
          () => false,
        ),
      ),
      (changed) =>
        changed
          ? Effect.andThen(
              set("appendfsync", before.appendfsync),
              Effect.asVoid(set("appendonly", before.appendonly)),
            )
          : Effect.void,
    )
    if (!mayChange)
      return [contestant(`appendonly ${before.appendonly}, appendfsync ${before.appendfsync}`, Effect.void)]
    return ["everysec", "always"].map((policy) =>
      contestant(`appendfsync ${policy}`, Effect.asVoid(set("appendfsync", policy))),
    )
  })
