/**
 * Whether the files are sound: SQLite's own check of every page and index, foreign keys, and the invariants that SQL can
 * tell; the same for the archive. It only reads, in one transaction, also beside a running server. What it does not do is
 * fold the journal: that is `db verify`.
 */
import { Clock, Effect, type Scope } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import { existsSync } from "node:fs"
import { archivedTotals, type ArchivedTotals } from "../journal/Archive.ts"
import { toArchiveError } from "../journal/ArchiveError.ts"
import { ArchiveFile } from "../journal/ArchiveFile.ts"
import { letOthersRun } from "../sqlite/EventLoop.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { isCorrupt, toSqlError } from "../sqlite/SqliteError.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import { type Check, EXAMPLES_MAX, type Fault, Findings } from "./Findings.ts"
import { invariantSteps } from "./Invariants.ts"
import type { OnProgress } from "./Progress.ts"

/** Every page, and every row in every index, unless so many faults are found before. */
const CHECK_INTEGRITY = "PRAGMA integrity_check(100)"
/** One seek a row that refers to another. */
const CHECK_FOREIGN_KEYS = "PRAGMA foreign_key_check"
/** A small table, and a row of about 60 bytes a stream. */
const SELECT_ARCHIVED = "SELECT count(*) AS streams, coalesce(sum(events), 0) AS events FROM streams"
const SELECT_LOST_BLOCKS = `SELECT stream FROM streams s
  WHERE NOT EXISTS (SELECT 1 FROM blocks b WHERE b.id = s.block) LIMIT ${EXAMPLES_MAX}`

export interface Integrity {
  readonly database: string
  readonly archive: string
  /** What was looked at. */
  readonly checks: ReadonlyArray<string>
  /** Empty: all is well. */
  readonly faults: ReadonlyArray<Fault>
  readonly durationMs: number
}

/** Looks at both files. Fails only when it cannot look: what is wrong is in the answer. */
export const integrity = Effect.fnUntraced(function* (options: {
  readonly filename: string
  readonly archive: string
  readonly onProgress?: OnProgress | undefined
}): Effect.fn.Return<Integrity, DatabaseFile.DatabaseProblem | SqlError, Scope.Scope> {
  const { archive, filename, onProgress = () => {} } = options
  const begun = yield* Clock.currentTimeMillis
  const findings = new Findings()
  const checks: Array<string> = []
  const look = Effect.gen(function* () {
    const db = yield* DatabaseFile.openExisting(filename)
    yield* DatabaseFile.requireSchema(db)
    const run = <A>(body: () => A): Effect.Effect<A, SqlError> =>
      Effect.try({ try: body, catch: (cause) => toSqlError(cause, `check ${filename}`) })
    const steps = [
      { name: "file: every page and index", check: () => checkFile(db, "file", "file", findings) },
      { name: "file: foreign keys", check: () => checkForeignKeys(db, findings) },
      ...invariantSteps(db, findings),
      { name: "archive: every page, index and stream", check: () => checkArchive(db, archive, findings) },
    ]
    yield* run(() => db.exec("BEGIN"))
    for (const [done, { check, name }] of steps.entries()) {
      onProgress({ task: "checking", done, total: steps.length })
      yield* letOthersRun
      yield* run(check)
      checks.push(name)
      // Pages that are torn may say anything.
      if (done === 0 && findings.faults.length > 0) return
    }
    onProgress({ task: "checking", done: steps.length, total: steps.length })
  })
  // SQLite may end at what it cannot make sense of, and that begins with the first page: then that is what was found.
  yield* Effect.catchIf(look, isCorrupt, (error) =>
    Effect.sync(() => findings.add("file", "file", (error as Error).message)),
  )
  return {
    database: filename,
    archive,
    checks,
    faults: findings.faults,
    durationMs: (yield* Clock.currentTimeMillis) - begun,
  }
})

const checkFile = (db: SqliteDatabase, kind: Check, subject: string, findings: Findings): void => {
  for (const row of db.prepareUncached(CHECK_INTEGRITY).iterate()) {
    const detail = Object.values(row)[0]
    if (detail !== "ok") findings.add(kind, subject, String(detail))
  }
}

const checkForeignKeys = (db: SqliteDatabase, findings: Findings): void => {
  for (const { parent, rowid, table } of db.prepareUncached(CHECK_FOREIGN_KEYS).iterate())
    findings.add(
      "foreign_key",
      String(table),
      `row ${rowid ?? "without a number"} refers to nothing in ${parent}`,
    )
}

/** The file need not be there while nothing was archived; copies of what has not left yet may be in it. */
const checkArchive = (db: SqliteDatabase, filename: string, findings: Findings): void => {
  const totals = archivedTotals(db)
  if (!existsSync(filename)) {
    if (totals.streams > 0)
      findings.add("archive", "archive", `${filename} is not there, and has ${totals.streams} streams`)
    return
  }
  try {
    const file = ArchiveFile.open(filename, "read")
    try {
      checkFile(file.database, "archive", "archive", findings)
      checkStreams(file.database, totals, findings)
    } finally {
      file.close()
    }
  } catch (cause) {
    findings.add("archive", "archive", toArchiveError(filename, cause).message)
  }
}

const checkStreams = (archive: SqliteDatabase, totals: ArchivedTotals, findings: Findings): void => {
  const { events, streams } = archive.prepareUncached(SELECT_ARCHIVED).get()!
  if ((streams as number) < totals.streams || (events as number) < totals.events)
    findings.add(
      "archive",
      "archive",
      `it has ${events} events of ${streams} streams, and ${totals.events} of ${totals.streams} left the journal`,
    )
  for (const { stream } of archive.prepareUncached(SELECT_LOST_BLOCKS).all())
    findings.add("archive", "archive", `the block of ${stream} is not there`)
}
