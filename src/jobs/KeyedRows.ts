/**
 * Which job of a concurrency key comes next. Of the waiting jobs of one key in one lane only the first is in the index of
 * what could start; the others stand behind it. However many jobs a tenant has, it takes one place in the queue's window,
 * and whoever comes after it is found without looking through them. Where a key has several places, one more of its jobs
 * comes to the front with each turn of the queue.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { type JobRow, ROW_STATUS, type RowChange } from "./JobRow.ts"

/** The index `jobs_keyed` is partial: its condition stands here to the letter. */
const OF_KEY = `FROM jobs INDEXED BY jobs_keyed
  WHERE queue = ? AND type = ? AND priority = ? AND concurrency_key = ? AND status IN (0, 6)`
/** The job of a key that is in the index of what could start. One seek. */
export const SELECT_FIRST = `SELECT position, due_at ${OF_KEY} AND status = 0 LIMIT 1`
/** The first job of a key that stands behind. One seek. */
export const SELECT_BEHIND = `SELECT position, due_at ${OF_KEY} AND status = 6 ORDER BY due_at, position LIMIT 1`
/** Index: the primary key. */
const SET_STATUS = "UPDATE jobs SET status = ? WHERE position = ?"

/** After rows have changed: lets the first waiting job of every key that they belong to stand in front. */
export const settleKeys = (db: SqliteDatabase, changes: ReadonlyArray<RowChange>): void => {
  const settled = new Set<string>()
  const settle = ({ priority, queue, rare, type }: JobRow) => {
    if (rare === undefined || rare.concurrencyKey === null) return
    const place = [queue, type, priority, rare.concurrencyKey] as const
    const name = place.join(" ")
    if (settled.has(name)) return
    settled.add(name)
    const behind = db.prepare(SELECT_BEHIND).get(...place)
    if (behind === undefined) return
    const first = db.prepare(SELECT_FIRST).get(...place)
    if (first !== undefined) {
      const [a, b] = [first["due_at"] as number, behind["due_at"] as number]
      if (a < b || (a === b && (first["position"] as number) < (behind["position"] as number))) return
      db.prepare(SET_STATUS).run(ROW_STATUS.behind, first["position"]!)
    }
    db.prepare(SET_STATUS).run(ROW_STATUS.waiting, behind["position"]!)
  }
  for (const { after, before } of changes) {
    if (after.rare === undefined) continue
    // A job that was given another priority has left one line and joined another.
    if (before !== undefined && before.priority !== after.priority) settle(before)
    settle(after)
  }
}
