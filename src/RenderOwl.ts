/**
 * The system without its HTTP face: database, migrations, journal, actors and queue, wired as one Layer. `main.ts` serves
 * it; tests and benchmarks compose it as they need.
 */
import { type Duration, Effect, Layer } from "effect"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { ActorSystem } from "./actor/ActorSystem.ts"
import { SnapshotStore } from "./actor/SnapshotStore.ts"
import { AlertLogLive } from "./domain/alerts/AlertLog.ts"
import { ApiKeyLive } from "./domain/keys/ApiKey.ts"
import { RecognisedKeys } from "./domain/keys/RecognisedKeys.ts"
import { ProjectLive } from "./domain/projects/Project.ts"
import { ProjectList } from "./domain/projects/ProjectList.ts"
import { eventTypes, projections } from "./EventModel.ts"
import { JobList } from "./jobs/JobList.ts"
import { JobStore } from "./jobs/JobStore.ts"
import { Queue } from "./jobs/Queue.ts"
import { QueueStats } from "./jobs/QueueStats.ts"
import { Retention } from "./jobs/Retention.ts"
import { ScheduleLive } from "./jobs/schedules/Schedule.ts"
import { Schedules } from "./jobs/schedules/Schedules.ts"
import { ScheduleStore } from "./jobs/schedules/ScheduleStore.ts"
import { KeyedRequests } from "./journal/KeyedRequests.ts"
import * as SqliteJournal from "./journal/SqliteJournal.ts"
import { Migrations } from "./sqlite/Migrations.ts"
import { ReaderPool } from "./sqlite/ReaderPool.ts"
import { SqliteClient, type SqliteClientConfig } from "./sqlite/SqliteClient.ts"
import { IN_MEMORY } from "./sqlite/SqliteDatabase.ts"
import * as SeededRandom from "./testing/SeededRandom.ts"
import * as VirtualTime from "./testing/VirtualTime.ts"

/** How the system is set up. */
export interface RenderOwlConfig {
  readonly database: SqliteClientConfig
  /** Attempts of one type at a time in one queue. Default: 5. */
  readonly concurrency?: number | undefined
  /** How long running jobs may go on at shutdown. Default: 8 seconds. */
  readonly grace?: Duration.Input | undefined
  /** The file that old jobs move to. Default: the database's name with `.archive` behind it. */
  readonly archive?: string | undefined
  /** Age at which finished jobs move there, looked at every hour. Default: never. */
  readonly archiveAfter?: Duration.Input | undefined
  /** Names this process in the history of jobs. Default: its process id. */
  readonly worker?: string | undefined
}

/** The journal with every projection that is part of the append. */
const journal = (archive: string | undefined) =>
  Layer.unwrap(
    Effect.gen(function* () {
      const recognised = yield* RecognisedKeys
      const requests = yield* KeyedRequests
      return SqliteJournal.layer({
        events: eventTypes,
        projections: [...projections(recognised), requests.projection],
        archive,
      })
    }),
  )

/** An open database whose schema is up to date. */
const database = (config: SqliteClientConfig) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { writer } = yield* SqliteClient
      yield* Migrations.run(writer, yield* Migrations.load(Migrations.defaultFolder))
    }),
  ).pipe(Layer.provideMerge(SqliteClient.layer(config)))

/** What keeps the journal small, and can be used without the rest: see `db archive`. */
export const retentionLayer = (config: Pick<RenderOwlConfig, "database" | "archive">) =>
  Retention.layer.pipe(
    Layer.provideMerge(ReaderPool.layer()),
    Layer.provideMerge(journal(config.archive)),
    Layer.provideMerge([RecognisedKeys.layer, KeyedRequests.layer]),
    Layer.provideMerge(database(config.database)),
  )

/**
 * The journal, the actors, the queue and what they know, over one database file. Everybody whom this one layer is provided to
 * shares one system; two layers are two systems, also within one program.
 */
export const layer = (config: RenderOwlConfig) => apart(system(config))

/**
 * Memoized as a whole, with a memory of its own for its parts: many of those are constants, which two systems of one program
 * would share otherwise.
 */
const apart = <A, E, R>(self: Layer.Layer<A, E, R>): Layer.Layer<A, E, R> =>
  Layer.fromBuildMemo((_, scope) => Layer.buildWithMemoMap(self, Layer.makeMemoMapUnsafe(), scope))

const system = (config: RenderOwlConfig) =>
  Schedules.layer.pipe(
    Layer.provideMerge(
      Layer.mergeAll(
        ProjectLive,
        ApiKeyLive,
        AlertLogLive,
        ScheduleLive,
        config.archiveAfter === undefined ? Layer.empty : Retention.hourly(config.archiveAfter),
      ),
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        ActorSystem.layer,
        Queue.layer({ concurrency: config.concurrency, grace: config.grace, worker: config.worker }),
      ),
    ),
    Layer.provideMerge(
      Layer.mergeAll(
        SnapshotStore.layer,
        JobStore.layer,
        JobList.layer,
        QueueStats.layer,
        ScheduleStore.layer,
        ProjectList.layer,
      ),
    ),
    Layer.provideMerge(retentionLayer(config)),
  )

/** How a system for tests is set up. */
export interface TestConfig {
  /** What ids and the jitter of retries are drawn from. Default: the same for every run. */
  readonly seed?: string | number | undefined
  /** The database is in a temporary folder, deleted with the scope, instead of in memory. */
  readonly folder?: boolean | undefined
  /** Attempts of one type at a time in one queue. Default: 5. */
  readonly concurrency?: number | undefined
  /** The time at which it starts, in milliseconds since 1970. Default: what the clock says, which is 1970 in a test. */
  readonly startAt?: number | undefined
}

/**
 * The whole system for tests of job types, fast and repeatable: real SQLite, ids and jitter from a seed, and time that only
 * `TestClock.adjust` moves – by as much as the test likes, and everything that would have happened meanwhile happens, in
 * order. Within `it.effect` it goes by the clock of the test; elsewhere it brings one along.
 *
 * What handlers wait for outside of the process (files, sockets) takes real time, which the clock does not wait for. Two
 * systems with the same handlers in one test are told apart by `Layer.fresh` around each, handlers included.
 */
export const layerTest = (config: TestConfig = {}) =>
  Layer.unwrap(
    Effect.map(config.folder === true ? temporaryDatabase : Effect.succeed(IN_MEMORY), (filename) =>
      layer({
        database: { filename, synchronous: "NORMAL" },
        concurrency: config.concurrency,
        // Nobody moves the clock while the scope closes.
        grace: 0,
        worker: "test",
      }),
    ),
  ).pipe(
    Layer.provideMerge(SeededRandom.layer(config.seed ?? "renderowl")),
    Layer.provideMerge(VirtualTime.layer(config.startAt)),
    Layer.orDie,
    apart,
  )

const temporaryDatabase = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "renderowl-test-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
).pipe(Effect.map((folder) => join(folder, "test.db")))
