/**
 * What rate limits leave behind for the next start, in a SQLite file of its own: buckets that are not full, and who was refused.
 * Every method throws: the errors of node:sqlite, `FileDamaged` and `ForeignFile`.
 */
import { type FileFormat, openDatabase } from "../../sqlite/ExpendableFile.ts"
import { limitTo } from "../../sqlite/Limit.ts"
import type { SqliteDatabase } from "../../sqlite/SqliteDatabase.ts"
import { type Bucket, fullAt } from "./TokenBuckets.ts"
import type { CallerKind, Violation, ViolationChanges } from "./Violations.ts"

const FORMAT: FileFormat = {
  /** "RORL". */
  applicationId: 0x52_4f_52_4c,
  version: 1,
  schema: `
CREATE TABLE buckets (
  key         TEXT PRIMARY KEY,
  tokens      REAL NOT NULL,
  refilled_at REAL NOT NULL, -- milliseconds since 1970
  capacity    INTEGER NOT NULL,
  refill_ms   REAL NOT NULL, -- for one token
  full_at     REAL NOT NULL  -- from then on it is as good as none
) STRICT, WITHOUT ROWID;

CREATE TABLE violations (
  caller   TEXT NOT NULL,
  kind     TEXT NOT NULL,
  policy   TEXT NOT NULL,
  route    TEXT NOT NULL,
  count    INTEGER NOT NULL,
  first_at INTEGER NOT NULL, -- milliseconds since 1970
  last_at  INTEGER NOT NULL,
  PRIMARY KEY (caller, kind, policy, route)
) STRICT, WITHOUT ROWID;
`,
  pageCacheBytes: 1024 * 1024,
}

/** A scan, at the start: those used last are worth most where there is no room for all. */
const SELECT_BUCKETS = `SELECT key, tokens, refilled_at, capacity, refill_ms FROM buckets
  WHERE full_at > ? ORDER BY refilled_at DESC ${limitTo()}`
/** A scan of what a minute has left. */
const DELETE_FULL = "DELETE FROM buckets WHERE full_at <= ?"
const SELECT_ANY_BUCKET = "SELECT 1 FROM buckets LIMIT 1"
/** Index: the primary key. */
const UPSERT_BUCKET = `INSERT OR REPLACE INTO buckets (key, tokens, refilled_at, capacity, refill_ms, full_at)
  VALUES (?, ?, ?, ?, ?, ?)`

/** A scan, at the start. */
const SELECT_VIOLATIONS = `SELECT caller, kind, policy, route, count, first_at, last_at FROM violations
  WHERE last_at >= ? ORDER BY last_at DESC ${limitTo()}`
/** A scan, at the start. */
const DELETE_OLD_VIOLATIONS = "DELETE FROM violations WHERE last_at < ?"
/** Index: the primary key. */
const UPSERT_VIOLATION = `INSERT OR REPLACE INTO violations (caller, kind, policy, route, count, first_at, last_at)
  VALUES (?, ?, ?, ?, ?, ?, ?)`
/** Index: the primary key. */
const DELETE_VIOLATION = "DELETE FROM violations WHERE caller = ? AND kind = ? AND policy = ? AND route = ?"

export class LimitsFile {
  readonly #database: SqliteDatabase

  private constructor(database: SqliteDatabase) {
    this.#database = database
  }

  /** Opens the file, making it if need be, and holds it alone until it is closed. */
  static open(filename: string): LimitsFile {
    return new LimitsFile(openDatabase(filename, FORMAT))
  }

  /** The buckets that are not full at `now`, at most `most`, those used last coming last. */
  buckets(now: number, most: number): ReadonlyArray<Bucket> {
    return this.#database
      .prepare(SELECT_BUCKETS)
      .all(now, most)
      .map((row) => ({
        key: row["key"] as string,
        tokens: row["tokens"] as number,
        refilledAt: row["refilled_at"] as number,
        limit: row["capacity"] as number,
        refillMs: row["refill_ms"] as number,
      }))
      .toReversed()
  }

  /** The violations since a moment, at most `most`, the newest coming last; those before are forgotten. */
  violations(since: number, most: number): ReadonlyArray<Violation> {
    this.#database.prepare(DELETE_OLD_VIOLATIONS).run(since)
    return this.#database
      .prepare(SELECT_VIOLATIONS)
      .all(since, most)
      .map((row) => ({
        caller: row["caller"] as string,
        kind: row["kind"] as CallerKind,
        policy: row["policy"] as string,
        route: row["route"] as string,
        count: row["count"] as number,
        firstAt: row["first_at"] as number,
        lastAt: row["last_at"] as number,
      }))
      .toReversed()
  }

  writeBuckets(buckets: ReadonlyArray<Bucket>): void {
    this.#database.transaction(() => {
      const upsert = this.#database.prepare(UPSERT_BUCKET)
      for (const bucket of buckets) {
        const { key, limit, refilledAt, refillMs, tokens } = bucket
        upsert.run(key, tokens, refilledAt, limit, refillMs, fullAt(bucket))
      }
    })
  }

  /** Answers whether there are others left. */
  deleteFullBuckets(now: number): boolean {
    this.#database.prepare(DELETE_FULL).run(now)
    return this.#database.prepare(SELECT_ANY_BUCKET).get() !== undefined
  }

  writeViolations({ removed, updated }: ViolationChanges): void {
    this.#database.transaction(() => {
      for (const { caller, kind, policy, route } of removed)
        this.#database.prepare(DELETE_VIOLATION).run(caller, kind, policy, route)
      for (const { caller, count, firstAt, kind, lastAt, policy, route } of updated)
        this.#database.prepare(UPSERT_VIOLATION).run(caller, kind, policy, route, count, firstAt, lastAt)
    })
  }

  close(): void {
    this.#database.close()
  }
}
