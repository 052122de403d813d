/**
 * Folds everything that ever happened through an async projection, archive and journal, into empty tables: up to its checkpoint, to
 * compare, or up to the head, to make its rows anew. A projection that never ran on a database has made nothing of it.
 */
import { Effect } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { Archive, archivedTotals } from "../journal/Archive.ts"
import { ArchiveCorrupt, ArchiveError } from "../journal/ArchiveError.ts"
import type { AsyncProjection } from "../journal/AsyncProjection.ts"
import {
  BEGINNING,
  type Checkpoint,
  moveCheckpoint,
  readCheckpoint,
  resetCheckpoint,
} from "../journal/Checkpoints.ts"
import type { EventCatalog } from "../journal/DomainEvent.ts"
import { HistoryReader } from "../journal/HistoryReader.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { resultCodeOf, toSqlError } from "../sqlite/SqliteError.ts"
import type { OnProgress } from "./Progress.ts"

/** Rows that are written together. */
const ROWS_PER_SAVE = 4_096

/** Why it could not be folded. */
export interface FoldFault {
  /** Behind this one; 0 also for what is in the archive. */
  readonly position: number
  readonly detail: string
}

interface FoldOptions {
  /** With `events` as the journal, and the projection's tables to be filled; within a transaction. */
  readonly db: SqliteDatabase
  readonly catalog: EventCatalog
  readonly archive: string
  readonly projection: AsyncProjection
  readonly onProgress: OnProgress
}

/**
 * Makes the rows that the projection should have now. What of them is not kept any more is taken over from `kept`, the schema of
 * the database, since it may be there or not.
 */
export const foldToCheckpoint = (
  options: FoldOptions & { readonly kept: string },
): Effect.Effect<FoldFault | undefined, SqlError> =>
  Effect.suspend(() => {
    const { db, kept, projection } = options
    const checkpoint = readCheckpoint(db, projection.name)
    if (checkpoint === undefined) return Effect.undefined
    return Effect.tap(fold(options, checkpoint), () =>
      run(options, () => {
        for (const [table, condition] of Object.entries(projection.expired ?? {}))
          db.exec(`INSERT INTO main.${table} SELECT * FROM ${kept}.${table} WHERE ${condition}`)
      }),
    )
  })

/** Makes all rows anew, after they were deleted, and moves the checkpoint to the head. */
export const foldFromBeginning = (options: FoldOptions): Effect.Effect<FoldFault | undefined, SqlError> =>
  Effect.suspend(() => {
    const { db, projection } = options
    if (readCheckpoint(db, projection.name) === undefined) return Effect.undefined
    resetCheckpoint(db, projection.name)
    let end = BEGINNING
    return Effect.tap(
      fold(options, undefined, (reached) => void (end = reached)),
      () => run(options, () => moveCheckpoint(db, projection.name, BEGINNING, end)),
    )
  })

const run = <A>({ db, projection }: FoldOptions, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, `fold ${projection.name} of ${db.filename}`) })

const fold = (
  { archive: filename, catalog, db, onProgress, projection }: FoldOptions,
  until: Checkpoint | undefined,
  onEnd: (end: Checkpoint) => void = () => {},
): Effect.Effect<FoldFault | undefined, SqlError> => {
  let after = BEGINNING
  let archivedStreams = 0
  return Effect.gen(function* () {
    const archive = yield* Effect.acquireRelease(
      Effect.sync(() => new Archive(filename, { readOnly: true })),
      (archive) => Effect.sync(() => archive.close()),
    )
    const history = new HistoryReader({ journal: db, archive, catalog, wanted: projection.eventTypes })
    const step = (): boolean => {
      const portion = history.next(after, until)
      if (portion === undefined) {
        projection.save(db)
        if (until === undefined) requireAll(filename, archivedTotals(db).streams, archivedStreams)
        return false
      }
      projection.take(portion.events, history.earlier)
      after = portion.end
      archivedStreams += portion.archivedStreams
      if (projection.pending() >= ROWS_PER_SAVE) projection.save(db)
      return true
    }
    for (;;) {
      onProgress({ task: `folding ${projection.name}`, done: after.position, total: until?.position ?? 0 })
      yield* Effect.yieldNow
      const isMore = yield* Effect.try({ try: step, catch: (cause) => cause })
      if (!isMore) break
    }
    onEnd(after)
    return undefined
  }).pipe(
    Effect.scoped,
    Effect.catch((cause) => {
      projection.forget()
      if (resultCodeOf(cause) !== undefined)
        return Effect.fail(toSqlError(cause, `fold ${projection.name} of ${db.filename}`))
      return Effect.succeed({
        position: after.position,
        detail: cause instanceof Error ? cause.message : String(cause),
      })
    }),
  )
}

/** Rows that are made of less than there was would be wrong, and nobody would see it. */
const requireAll = (filename: string, left: number, found: number): void => {
  if (left === found) return
  const detail = `${left} streams have left the journal, and it has ${found} of them`
  throw new ArchiveError({ filename, reason: new ArchiveCorrupt({ detail }) })
}
