/**
 * A database with at least one row in every projection table, and ways to damage it behind the journal's back.
 */
import { Effect, Layer } from "effect"
import { closeSync, openSync, writeSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Project, ProjectBehavior, ProjectLive } from "../../src/domain/projects/Project.ts"
import { ActorSystem } from "../../src/actor/ActorSystem.ts"
import { SnapshotStore } from "../../src/actor/SnapshotStore.ts"
import { asyncProjections, eventTypes, projections, snapshotKinds } from "../../src/EventModel.ts"
import type { JobEvent } from "../../src/jobs/JobEvents.ts"
import { beginCheckpoint } from "../../src/journal/Checkpoints.ts"
import { type DomainEvent, EventCatalog } from "../../src/journal/DomainEvent.ts"
import { JournalArchive } from "../../src/journal/Archiving.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { foldFromBeginning } from "../../src/ops/HistoryFold.ts"
import type { Fault } from "../../src/ops/Findings.ts"
import { type EventModel, verify } from "../../src/ops/Verify.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { enqueued } from "../jobs/JobHistories.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { databaseAt } from "../support/TestDatabase.ts"

export const model: EventModel = {
  eventTypes,
  projections: () => projections(),
  asyncProjections,
  snapshotKinds,
}

/** Made of the projections alone, so that a new table is damaged and mended like all others. */
export const projectionTables = [...projections(), ...asyncProjections()].flatMap(({ tables }) => tables)

/** The journal of a file, as a server opens it. */
export const journalAt = (filename: string) =>
  Layer.suspend(() => SqliteJournal.layer({ events: eventTypes, projections: projections() })).pipe(
    Layer.provideMerge(databaseAt(filename)),
    Layer.fresh,
  )

/** Actors over the journal of a file. */
export const projectsAt = (filename: string) =>
  ProjectLive.pipe(
    Layer.provideMerge(ActorSystem.layer),
    Layer.provideMerge(SnapshotStore.layer),
    Layer.provideMerge(journalAt(filename)),
  )

/** Moves {@link JOB}, which has completed, to the archive beside the database. */
export const archiveJob = (filename: string) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    const archive = yield* JournalArchive
    const { length } = yield* journal.readStream(JOB)
    return yield* archive.move([{ stream: JOB, version: length }])
  }).pipe(Effect.provide(journalAt(filename)))

export const JOB = "job_01k8w3e5r7fm2vx9q4ztd6yhb0"
const WAITING = "job_01k8w3e5r7fm2vx9q4ztd6yhb1"
const DEPENDENT = "job_01k8w3e5r7fm2vx9q4ztd6yhb2"
const RENDER = "job_01k8w3e5r7fm2vx9q4ztd6yhb3"
export const PROJECT = "proj_01k8w3e5r7fm2vx9q4ztd6yhb4"

/** When the first event was recorded; the others follow a second apart. */
export const START = Date.UTC(2026, 0, 1)
const STEP_MS = 1_000
const HOUR_MS = 3_600_000

const { settings } = ProjectBehavior.initial
const project = { name: "First light", description: null, settings, owner: "user_1" }

const jobEvents: ReadonlyArray<JobEvent> = [
  enqueued({ idempotency_key: "once", tags: ["red", "green"] }),
  { _tag: "JobStarted", attempt: 1, worker: "w" },
  { _tag: "JobAttemptFailed", attempt: 1, error: { name: "Broken", message: "it broke" }, retry_at: START },
  { _tag: "JobStarted", attempt: 2, worker: "w" },
  { _tag: "JobCompleted", attempt: 2, result: { n: 1 } },
]

const streams: ReadonlyArray<readonly [string, ReadonlyArray<DomainEvent>]> = [
  [JOB, jobEvents],
  [WAITING, [enqueued({ concurrency_key: "tenant", priority: "low" })]],
  [DEPENDENT, [enqueued({ depends_on: [WAITING], type: "other" })]],
  [RENDER, [enqueued({ type: "render:canvas", queue: "renders", payload: { project_id: PROJECT } })]],
  ["queue/mail", [{ _tag: "QueuePaused" }]],
  [
    "sched_01k8w3e5r7fm2vx9q4ztd6yhb6",
    [
      {
        _tag: "ScheduleCreated",
        name: "hourly",
        cron: "0 * * * *",
        time_zone: "UTC",
        job: { type: "test", payload: null },
        catch_up: "latest",
        next_tick_at: START + HOUR_MS,
      } as DomainEvent,
      {
        _tag: "ScheduleTicked",
        tick_at: START + HOUR_MS,
        job_id: "job_01k8w3e5r7fm2vx9q4ztd6yhb7",
        next_tick_at: START + 2 * HOUR_MS,
      } as DomainEvent,
    ],
  ],
  [PROJECT, [{ _tag: "ProjectCreated", ...project } as DomainEvent]],
  [
    "key_01k8w3e5r7fm2vx9q4ztd6yhb5",
    [
      {
        _tag: "ApiKeyCreated",
        name: "admin",
        prefix: "ro_live_x",
        hash: "0".repeat(64),
        owner: "user_1",
        scopes: [],
        tier: "free",
        expires_at: null,
        allowed_ips: [],
        allowed_origins: [],
      } as DomainEvent,
    ],
  ],
]

/** Lets the async projections see everything, as a server does within moments. */
const foldAsync = (filename: string) =>
  Effect.gen(function* () {
    const { writer: db } = yield* SqliteClient
    const catalog = new EventCatalog(eventTypes)
    for (const projection of asyncProjections()) {
      beginCheckpoint(db, projection.name)
      const archive = SqliteJournal.archiveBeside(filename)
      const fault = yield* foldFromBeginning({ db, catalog, archive, projection, onProgress: () => {} })
      if (fault !== undefined) throw new Error(fault.detail)
    }
  })

/** A server has begun to run the async projections on this database. */
export const beginAsync = (filename: string): void =>
  withDatabase(filename, (database) => {
    for (const { name } of asyncProjections())
      database.prepare("INSERT INTO projection_checkpoints VALUES (?, 0, 0)").run(name)
  })

/** Writes the sample to a file that is closed again afterwards. */
export const writeSample = (filename: string) =>
  Effect.gen(function* () {
    const journal = yield* Journal
    let now = START
    for (const [stream, events] of streams) {
      for (const [version, event] of events.entries()) {
        yield* journal.append([{ stream, expectedVersion: version, events: [event] }], now)
        now += STEP_MS
      }
    }
    yield* foldAsync(filename)
  }).pipe(Effect.provide(journalAt(filename)), Effect.orDie)

/** The sample in a file of a folder of its own. */
export const sample = Effect.gen(function* () {
  const filename = join(yield* temporaryFolder, "sample.db")
  yield* writeSample(filename)
  return filename
})

/** What is wrong with a database by its events. */
export const faultsOf = (filename: string) => Effect.map(verify({ filename, model }), ({ faults }) => faults)

/** `check subject count` of each. */
export const namesOf = (faults: ReadonlyArray<Fault>) =>
  faults.map(({ check, count, subject }) => `${check} ${subject} ${count}`)

/** `check`, subject, count and how many were spelled out, of each. */
export const countsOf = (faults: ReadonlyArray<Fault>) =>
  faults.map(({ check, count, examples, subject }) => [check, subject, count, examples.length])

/** Changes the sample's project so often that it has a snapshot. */
export const writeSnapshot = (filename: string) =>
  Effect.gen(function* () {
    const client = (yield* Project.client)(PROJECT)
    for (let n = 0; n < 120; n++) yield* client.Change({ name: `Light ${n}` })
  }).pipe(Effect.provide(projectsAt(filename)), Effect.orDie)

/** Uses a connection of its own. */
export const withDatabase = <A>(filename: string, use: (database: DatabaseSync) => A): A => {
  const database = new DatabaseSync(filename)
  try {
    return use(database)
  } finally {
    database.close()
  }
}

/** Runs SQL that no part of the system would. */
export const damage = (filename: string, sql: string): void =>
  withDatabase(filename, (database) => database.exec(sql))

/** Tags so many positions, from 1000 on, that are of no job. */
export const damageTags = (filename: string, count: number): void =>
  damage(
    filename,
    `WITH RECURSIVE n(i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < ${999 + count})
     INSERT INTO job_tags SELECT 'made up', i FROM n`,
  )

/** Writes over some bytes of a file, which then is no tree of pages any more. */
export const overwrite = (filename: string, from: number, bytes: number): void => {
  const file = openSync(filename, "r+")
  try {
    writeSync(file, Buffer.alloc(bytes, 0xa5), 0, bytes, from)
  } finally {
    closeSync(file)
  }
}

/** Removes or changes events, which the journal itself refuses. */
export const damageEvents = (filename: string, sql: string): void =>
  withDatabase(filename, (database) => {
    const triggers = database.prepare("SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'").all()
    for (const { name } of triggers) database.exec(`DROP TRIGGER ${String(name)}`)
    database.exec(sql)
    for (const { sql } of triggers) database.exec(String(sql))
  })

/** Every row of every projection table. */
export const rowsOf = (filename: string): Readonly<Record<string, ReadonlyArray<unknown>>> =>
  withDatabase(filename, (database) =>
    Object.fromEntries(
      projectionTables.map((table) => [
        table,
        database
          .prepare(`SELECT * FROM ${table}`)
          .all()
          .map((row) => JSON.stringify(row))
          .toSorted(),
      ]),
    ),
  )

interface Column {
  readonly name: string
  readonly type: string
  readonly pk: number
}

const columnsOf = (database: DatabaseSync, table: string): ReadonlyArray<Column> =>
  database.prepare("SELECT name, type, pk FROM pragma_table_info(?)").all(table) as unknown as Array<Column>

const FIRST_ROW = (table: string, columns: ReadonlyArray<Column>) => {
  const keys = columns.filter(({ pk }) => pk > 0).map(({ name }) => name)
  return `WHERE (${keys.join(", ")}) = (SELECT ${keys.join(", ")} FROM ${table} LIMIT 1)`
}

const other = ({ name, type }: Column): string =>
  type === "INTEGER" ? `coalesce(${name}, 0) + 1000000` : `coalesce(${name}, '') || 'x'`

/** Ways to make the rows of a table wrong. */
export const damages = {
  /** Takes a row away. */
  missing: (filename: string, table: string): void =>
    withDatabase(filename, (database) =>
      database.exec(`DELETE FROM ${table} ${FIRST_ROW(table, columnsOf(database, table))}`),
    ),
  /** Adds a row with another key. */
  extra: (filename: string, table: string): void =>
    withDatabase(filename, (database) => {
      const columns = columnsOf(database, table)
      const values = columns.map((column) =>
        column.pk > 0 || column.type === "TEXT" ? other(column) : column.name,
      )
      database.exec(`INSERT INTO ${table} SELECT ${values.join(", ")} FROM ${table} LIMIT 1`)
    }),
  /** Changes every value of a row that is not its key; answers whether there is one. */
  changed: (filename: string, table: string): boolean =>
    withDatabase(filename, (database) => {
      const columns = columnsOf(database, table)
      const set = columns.filter(({ pk }) => pk === 0).map((column) => `${column.name} = ${other(column)}`)
      if (set.length > 0) database.exec(`UPDATE ${table} SET ${set.join(", ")} ${FIRST_ROW(table, columns)}`)
      return set.length > 0
    }),
} as const
