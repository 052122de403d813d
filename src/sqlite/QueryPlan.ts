/**
 * How SQLite would run a statement, and what of that may be slow where tables are large.
 */
import type { SqliteDatabase } from "./SqliteDatabase.ts"

/** `full_scan`: every row of a table. `temporary_sort`: all that was found is sorted. `automatic_index`: an index for this once. */
export type PlanFinding = "full_scan" | "temporary_sort" | "automatic_index"

export interface QueryPlan {
  /** The steps, as SQLite words them. */
  readonly steps: ReadonlyArray<string>
  readonly findings: ReadonlyArray<PlanFinding>
}

const SIGNS: ReadonlyArray<readonly [PlanFinding, RegExp]> = [
  // A scan of an index is one in order, of constants or a table function none at all.
  ["full_scan", /^SCAN (?!CONSTANT|\w+ VIRTUAL TABLE)(?!.* USING )/],
  ["temporary_sort", /^USE TEMP B-TREE/],
  ["automatic_index", /AUTOMATIC/],
]

/** The plan of a statement, whatever its parameters are; throws what `prepare` does. */
export const queryPlan = (database: SqliteDatabase, sql: string): QueryPlan => {
  const steps = database
    .prepare(`EXPLAIN QUERY PLAN ${sql}`)
    .all()
    .map((row) => row["detail"] as string)
  return {
    steps,
    findings: SIGNS.flatMap(([finding, sign]) => (steps.some((step) => sign.test(step)) ? [finding] : [])),
  }
}
