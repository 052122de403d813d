/**
 * Proves a database: its journal is complete and readable, together with the archive that old streams have left for, and every
 * row of every projection is what the events make of an empty table – those up to its checkpoint, where it has one. It only
 * reads, in one transaction, and so sees one moment of a database that a server goes on writing to; the fold goes into a
 * database of its own, which is gone afterwards.
 */
import { Clock, Effect, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import type { SnapshotKind } from "../EventModel.ts"
import { EventCatalog, type EventType } from "../journal/DomainEvent.ts"
import { auditArchive } from "../journal/ArchiveAudit.ts"
import { SELECT_HEAD } from "../journal/EventRows.ts"
import type { AsyncProjection } from "../journal/AsyncProjection.ts"
import type { InlineProjection } from "../journal/InlineProjection.ts"
import type { RecordedEvent } from "../journal/Journal.ts"
import { archiveBeside } from "../journal/SqliteJournal.ts"
import type { MigrationError } from "../sqlite/MigrationError.ts"
import { Migrations } from "../sqlite/Migrations.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { isCorrupt, toSqlError } from "../sqlite/SqliteError.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import { EXAMPLES_MAX, type Fault, Findings } from "./Findings.ts"
import { type ArchivedPositions, checkVersions, NOTHING_ARCHIVED, PositionDensity } from "./JournalDensity.ts"
import { foldToCheckpoint } from "./HistoryFold.ts"
import { JournalFold } from "./JournalFold.ts"
import type { OnProgress } from "./Progress.ts"
import { checkSnapshots } from "./SnapshotCheck.ts"
import { compareTable, isSame, type TableDifference } from "./TableDiff.ts"

/** What the journal may hold and what is made of it. */
export interface EventModel {
  readonly eventTypes: ReadonlyArray<EventType>
  readonly projections: () => ReadonlyArray<InlineProjection>
  readonly asyncProjections: () => ReadonlyArray<AsyncProjection>
  readonly snapshotKinds: ReadonlyArray<SnapshotKind>
}

export interface VerifyOptions {
  readonly filename: string
  readonly model: EventModel
  /** The archive's file. Default: the one beside the database. */
  readonly archive?: string | undefined
  readonly onProgress?: OnProgress | undefined
  /** Sees every event in order, for checks of one's own. */
  readonly onEvent?: ((event: RecordedEvent) => void) | undefined
}

/** What a database was found to be. */
export interface Verification {
  readonly database: string
  readonly events: number
  /** The newest position. */
  readonly head: number
  readonly streams: number
  readonly snapshots: number
  /** Of every projection table that could be compared. */
  readonly tables: ReadonlyArray<TableDifference>
  /** Empty: all is well. */
  readonly faults: ReadonlyArray<Fault>
  readonly durationMs: number
}

/** The database under test, on the connection that also has the scratch tables. */
const KEPT = "kept"
/** SQLite calls a connection's own database so. */
const MADE = "main"

/** What the archive holds, and what is wrong with it; where it cannot be used at all, nothing was archived. */
const archivedPositions = (
  journal: SqliteDatabase,
  archive: string,
  findings: Findings,
  onProgress: OnProgress,
): Effect.Effect<ArchivedPositions, SqlError> =>
  auditArchive({
    journal,
    archive,
    positions: false,
    onProgress: (done, total) => onProgress({ task: "reading the archive", done, total }),
  }).pipe(
    Effect.map(({ archived, faultCount, faults }) => {
      faults.forEach((fault, i) =>
        findings.add("archive", "archive", fault, i === 0 ? faultCount - faults.length + 1 : 1),
      )
      return archived
    }),
    Effect.catchTag("ArchiveError", ({ message }) =>
      Effect.sync(() => {
        findings.add("archive", "archive", message)
        return NOTHING_ARCHIVED
      }),
    ),
  )

/** What the schema should have, of which the database has nothing. */
const SELECT_MISSING_OBJECTS = `SELECT type, name FROM ${MADE}.sqlite_schema WHERE name NOT LIKE 'sqlite_%'
  EXCEPT SELECT type, name FROM ${KEPT}.sqlite_schema ORDER BY type, name`

/** Looks through the whole database. Fails only when it cannot look: what is wrong is in the answer. */
export const verify = Effect.fnUntraced(function* (
  options: VerifyOptions,
): Effect.fn.Return<
  Verification,
  DatabaseFile.NoDatabase | DatabaseFile.SchemaOutdated | MigrationError | SqlError
> {
  const { filename, model, onEvent, onProgress = () => {} } = options
  const { archive = archiveBeside(filename) } = options
  const begun = yield* Clock.currentTimeMillis
  const findings = new Findings()
  yield* Effect.scoped(
    Effect.flatMap(DatabaseFile.openExisting(filename), (database) => DatabaseFile.requireSchema(database)),
  )
  const read = <A>(body: () => A): Effect.Effect<A, SqlError> =>
    Effect.try({ try: body, catch: (cause) => toSqlError(cause, `verify ${filename}`) })
  const projections = model.projections()
  const asyncProjections = model.asyncProjections()
  const catalog = new EventCatalog(model.eventTypes)

  const look = Effect.gen(function* () {
    const db = yield* scratch(filename)
    const result = (details: Partial<Verification>): Verification => ({
      database: filename,
      events: 0,
      head: 0,
      streams: 0,
      snapshots: 0,
      tables: [],
      faults: findings.faults,
      durationMs: 0,
      ...details,
    })

    onProgress({ task: "checking the file", done: 0, total: 1 })
    yield* Effect.yieldNow
    yield* read(() => checkFile(db, findings))
    // Pages that are torn may say anything.
    if (findings.faults.length > 0) return result({})

    const missing = yield* read(() => missingObjects(db, findings))
    yield* read(() => {
      leaveOnly(
        db,
        new Set([
          ...projections.flatMap(({ dictionaries = [], tables }) => tables.concat(dictionaries)),
          ...asyncProjections.flatMap(({ tables }) => tables),
        ]),
      )
      for (const table of projections.flatMap(({ dictionaries = [] }) => dictionaries)) {
        if (!missing.has(table)) db.exec(`INSERT INTO ${MADE}.${table} SELECT * FROM ${KEPT}.${table}`)
      }
    })
    if (missing.has("events")) return result({})

    const archived = missing.has("archived")
      ? NOTHING_ARCHIVED
      : yield* archivedPositions(db, archive, findings, onProgress)
    const total = (yield* read(() => db.prepare(SELECT_HEAD).get()!["position"] as number | null)) ?? 0
    const density = new PositionDensity(findings, archived)
    const broken = new Set<InlineProjection>()
    const fold = new JournalFold({ db, catalog, projections, checked: true })
    for (;;) {
      onProgress({ task: "folding the journal", done: density.head, total })
      yield* Effect.yieldNow
      const page = yield* read(() => fold.next())
      if (page === undefined) break
      for (const position of page.positions) density.take(position)
      for (const { detail, position, stream, type } of page.misfits)
        findings.add("events", "events", `position ${position}, ${type} of ${stream}: ${detail}`)
      for (const { detail, first, last, projection } of page.breakdowns) {
        broken.add(projection)
        findings.add("projection", projection.name, `cannot take the events ${first} to ${last}: ${detail}`)
      }
      if (onEvent !== undefined) for (const event of page.events) onEvent(event)
    }
    density.end(total)
    onProgress({ task: "folding the journal", done: total, total })

    const streams = yield* read(() => checkVersions(db, findings))
    const tables: Array<TableDifference> = []
    const compared = projections.filter((projection) => !broken.has(projection))
    const names = compared.flatMap(({ dictionaries = [], tables }) => tables.concat(dictionaries))
    // What an archive with faults makes says nothing of the rows.
    const isArchiveWhole = findings.faults.every(({ check }) => check !== "archive")
    for (const projection of asyncProjections) {
      const isThere = ["projection_checkpoints", ...projection.tables].every((table) => !missing.has(table))
      if (!isThere || !isArchiveWhole) continue
      const fault = yield* foldToCheckpoint({ db, catalog, archive, projection, kept: KEPT, onProgress })
      if (fault === undefined) names.push(...projection.tables)
      else findings.add("projection", projection.name, fault.detail)
    }
    for (const [done, table] of names.entries()) {
      onProgress({ task: "comparing rows", done, total: names.length })
      yield* Effect.yieldNow
      if (missing.has(table)) continue
      tables.push(yield* read(() => compareTable(db, table, { kept: KEPT, made: MADE }, findings)))
    }
    onProgress({ task: "comparing rows", done: names.length, total: names.length })

    const snapshots = missing.has("snapshots")
      ? 0
      : yield* read(() => checkSnapshots(db, `${KEPT}.snapshots`, model.snapshotKinds, catalog, findings))
    return result({ events: density.events, head: density.head, streams, snapshots, tables })
  })

  const verification = yield* Effect.scoped(look)
  return {
    ...verification,
    faults: findings.faults,
    durationMs: (yield* Clock.currentTimeMillis) - begun,
  }
})

/** Whether the rows of the projections, and nothing else, can be trusted to be wrong: a rebuild mends them. */
export const isMendable = ({ faults, tables }: Verification): boolean =>
  tables.some((table) => !isSame(table)) &&
  faults.every(({ check }) => check === "table" || check === "snapshots")

/**
 * A database with empty tables of the present schema, and the one under test attached to it, in one transaction: it sees one
 * moment of it, and could not write to it.
 */
const scratch = Effect.fnUntraced(function* (
  filename: string,
): Effect.fn.Return<SqliteDatabase, MigrationError | SqlError, Scope.Scope> {
  const folder = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "renderowl-verify-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true })),
  )
  const db = yield* DatabaseFile.open({ filename: join(folder, "fold.db"), synchronous: "OFF" })
  yield* Migrations.run(db, yield* Migrations.load(Migrations.defaultFolder))
  yield* Effect.try({
    try: () => {
      // Nobody will ever go back on what is written here.
      db.exec(`PRAGMA ${MADE}.journal_mode = OFF`)
      const source = pathToFileURL(resolve(filename))
      source.searchParams.set("mode", "ro")
      db.prepareUncached(`ATTACH ? AS ${KEPT}`).run(source.href)
      db.exec("BEGIN IMMEDIATE")
    },
    catch: (cause) => toSqlError(cause, `open ${filename}`),
  })
  return db
})

/** `integrity_check` without the look-up of every row in every index: the comparison of rows would stumble on those. */
const checkFile = (db: SqliteDatabase, findings: Findings): void => {
  try {
    for (const row of db.prepareUncached(`PRAGMA ${KEPT}.quick_check(${EXAMPLES_MAX})`).iterate()) {
      const detail = Object.values(row)[0]
      if (detail !== "ok") findings.add("file", "file", String(detail))
    }
  } catch (cause) {
    // The check itself ends at what it cannot make sense of.
    if (!isCorrupt(cause)) throw cause
    findings.add("file", "file", cause instanceof Error ? cause.message : String(cause))
  }
}

const SELECT_TABLES = `SELECT name FROM ${MADE}.sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`

/**
 * Drops what no projection makes from the scratch: from then on its name, `events` before all, means that of the database
 * under test, also in the projections' own statements.
 */
const leaveOnly = (db: SqliteDatabase, made: ReadonlySet<string>): void => {
  for (const { name } of db.prepareUncached(SELECT_TABLES).all()) {
    if (!made.has(name as string)) db.exec(`DROP TABLE ${MADE}.${String(name)}`)
  }
}

const missingObjects = (db: SqliteDatabase, findings: Findings): ReadonlySet<string> => {
  const missing = db.prepareUncached(SELECT_MISSING_OBJECTS).all()
  for (const { name, type } of missing) findings.add("schema", "schema", `the ${type} ${name} is missing`)
  return new Set(missing.map(({ name }) => name as string))
}
