/**
 * plainjob: a queue on SQLite through better-sqlite3, a row a job. It opens with `synchronous=NORMAL`, under which the last
 * acknowledged jobs are lost with the power, and takes a job before it is known to be kept; it is also run with `FULL`.
 * Calls are synchronous: callers wait for each other, and each job is a transaction of its own.
 */
import { Effect, type Scope } from "effect"
import { join } from "node:path"
import { NOOP_PAYLOAD } from "../support/NoopJob.ts"
import { byCallers, DrainClock, inBatches, Signal } from "./Callers.ts"
import { Absent, type Contestant, type Opening } from "./Contestant.ts"
import { load, versionOf } from "./rivals/Load.ts"

const TYPE = "noop"
/** Its default is a second; this is as often as a timer can. */
const POLL_INTERVAL_MS = 1

interface Connection {
  readonly pragma: (sql: string) => unknown
}

interface PlainQueue {
  readonly add: (type: string, data: unknown) => unknown
  readonly addMany: (type: string, data: ReadonlyArray<unknown>) => unknown
  readonly close: () => void
}

interface PlainWorker {
  readonly start: () => Promise<void>
  readonly stop: () => Promise<void>
}

interface PlainJobModule {
  readonly better: (database: unknown) => Connection
  readonly defineQueue: (options: { readonly connection: Connection; readonly logger: unknown }) => PlainQueue
  readonly defineWorker: (
    type: string,
    handler: () => Promise<void>,
    options: {
      readonly queue: PlainQueue
      readonly logger: unknown
      /** So it is spelt. */
      readonly pollIntervall: number
      readonly onCompleted?: () => void
    },
  ) => PlainWorker
}

interface BetterSqlite {
  readonly default: new (filename: string) => unknown
}

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: console.error }

export const openPlainJob = (folder: string): Opening =>
  Effect.gen(function* () {
    const name = `plainjob ${versionOf("plainjob")}`
    const plainjob = yield* Effect.promise(() => load<PlainJobModule>("plainjob"))
    const sqlite = yield* Effect.promise(() => load<BetterSqlite>("better-sqlite3"))
    if (plainjob === undefined || sqlite === undefined)
      return yield* new Absent({ name, because: "it is not installed" })
    const open = (synchronous: "NORMAL" | "FULL") => {
      const database = new sqlite.default(join(folder, `plainjob-${synchronous}.db`))
      return contestant(plainjob, plainjob.better(database), name, synchronous)
    }
    return yield* Effect.all([open("NORMAL"), open("FULL")])
  })

const contestant = (
  { defineQueue, defineWorker }: PlainJobModule,
  connection: Connection,
  name: string,
  synchronous: string,
): Effect.Effect<Contestant, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => defineQueue({ connection, logger: silent })),
    (queue) => Effect.sync(() => queue.close()),
  ).pipe(
    Effect.map((queue): Contestant => {
      connection.pragma(`synchronous = ${synchronous}`)
      const worker = (handler: () => Promise<void>, onCompleted?: () => void) =>
        defineWorker(TYPE, handler, {
          queue,
          logger: silent,
          pollIntervall: POLL_INTERVAL_MS,
          ...(onCompleted === undefined ? {} : { onCompleted }),
        })
      return {
        name,
        durability: `synchronous=${synchronous}`,
        prepare: Effect.void,
        enqueue: (jobs, callers) =>
          Effect.promise(() => byCallers(jobs, callers, () => queue.add(TYPE, NOOP_PAYLOAD))),
        enqueueBatches: (jobs, batch) =>
          Effect.promise(() => inBatches(jobs, batch, (payloads) => queue.addMany(TYPE, payloads))),
        // A worker runs one job at a time.
        drain: (jobs, concurrency) =>
          Effect.promise(async () => {
            const clock = new DrainClock(jobs)
            const workers = Array.from({ length: concurrency }, () =>
              worker(
                async () => clock.called(),
                () => clock.completed(),
              ),
            )
            const ended = workers.map((each) => each.start())
            const elapsed = await clock.elapsed
            await Promise.all(workers.map((each) => each.stop()))
            await Promise.all(ended)
            return elapsed
          }),
        pickUp: Effect.gen(function* () {
          let called = new Signal()
          const only = worker(async () => called.give())
          yield* Effect.acquireRelease(
            Effect.sync(() => only.start()),
            (ended) => Effect.promise(() => only.stop().then(() => ended)),
          )
          return Effect.promise(async () => {
            called = new Signal()
            const at = performance.now()
            queue.add(TYPE, NOOP_PAYLOAD)
            return (await called.moment) - at
          })
        }),
      }
    }),
  )
