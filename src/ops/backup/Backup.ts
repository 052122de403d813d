/**
 * Takes a backup of a database and its archive, also while a server writes to both. Each is copied as one read transaction
 * sees it, the archive's begun right after the database's: a stream that leaves the journal is in the archive before it
 * leaves, so it is in at least one of the copies. The copies are proven before the folder gets its name.
 */
import { Clock, Effect, Schema, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, statSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import { DatabaseSync } from "node:sqlite"
import packageJson from "../../../package.json" with { type: "json" }
import { archivedTotals } from "../../journal/Archive.ts"
import { ArchiveError, ArchiveMissing, toArchiveError } from "../../journal/ArchiveError.ts"
import { ArchiveFile } from "../../journal/ArchiveFile.ts"
import { SELECT_HEAD } from "../../journal/EventRows.ts"
import type { MigrationError } from "../../sqlite/MigrationError.ts"
import { Migrations, type MigrationStatus } from "../../sqlite/Migrations.ts"
import type { SqliteDatabase } from "../../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../../sqlite/SqliteError.ts"
import { bytes } from "../CommandLine.ts"
import * as DatabaseFile from "../DatabaseFile.ts"
import { diskOf } from "../../telemetry/DiskSpace.ts"
import type { OnProgress } from "../Progress.ts"
import type { EventModel } from "../Verify.ts"
import { PARTIAL_BACKUP } from "./DraftNames.ts"
import { syncPath, writeDurably } from "./DurableFile.ts"
import { ARCHIVE_FILE, DATABASE_FILE, encodeManifest, FORMAT, Manifest, MANIFEST_FILE } from "./Manifest.ts"
import { type CopyFaulty, proofOf, prove, sumOf } from "./Proof.ts"

/** Pages that are copied at a time: 4 MiB, a few milliseconds. */
const PAGES_TOGETHER = 1_000
/** What must be free beside the copies. */
const SPARE_BYTES = 16 * 1024 * 1024

/** There is something already where the backup should go. */
export class BackupExists extends Schema.TaggedError<BackupExists>()("BackupExists", {
  folder: Schema.String,
}) {
  override get message(): string {
    return `there is already something at ${this.folder}; a backup overwrites nothing`
  }
}

/** The disk has no room. */
export class NoRoom extends Schema.TaggedError<NoRoom>()("NoRoom", {
  folder: Schema.String,
  neededBytes: Schema.Number,
  freeBytes: Schema.Number,
}) {
  override get message(): string {
    return `${bytes(this.neededBytes)} are needed at ${this.folder}, and ${bytes(this.freeBytes)} are free`
  }
}

export type BackupError =
  | ArchiveError
  | BackupExists
  | CopyFaulty
  | DatabaseFile.NoDatabase
  | MigrationError
  | NoRoom
  | SqlError

export interface BackupOptions {
  readonly filename: string
  readonly archive: string
  /** Where the backup goes. It must not be there yet. */
  readonly folder: string
  readonly model: EventModel
  /** Only copy, for a database that is known to be wrong. Default: false. */
  readonly unproven?: boolean | undefined
  /** Default: {@link PAGES_TOGETHER}. */
  readonly pagesTogether?: number | undefined
  readonly onProgress?: OnProgress | undefined
}

/** A backup that was taken. */
export interface BackupTaken {
  readonly folder: string
  readonly manifest: Manifest
  readonly durationMs: number
}

/** Takes a backup. When it fails, nothing of it is left. */
export const takeBackup = Effect.fnUntraced(function* (
  options: BackupOptions,
): Effect.fn.Return<BackupTaken, BackupError, Scope.Scope> {
  const { archive, filename, model, onProgress = () => {} } = options
  const folder = resolve(options.folder)
  const begun = yield* Clock.currentTimeMillis
  yield* DatabaseFile.requireFile(filename)
  if (existsSync(folder)) return yield* new BackupExists({ folder })
  yield* requireRoom(dirname(folder), neededBytes(filename, archive))

  const draft = yield* draftOf(folder)
  const taken = yield* Effect.scoped(copy(options, draft))
  const database = join(draft, DATABASE_FILE)
  const archiveCopy = join(draft, ARCHIVE_FILE)
  const { hasArchive, ...about } = taken
  yield* finish(database)
  if (hasArchive) yield* finish(archiveCopy)

  const proof = options.unproven === true ? "none" : proofOf(about.migrations)
  yield* prove(proof, { database, archive: archiveCopy, model, onProgress })
  const manifest = new Manifest({
    format: FORMAT,
    release: packageJson.version,
    created_at: new Date(about.at).toISOString(),
    head: about.head,
    archived: about.archived,
    migrations: about.migrations.filter(({ state }) => state !== "pending").map(({ file }) => file),
    proof,
    database: yield* sumOf(database, "summing up the database", onProgress),
    archive: hasArchive ? yield* sumOf(archiveCopy, "summing up the archive", onProgress) : null,
  })
  yield* onDisk(draft, () => {
    writeDurably(join(draft, MANIFEST_FILE), encodeManifest(manifest))
    syncPath(draft)
    renameSync(draft, folder)
    syncPath(dirname(folder))
  })
  return { folder, manifest, durationMs: (yield* Clock.currentTimeMillis) - begun }
})

/** What a backup takes, about: the files as they are, without free pages that the log may still hold. */
export const neededBytes = (filename: string, archive: string): number =>
  [filename, `${filename}-wal`, archive, `${archive}-wal`].reduce(
    (sum, path) => sum + (statSync(path, { throwIfNoEntry: false })?.size ?? 0),
    SPARE_BYTES,
  )

/** Fails unless so many bytes are free where a folder is or will be. */
export const requireRoom = Effect.fnUntraced(function* (
  folder: string,
  needed: number,
): Effect.fn.Return<void, NoRoom> {
  const { freeBytes } = yield* diskOf(folder)
  if (freeBytes < needed) return yield* new NoRoom({ folder, neededBytes: needed, freeBytes })
})

/** A folder to work in beside the place of the backup; it is removed unless it was renamed. Only its owner may look in. */
const draftOf = (folder: string) =>
  Effect.acquireRelease(
    onDisk(folder, () => {
      mkdirSync(dirname(folder), { recursive: true })
      return mkdtempSync(folder + PARTIAL_BACKUP)
    }),
    (draft) => Effect.sync(() => rmSync(draft, { recursive: true, force: true })),
  )

const onDisk = <A>(folder: string, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, `write ${folder}`) })

/** What the copies show. */
interface Copied {
  readonly at: number
  readonly head: number
  readonly archived: { readonly streams: number; readonly events: number }
  readonly migrations: ReadonlyArray<MigrationStatus>
  readonly hasArchive: boolean
}

const SELECT_HAS_ARCHIVED = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'archived'"
const SELECT_HEAD_BEFORE = "SELECT max(position) AS position FROM events"
/** Reading anything makes the transaction see this moment from then on. */
const BEGIN_READING = "BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1"

const copy = Effect.fnUntraced(function* (
  { archive, filename, onProgress = () => {}, pagesTogether = PAGES_TOGETHER }: BackupOptions,
  draft: string,
): Effect.fn.Return<Copied, ArchiveError | DatabaseFile.NoDatabase | MigrationError | SqlError, Scope.Scope> {
  const db = yield* DatabaseFile.openExisting(filename)
  const archiveFile = existsSync(archive) ? yield* openArchive(archive) : undefined
  const at = yield* Clock.currentTimeMillis
  // In this order, and nothing in between.
  yield* reading(db, filename)
  if (archiveFile !== undefined) yield* reading(archiveFile.database, archive)

  const { archived, head } = yield* Effect.try({
    try: () => contentsOf(db),
    catch: (cause) => toSqlError(cause, `read ${filename}`),
  })
  const migrations = yield* Migrations.status(db, yield* Migrations.load(Migrations.defaultFolder))
  if (archived.streams > 0 && archiveFile === undefined) return yield* missing(archive, archived.streams)

  const pages = (source: SqliteDatabase, name: string, task: string) =>
    copyPages(source, join(draft, name), pagesTogether, (done, total) => onProgress({ task, done, total }))
  // The archive first: as long as it is read, the server cannot cut its log short.
  if (archiveFile !== undefined) {
    yield* pages(archiveFile.database, ARCHIVE_FILE, "copying pages of the archive")
    archiveFile.close()
  }
  yield* pages(db, DATABASE_FILE, "copying pages of the database")
  return {
    at,
    head,
    archived,
    migrations,
    hasArchive: archiveFile !== undefined,
  }
})

/** An interruption waits for the pages that are on their way. */
const copyPages = (
  source: SqliteDatabase,
  path: string,
  pagesTogether: number,
  onProgress: (done: number, total: number) => void,
): Effect.Effect<void, SqlError> =>
  Effect.callback((resume) => {
    const stop = new AbortController()
    const copied = source.copyTo(path, {
      pagesTogether,
      onProgress: (done, total) => {
        stop.signal.throwIfAborted()
        onProgress(done, total)
      },
    })
    const settled = copied.then(
      () => resume(Effect.void),
      (cause: unknown) => resume(Effect.fail(toSqlError(cause, `copy ${source.filename}`))),
    )
    return Effect.promise(() => {
      stop.abort()
      return settled
    })
  })

/** A database of an older release knows of no archive. */
const contentsOf = (db: SqliteDatabase): Pick<Copied, "head" | "archived"> => {
  const knowsArchive = db.prepareUncached(SELECT_HAS_ARCHIVED).get() !== undefined
  const { events, streams } = knowsArchive ? archivedTotals(db) : { streams: 0, events: 0 }
  const { position } = db.prepareUncached(knowsArchive ? SELECT_HEAD : SELECT_HEAD_BEFORE).get()!
  return { head: (position as number | null) ?? 0, archived: { streams, events } }
}

const openArchive = (filename: string) =>
  Effect.acquireRelease(
    Effect.try({
      try: () => ArchiveFile.open(filename, "read"),
      catch: (cause) => toArchiveError(filename, cause),
    }),
    (file) => Effect.sync(() => file.close()),
  )

const reading = (db: SqliteDatabase, filename: string): Effect.Effect<void, SqlError> =>
  Effect.try({ try: () => db.exec(BEGIN_READING), catch: (cause) => toSqlError(cause, `read ${filename}`) })

const missing = (filename: string, streams: number) =>
  new ArchiveError({ filename, reason: new ArchiveMissing({ streams }) })

/** Makes a copy one file for itself: a database that uses a log would need to be written to in order to be read. */
const finish = (path: string): Effect.Effect<void, SqlError> =>
  Effect.try({
    try: () => {
      const database = new DatabaseSync(path)
      try {
        database.exec("PRAGMA journal_mode = DELETE")
      } finally {
        database.close()
      }
      syncPath(path)
    },
    catch: (cause) => toSqlError(cause, `finish ${path}`),
  })
