/**
 * Takes away what nobody will look at again: finished jobs that are old enough go to the archive, snapshots that no release
 * can load are dropped, and so are the leftovers of backups and restores that were killed. Everything else stays.
 */
import { Clock, Duration, Effect } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { existsSync, readdirSync, rmSync, statSync } from "node:fs"
import { basename, join } from "node:path"
import type { SnapshotKind } from "../EventModel.ts"
import { Retention } from "../jobs/Retention.ts"
import * as RenderOwl from "../RenderOwl.ts"
import type { SqliteDatabase, Synchronous } from "../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../sqlite/SqliteError.ts"
import { PARTIAL_BACKUP, RESTORING } from "./backup/DraftNames.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import type { OnProgress } from "./Progress.ts"

/** A draft that nobody has written to for so long belongs to nobody. */
const LEFTOVER_AGE: Duration.Input = "1 day"

/** All of jobs, and one seek in job_dependencies for each that is old enough. */
const COUNT_RIPE = `SELECT count(*) AS jobs FROM jobs p WHERE p.status IN (2, 4) AND p.finished_at < ?
  AND NOT EXISTS (SELECT 1 FROM job_dependencies WHERE dependency = p.position)`
/** A row a stream that has one, and a seek in events. */
const SELECT_SNAPSHOTS = `SELECT s.stream, s.revision, length(s.state) AS bytes,
    EXISTS (SELECT 1 FROM events e WHERE e.stream = s.stream) AS is_here
  FROM snapshots s`
const DELETE_SNAPSHOT = "DELETE FROM snapshots WHERE stream = ?"

export interface CleanupOptions {
  readonly filename: string
  readonly archive: string
  /** The folder of backups. */
  readonly backups: string
  /** The file of cached answers. */
  readonly cache: string
  /** How long ago jobs must have ended; undefined leaves them all. */
  readonly olderThan: Duration.Duration | undefined
  readonly snapshotKinds: ReadonlyArray<SnapshotKind>
  readonly synchronous?: Synchronous | undefined
  readonly dryRun: boolean
  readonly onProgress?: OnProgress | undefined
}

/** What was taken away, or would be. */
export interface CleanedUp {
  readonly jobs: {
    /** Old enough; null when no age is set. */
    readonly ripe: number | null
    readonly archived: number
    readonly stayed: number
    readonly unreadable: number
  }
  readonly snapshots: { readonly found: number; readonly bytes: number }
  readonly leftovers: ReadonlyArray<{ readonly path: string; readonly bytes: number }>
  readonly durationMs: number
}

/** Cleans up as the database's only owner; a dry run only looks, also beside one. */
export const cleanUp = Effect.fnUntraced(function* (options: CleanupOptions) {
  const { dryRun, filename, olderThan, onProgress = () => {} } = options
  const begun = yield* Clock.currentTimeMillis
  yield* DatabaseFile.requireFile(filename)
  const looked = yield* Effect.scoped(inDatabase(options, begun))
  const moved =
    dryRun || olderThan === undefined || looked.ripe === 0
      ? undefined
      : yield* archiveJobs(options, olderThan, looked.ripe ?? 0, onProgress)
  const leftovers = yield* leftoversOf(options, begun)
  if (!dryRun) yield* remove(leftovers.map(({ path }) => path))
  const cleaned: CleanedUp = {
    jobs: {
      ripe: looked.ripe,
      archived: moved?.streams ?? 0,
      stayed: moved?.stayed ?? 0,
      unreadable: moved?.unreadable ?? 0,
    },
    snapshots: looked.snapshots,
    leftovers,
    durationMs: (yield* Clock.currentTimeMillis) - begun,
  }
  return cleaned
})

/** Counts what is old, and drops snapshots, before the journal opens the file for itself. */
const inDatabase = Effect.fnUntraced(function* (
  { dryRun, filename, olderThan, snapshotKinds }: CleanupOptions,
  now: number,
) {
  const db = yield* dryRun ? DatabaseFile.openExisting(filename) : DatabaseFile.openOwned(filename)
  yield* DatabaseFile.requireSchema(db)
  return yield* Effect.try({
    try: () => {
      const ripe =
        olderThan === undefined
          ? null
          : (db.prepare(COUNT_RIPE).get(now - Duration.toMillis(olderThan))!["jobs"] as number)
      const useless = uselessSnapshots(db, snapshotKinds)
      if (!dryRun && useless.length > 0)
        db.transaction(() => useless.forEach(({ stream }) => db.prepare(DELETE_SNAPSHOT).run(stream)))
      const size = useless.reduce((sum, { bytes }) => sum + bytes, 0)
      return { ripe, snapshots: { found: useless.length, bytes: size } }
    },
    catch: (cause) => toSqlError(cause, `clean up ${filename}`),
  })
})

/** Those of another shape than this release has, of a kind that it does not know, or of a stream that has left. */
const uselessSnapshots = (
  db: SqliteDatabase,
  kinds: ReadonlyArray<SnapshotKind>,
): ReadonlyArray<{ readonly stream: string; readonly bytes: number }> =>
  db
    .prepareUncached(SELECT_SNAPSHOTS)
    .all()
    .filter(({ is_here, revision, stream }) => {
      const kind = kinds.find(({ prefix }) => (stream as string).startsWith(prefix))
      return is_here === 0 || kind?.behavior.snapshots?.revision !== revision
    })
    .map(({ bytes, stream }) => ({ stream: stream as string, bytes: bytes as number }))

const archiveJobs = (
  { archive, filename, synchronous }: CleanupOptions,
  olderThan: Duration.Duration,
  total: number,
  onProgress: OnProgress,
) =>
  Effect.flatMap(Retention, (retention) =>
    retention.run({
      olderThan,
      onMoved: (done) => onProgress({ task: "moving jobs to the archive", done, total }),
    }),
  ).pipe(Effect.provide(RenderOwl.retentionLayer({ database: { filename, synchronous }, archive })))

/** What backups and restores left that were killed, and damaged files of cached answers that were set aside. */
const leftoversOf = ({ archive, backups, cache, filename }: CleanupOptions, now: number) =>
  Effect.try({
    try: (): CleanedUp["leftovers"] => {
      const drafts = namesIn(backups)
        .filter((name) => name.includes(PARTIAL_BACKUP))
        .map((name) => join(backups, name))
      return [...drafts, filename + RESTORING, archive + RESTORING, `${cache}.damaged`]
        .filter((path) => existsSync(path) && now - newestIn(path) > Duration.toMillis(LEFTOVER_AGE))
        .map((path) => ({ path, bytes: sizeOf(path) }))
    },
    catch: (cause) => toSqlError(cause, `look for leftovers beside ${basename(filename)}`),
  })

const remove = (paths: ReadonlyArray<string>): Effect.Effect<void, SqlError> =>
  Effect.try({
    try: () => paths.forEach((path) => rmSync(path, { recursive: true, force: true })),
    catch: (cause) => toSqlError(cause, `remove ${paths.join(", ")}`),
  })

const namesIn = (folder: string): ReadonlyArray<string> => (existsSync(folder) ? readdirSync(folder) : [])

/** A file, or a folder of files. */
const filesOf = (path: string): ReadonlyArray<string> =>
  statSync(path).isDirectory() ? [path, ...readdirSync(path).map((name) => join(path, name))] : [path]

const newestIn = (path: string): number => Math.max(...filesOf(path).map((file) => statSync(file).mtimeMs))

const sizeOf = (path: string): number =>
  filesOf(path)
    .map((file) => statSync(file))
    .filter((stat) => stat.isFile())
    .reduce((sum, { size }) => sum + size, 0)
