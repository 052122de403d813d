/**
 * Puts a backup in the place of a database, as its only owner: refused while a server holds it. The backup is proven first;
 * the files that were there stay beside it under another name. At every moment there is a whole database under the name,
 * the old one or the new one, so that no start finds nothing and begins anew.
 */
import { Clock, Effect, Schema, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  statSync,
  mkdirSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
} from "node:fs"
import { dirname, join, resolve } from "node:path"
import type { MigrationError } from "../../sqlite/MigrationError.ts"
import { Migrations } from "../../sqlite/Migrations.ts"
import { type DatabaseOwned, Ownership } from "../../sqlite/Ownership.ts"
import { SqliteDatabase } from "../../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../../sqlite/SqliteError.ts"
import * as DatabaseFile from "../DatabaseFile.ts"
import type { OnProgress } from "../Progress.ts"
import type { EventModel } from "../Verify.ts"
import { type NoRoom, requireRoom } from "./Backup.ts"
import { RESTORING } from "./DraftNames.ts"
import { type FileSum, syncPath } from "./DurableFile.ts"
import { ARCHIVE_FILE, DATABASE_FILE, type Manifest, type NotABackup, readManifest } from "./Manifest.ts"
import { type CopyFaulty, proofOf, prove, sumOf } from "./Proof.ts"

/** A file of the backup is not the one that was written. Nothing was restored. */
export class BackupDamaged extends Schema.TaggedError<BackupDamaged>()("BackupDamaged", {
  file: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `the backup is damaged, and nothing was restored: ${this.file} ${this.detail}`
  }
}

/** A later release made the backup. */
export class BackupTooNew extends Schema.TaggedError<BackupTooNew>()("BackupTooNew", {
  folder: Schema.String,
  release: Schema.String,
  migration: Schema.String,
}) {
  override get message(): string {
    return `${this.folder} was made by release ${this.release}, and this one does not know its migration ${this.migration} as it is`
  }
}

export type RestoreError =
  | BackupDamaged
  | BackupTooNew
  | CopyFaulty
  | DatabaseFile.NoDatabase
  | DatabaseOwned
  | MigrationError
  | NoRoom
  | NotABackup
  | SqlError

export interface RestoreOptions {
  readonly folder: string
  /** Where the database goes, and where its archive. */
  readonly filename: string
  readonly archive: string
  /** The file of cached answers, which would be of the other database: it is removed. */
  readonly cache: string
  readonly model: EventModel
  /** Only prove the backup and say what would happen. Default: false. */
  readonly dryRun?: boolean | undefined
  readonly onProgress?: OnProgress | undefined
}

/** A backup that was restored, or would be. */
export interface Restored {
  readonly folder: string
  readonly manifest: Manifest
  readonly database: string
  readonly archive: string
  /** The files that were there before, under their new names. */
  readonly setAside: ReadonlyArray<string>
  readonly durationMs: number
}

/** Restores a backup. When it fails, the database is the one that was there. */
export const restoreBackup = Effect.fnUntraced(function* (
  options: RestoreOptions,
): Effect.fn.Return<Restored, RestoreError, Scope.Scope> {
  const { archive, cache, dryRun = false, filename, model, onProgress = () => {} } = options
  const folder = resolve(options.folder)
  const begun = yield* Clock.currentTimeMillis
  const manifest = yield* readManifest(folder)
  const stored: ReadonlyArray<Stored> = [
    { source: join(folder, DATABASE_FILE), target: filename, sum: manifest.database },
    ...(manifest.archive === null
      ? []
      : [{ source: join(folder, ARCHIVE_FILE), target: archive, sum: manifest.archive }]),
  ]
  // Before anything takes time, and before anything is made: a dry run makes no folder.
  if (!dryRun) yield* onDisk(filename, () => mkdirSync(dirname(filename), { recursive: true }))
  if (existsSync(dirname(filename))) yield* Ownership.acquire(filename)

  for (const { source, sum } of stored)
    yield* requireSum(source, sum, yield* sumOf(source, "summing up the backup", onProgress))
  const proof = yield* proofOfBackup(folder, manifest)
  yield* prove(proof, {
    database: join(folder, DATABASE_FILE),
    archive: join(folder, ARCHIVE_FILE),
    model,
    onProgress,
  })

  const setAside = dryRun ? [] : yield* replace(stored, { archive, cache, filename, begun, onProgress })
  const durationMs = (yield* Clock.currentTimeMillis) - begun
  return { folder, manifest, database: filename, archive, setAside, durationMs }
})

interface Stored {
  readonly source: string
  readonly target: string
  readonly sum: FileSum
}

const requireSum = (file: string, expected: FileSum, found: FileSum): Effect.Effect<void, BackupDamaged> => {
  if (found.bytes !== expected.bytes) {
    const detail = `has ${found.bytes} bytes instead of ${expected.bytes}`
    return Effect.fail(new BackupDamaged({ file, detail }))
  }
  return found.sha256 === expected.sha256
    ? Effect.void
    : Effect.fail(new BackupDamaged({ file, detail: "is not what was written" }))
}

/** What is known of the backup's database: a release cannot go on from what a later one made. */
const proofOfBackup = (folder: string, manifest: Manifest) =>
  Effect.scoped(
    Effect.gen(function* () {
      const db = yield* DatabaseFile.openExisting(join(folder, DATABASE_FILE))
      const migrations = yield* Migrations.status(db, yield* Migrations.load(Migrations.defaultFolder))
      const unknown = migrations.find(({ state }) => state === "missing" || state === "changed")
      if (unknown !== undefined) {
        const { release } = manifest
        return yield* new BackupTooNew({ folder, release, migration: unknown.file })
      }
      return manifest.proof === "none" ? "none" : proofOf(migrations)
    }),
  )

const replace = Effect.fnUntraced(function* (
  stored: ReadonlyArray<Stored>,
  options: {
    readonly filename: string
    readonly archive: string
    readonly cache: string
    readonly begun: number
    readonly onProgress: OnProgress
  },
): Effect.fn.Return<ReadonlyArray<string>, BackupDamaged | NoRoom | SqlError, Scope.Scope> {
  const { archive, begun, cache, filename, onProgress } = options
  for (const { source, sum, target } of stored) {
    yield* onDisk(target, () => mkdirSync(dirname(target), { recursive: true }))
    yield* requireRoom(dirname(target), sum.bytes)
    const copy = draftOf(target)
    yield* Effect.addFinalizer(() => Effect.sync(() => rmSync(copy, { force: true })))
    yield* requireSum(source, sum, yield* sumOf(source, "copying", onProgress, copy))
  }
  return yield* onDisk(filename, () => {
    const suffix = `.before-${new Date(begun).toISOString().replaceAll(/[-:.]/g, "")}`
    const aside: Array<string> = []
    // The database first: beside an archive that is newer than itself it lacks nothing.
    for (const path of [filename, archive]) {
      settle(path)
      aside.push(...exchange(path, suffix))
      syncPath(dirname(path))
    }
    for (const path of withLog(cache)) rmSync(path, { force: true })
    return aside
  })
})

const draftOf = (target: string): string => target + RESTORING

const withLog = (path: string): ReadonlyArray<string> => [path, `${path}-wal`, `${path}-shm`]

/** What a SQLite file begins with. */
const MAGIC = "SQLite format 3\0"

/** SQLite itself would delete the log of a file that has no page, and what is in it may be all that is left. */
const isDatabase = (path: string): boolean => {
  const file = openSync(path, "r")
  try {
    const start = Buffer.alloc(MAGIC.length)
    readSync(file, start)
    return start.toString("latin1") === MAGIC
  } finally {
    closeSync(file)
  }
}

/** Brings what its write-ahead log holds into a file. One that cannot be opened keeps its log, and goes aside with it. */
const settle = (path: string): void => {
  if (!existsSync(path) || !isDatabase(path)) return
  try {
    const database = SqliteDatabase.open({ filename: path })
    try {
      database.exec("PRAGMA wal_checkpoint(TRUNCATE)")
    } finally {
      database.close()
    }
  } catch {
    // It may be the reason for the restore.
  }
}

/**
 * Gives the copy, if there is one, the name of the file, which keeps its contents under another name. A log that is left
 * goes first: SQLite would take it for that of the copy.
 */
const exchange = (path: string, suffix: string): ReadonlyArray<string> => {
  const aside: Array<string> = []
  // Only an index of the log.
  rmSync(`${path}-shm`, { force: true })
  if (existsSync(`${path}-wal`)) {
    aside.push(`${path}${suffix}-wal`)
    renameSync(`${path}-wal`, `${path}${suffix}-wal`)
  }
  const copy = draftOf(path)
  if (existsSync(path)) {
    aside.unshift(path + suffix)
    if (existsSync(copy)) likeBefore(path, copy)
    if (existsSync(copy)) linkSync(path, path + suffix)
    else renameSync(path, path + suffix)
  }
  if (existsSync(copy)) renameSync(copy, path)
  return aside
}

/** Whoever served the old file can serve the new one, also when somebody else restores it. */
const likeBefore = (path: string, copy: string): void => {
  const { gid, mode, uid } = statSync(path)
  chmodSync(copy, mode)
  const made = statSync(copy)
  if (made.uid !== uid || made.gid !== gid) chownSync(copy, uid, gid)
}

const onDisk = <A>(path: string, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, `restore ${path}`) })
