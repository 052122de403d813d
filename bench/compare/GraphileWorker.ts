/**
 * graphile-worker: a queue in PostgreSQL whose workers are woken by notifications. It is drained as it comes, and with a local
 * queue and batched completions, which its documentation gives for speed: it then holds 500 jobs whatever the concurrency,
 * and a crash runs jobs again that were completed. It deletes a job that is completed and keeps no history.
 */
import { Effect } from "effect"
import { NOOP_PAYLOAD } from "../support/NoopJob.ts"
import { byCallers, DrainClock, inBatches, Signal } from "./Callers.ts"
import { Absent, type Contestant, type Opening } from "./Contestant.ts"
import { ownSchema, SYNCHRONOUS_COMMITS, type SynchronousCommit, withCommit } from "./Postgres.ts"
import { load, versionOf } from "./rivals/Load.ts"

const TASK = "noop"
const LOCAL_QUEUE = 500
/** Milliseconds; 0 batches what completes in the same turn of the event loop. */
const COMPLETE_BATCH_DELAY_MS = 0
const POOL_SIZE = 20

interface Runner {
  readonly stop: () => Promise<void>
  /** Ends when it has stopped, for whatever reason. */
  readonly promise: Promise<void>
}

interface Utils {
  readonly migrate: () => Promise<void>
  readonly addJob: (task: string, payload: unknown) => Promise<unknown>
  readonly addJobs: (
    jobs: ReadonlyArray<{ readonly identifier: string; readonly payload: unknown }>,
  ) => Promise<unknown>
  readonly release: () => Promise<void>
}

interface Preset {
  readonly worker: Readonly<Record<string, unknown>>
}

interface GraphileModule {
  readonly run: (options: {
    readonly preset: Preset
    readonly taskList: Readonly<Record<string, () => void>>
    readonly noHandleSignals: boolean
  }) => Promise<Runner>
  readonly makeWorkerUtils: (options: { readonly preset: Preset }) => Promise<Utils>
  readonly Logger: new (factory: () => () => void) => unknown
}

export const openGraphileWorker = (url: string | undefined): Opening =>
  Effect.gen(function* () {
    const name = `graphile-worker ${versionOf("graphile-worker")}`
    if (url === undefined) return yield* new Absent({ name, because: "there is no DATABASE_URL" })
    const module = yield* Effect.promise(() => load<GraphileModule>("graphile-worker"))
    if (module === undefined) return yield* new Absent({ name, because: "it is not installed" })
    return (yield* Effect.forEach(SYNCHRONOUS_COMMITS, (setting) => open(module, name, url, setting))).flat()
  })

const open = Effect.fnUntraced(function* (
  { Logger, makeWorkerUtils, run }: GraphileModule,
  name: string,
  url: string,
  setting: SynchronousCommit,
) {
  const schema = yield* ownSchema(url, `graphile_${setting}`)
  const preset = (more: Readonly<Record<string, unknown>> = {}): Preset => ({
    worker: {
      connectionString: withCommit(url, setting),
      schema,
      maxPoolSize: POOL_SIZE,
      logger: new Logger(() => () => {}),
      ...more,
    },
  })
  const utils = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const utils = await makeWorkerUtils({ preset: preset() })
      await utils.migrate()
      return utils
    }),
    (utils) => Effect.promise(() => utils.release()),
  )
  const work = (handler: () => void, settings: Readonly<Record<string, unknown>>) =>
    run({ preset: preset(settings), taskList: { [TASK]: handler }, noHandleSignals: true })
  const drainWith =
    (settings: Readonly<Record<string, unknown>>): Contestant["drain"] =>
    (jobs, concurrency) =>
      Effect.promise(async () => {
        const clock = new DrainClock(1)
        const handled = new DrainClock(jobs)
        const runner = await work(
          () => {
            clock.called()
            handled.completed()
          },
          { concurrentJobs: concurrency, ...settings },
        )
        await Promise.race([handled.elapsed, tooEarly(runner)])
        // The stop waits until the last completions are written.
        await runner.stop()
        clock.completed()
        return await clock.elapsed
      })
  const asItComes: Contestant = {
    name,
    durability: `synchronous_commit=${setting}`,
    prepare: Effect.void,
    enqueue: (jobs, callers) =>
      Effect.promise(() => byCallers(jobs, callers, () => utils.addJob(TASK, NOOP_PAYLOAD))),
    enqueueBatches: (jobs, batch) =>
      Effect.promise(() =>
        inBatches(jobs, batch, (payloads) =>
          utils.addJobs(payloads.map((payload) => ({ identifier: TASK, payload }))),
        ),
      ),
    drain: drainWith({}),
    pickUp: Effect.gen(function* () {
      let called = new Signal()
      const runner = yield* Effect.acquireRelease(
        Effect.promise(() => work(() => called.give(), { concurrentJobs: 1 })),
        (runner) => Effect.promise(() => runner.stop()),
      )
      return Effect.promise(async () => {
        called = new Signal()
        const at = performance.now()
        await utils.addJob(TASK, NOOP_PAYLOAD)
        return (await Promise.race([called.moment, tooEarly(runner)])) - at
      })
    }),
  }
  const batches: Contestant = {
    ...asItComes,
    name: `${name} with a local queue of ${LOCAL_QUEUE}`,
    onlyDrains: true,
    drain: drainWith({
      localQueue: { size: LOCAL_QUEUE },
      completeJobBatchDelay: COMPLETE_BATCH_DELAY_MS,
    }),
  }
  return [asItComes, batches]
})

/** A worker stops by itself when another process brings the tables of graphile-worker up to date, in whatever schema. */
const tooEarly = (runner: Runner): Promise<never> =>
  runner.promise.then(() => {
    throw new Error("graphile-worker stopped by itself: does another comparison run on this database?")
  })
