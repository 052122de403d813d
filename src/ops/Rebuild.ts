/**
 * Makes the rows of every projection anew from the journal (and the archive, for those that count what has left), and drops
 * the snapshots, which are only a cache. All of it is one transaction of the database's only owner: whatever ends it early
 * leaves the rows as they were. Dictionaries are kept, so that numbers go on meaning the names they meant.
 */
import { Clock, Effect, Exit, Schema } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { EventCatalog } from "../journal/DomainEvent.ts"
import { SELECT_HEAD } from "../journal/EventRows.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { toSqlError } from "../sqlite/SqliteError.ts"
import { archiveBeside } from "../journal/SqliteJournal.ts"
import { foldFromBeginning } from "./HistoryFold.ts"
import { type FoldPage, JournalFold } from "./JournalFold.ts"
import type { OnProgress } from "./Progress.ts"
import type { EventModel } from "./Verify.ts"

/** The journal cannot be folded as it is. Nothing was changed. */
export class RebuildFailed extends Schema.TaggedError<RebuildFailed>()("RebuildFailed", {
  /** The event, or the first of those, that could not be folded. */
  position: Schema.Int,
  detail: Schema.String,
}) {
  override get message(): string {
    return `the journal cannot be folded at position ${this.position}, and nothing was changed: ${this.detail}`
  }
}

/** What was rebuilt. */
export interface Rebuilt {
  readonly events: number
  readonly tables: ReadonlyArray<{ readonly table: string; readonly before: number; readonly after: number }>
  readonly snapshotsDropped: number
  readonly durationMs: number
}

/** Rebuilds the projections of a database that this process owns, with nobody else on it. */
export const rebuild = Effect.fnUntraced(function* (
  db: SqliteDatabase,
  model: EventModel,
  onProgress: OnProgress = () => {},
  archive: string = archiveBeside(db.filename),
): Effect.fn.Return<Rebuilt, RebuildFailed | SqlError> {
  const begun = yield* Clock.currentTimeMillis
  const run = <A>(body: () => A): Effect.Effect<A, SqlError> =>
    Effect.try({ try: body, catch: (cause) => toSqlError(cause, `rebuild ${db.filename}`) })
  const projections = model.projections()
  const asyncProjections = model.asyncProjections()
  const tables = [...projections, ...asyncProjections].flatMap((projection) => projection.tables)
  const rowsOf = (table: string) =>
    db.prepareUncached(`SELECT count(*) AS rows FROM ${table}`).get()!["rows"] as number

  const fold = Effect.gen(function* () {
    const before = yield* run(() => tables.map(rowsOf))
    const snapshotsDropped = yield* run(() =>
      Number(db.prepareUncached("DELETE FROM snapshots").run().changes),
    )
    yield* run(() => {
      for (const table of tables) db.exec(`DELETE FROM ${table}`)
    })
    const total = (yield* run(() => db.prepare(SELECT_HEAD).get()!["position"] as number | null)) ?? 0
    const catalog = new EventCatalog(model.eventTypes)
    const fold = new JournalFold({
      db,
      catalog,
      projections,
      checked: false,
    })
    let events = 0
    for (let done = 0; ;) {
      onProgress({ task: "rebuilding", done, total })
      yield* Effect.yieldNow
      const page = yield* run(() => fold.next())
      if (page === undefined) break
      const failure = failureOf(page)
      if (failure !== undefined) return yield* failure
      done = page.positions.at(-1)!
      events += page.positions.length
    }
    for (const projection of asyncProjections) {
      const fault = yield* foldFromBeginning({ db, catalog, archive, projection, onProgress })
      if (fault !== undefined)
        return yield* new RebuildFailed({ position: fault.position, detail: fault.detail })
    }
    const after = yield* run(() => tables.map(rowsOf))
    return {
      events,
      snapshotsDropped,
      tables: tables.map((table, i) => ({ table, before: before[i]!, after: after[i]! })),
    }
  })

  const rebuilt = yield* Effect.acquireUseRelease(
    run(() => db.exec("BEGIN IMMEDIATE")),
    () => Effect.tap(fold, () => run(() => db.exec("COMMIT"))),
    // SQLite has ended the transaction itself after some errors, a full disk among them.
    (_, exit) =>
      Effect.sync(() => (Exit.isFailure(exit) && db.isTransaction ? db.exec("ROLLBACK") : undefined)),
  )
  return { ...rebuilt, durationMs: (yield* Clock.currentTimeMillis) - begun }
})

const failureOf = ({ breakdowns, misfits }: FoldPage): RebuildFailed | undefined => {
  const [misfit] = misfits
  if (misfit !== undefined) {
    const { detail, position, stream, type } = misfit
    return new RebuildFailed({ position, detail: `${type} of ${stream}: ${detail}` })
  }
  const [breakdown] = breakdowns
  if (breakdown === undefined) return undefined
  const { detail, first, projection } = breakdown
  return new RebuildFailed({ position: first, detail: `the projection ${projection.name} failed: ${detail}` })
}
