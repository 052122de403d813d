/**
 * pg-boss: a queue in PostgreSQL. It is drained by as many loops as the concurrency, each of which fetches, and completes
 * what it has fetched: one job at a time, which is what the concurrency says; or, which is fastest for it, 100 jobs at a time,
 * all taken and lost together. For the pick-up its worker listens for notifications.
 */
import { Effect } from "effect"
import { NOOP_PAYLOAD } from "../support/NoopJob.ts"
import { byCallers, DrainClock, inBatches, Signal } from "./Callers.ts"
import { Absent, type Contestant, type Opening } from "./Contestant.ts"
import { ownSchema, SYNCHRONOUS_COMMITS, type SynchronousCommit, withCommit } from "./Postgres.ts"
import { load, versionOf } from "./rivals/Load.ts"

const QUEUE = "noop"
const BATCH = 100

interface Boss {
  readonly on: (event: "error", listener: (error: unknown) => void) => unknown
  readonly start: () => Promise<unknown>
  readonly stop: (options: { readonly graceful: boolean }) => Promise<void>
  readonly createQueue: (name: string, options: { readonly notify: boolean }) => Promise<void>
  readonly send: (name: string, data: object) => Promise<unknown>
  readonly insert: (name: string, jobs: ReadonlyArray<{ readonly data: object }>) => Promise<unknown>
  readonly fetch: (
    name: string,
    options: { readonly batchSize: number },
  ) => Promise<ReadonlyArray<{ readonly id: string }>>
  readonly complete: (name: string, ids: ReadonlyArray<string>) => Promise<unknown>
  readonly work: (name: string, handler: () => Promise<void>) => Promise<string>
  readonly offWork: (name: string) => Promise<void>
}

interface PgBossModule {
  readonly PgBoss: new (options: {
    readonly connectionString: string
    readonly schema: string
    readonly useListenNotify: boolean
  }) => Boss
}

export const openPgBoss = (url: string | undefined): Opening =>
  Effect.gen(function* () {
    const name = `pg-boss ${versionOf("pg-boss")}`
    if (url === undefined) return yield* new Absent({ name, because: "there is no DATABASE_URL" })
    const module = yield* Effect.promise(() => load<PgBossModule>("pg-boss"))
    if (module === undefined) return yield* new Absent({ name, because: "it is not installed" })
    return (yield* Effect.forEach(SYNCHRONOUS_COMMITS, (setting) => open(module, name, url, setting))).flat()
  })

const open = Effect.fnUntraced(function* (
  { PgBoss }: PgBossModule,
  name: string,
  url: string,
  setting: SynchronousCommit,
) {
  const schema = yield* ownSchema(url, `boss_${setting}`)
  const boss = yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const boss = new PgBoss({
        connectionString: withCommit(url, setting),
        schema,
        useListenNotify: true,
      })
      boss.on("error", console.error)
      await boss.start()
      await boss.createQueue(QUEUE, { notify: true })
      return boss
    }),
    (boss) => Effect.promise(() => boss.stop({ graceful: false })),
  )
  const drainBy =
    (batchSize: number): Contestant["drain"] =>
    (jobs, concurrency) =>
      Effect.promise(async () => {
        const clock = new DrainClock(jobs)
        const loop = async () => {
          while (true) {
            const fetched = await boss.fetch(QUEUE, { batchSize })
            if (fetched.length === 0) return
            clock.called()
            await boss.complete(
              QUEUE,
              fetched.map(({ id }) => id),
            )
            clock.completed(fetched.length)
          }
        }
        await Promise.all(Array.from({ length: concurrency }, loop))
        return await clock.elapsed
      })
  const oneByOne: Contestant = {
    name,
    durability: `synchronous_commit=${setting}`,
    prepare: Effect.void,
    enqueue: (jobs, callers) =>
      Effect.promise(() => byCallers(jobs, callers, () => boss.send(QUEUE, NOOP_PAYLOAD))),
    enqueueBatches: (jobs, batch) =>
      Effect.promise(() =>
        inBatches(jobs, batch, (payloads) =>
          boss.insert(
            QUEUE,
            payloads.map((data) => ({ data })),
          ),
        ),
      ),
    drain: drainBy(1),
    pickUp: Effect.gen(function* () {
      let called = new Signal()
      yield* Effect.acquireRelease(
        Effect.promise(() => boss.work(QUEUE, async () => called.give())),
        () => Effect.promise(() => boss.offWork(QUEUE)),
      )
      return Effect.promise(async () => {
        called = new Signal()
        const at = performance.now()
        await boss.send(QUEUE, NOOP_PAYLOAD)
        return (await called.moment) - at
      })
    }),
  }
  const batches: Contestant = {
    ...oneByOne,
    name: `${name} in batches of ${BATCH}`,
    onlyDrains: true,
    drain: drainBy(BATCH),
  }
  return [oneByOne, batches]
})
