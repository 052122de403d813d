/**
 * Who waits for whom, as rows: one for each job that another one waits for, until that is settled. When a job ends, its rows
 * get the outcome in the same transaction; what was decided and what the dependents have still to be told of it can
 * therefore never come apart, whatever dies in between.
 */
import type { RecordedEvent } from "../journal/Journal.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { isJobEvent } from "./JobEvents.ts"
import { ROW_STATUS } from "./JobRow.ts"

const ANY = "SELECT EXISTS (SELECT 1 FROM job_dependencies) AS found"
/** Indexes: events UNIQUE (stream, version), the primary key of jobs. */
const INSERT = `INSERT INTO job_dependencies (dependency, dependent, outcome)
  SELECT e.position, ?1, CASE WHEN j.status IN (2, 3, 4) THEN j.status END
  FROM events e JOIN jobs j ON j.position = e.position WHERE e.stream = ?2 AND e.version = 1`
const POSITION = "(SELECT position FROM events WHERE stream = ? AND version = 1)"
/** Index: the primary key, whose first column is the dependency. */
const SET_OUTCOME = `UPDATE job_dependencies SET outcome = ? WHERE dependency = ${POSITION}`
/** Only what was told is: a job that was redriven meanwhile may have ended in another way. Index: the primary key. */
const TOLD = `UPDATE job_dependencies SET outcome = NULL
  WHERE dependency = ${POSITION} AND dependent = ${POSITION} AND outcome = ?`
/** Index: the primary key. */
const SETTLED = `DELETE FROM job_dependencies WHERE dependency = ${POSITION} AND dependent = ${POSITION}`
/** Index: job_dependencies_of. */
const FORGET_DEPENDENT = `DELETE FROM job_dependencies WHERE dependent = ${POSITION}`

export class DependencyRows {
  /** False as long as nobody has ever waited: then jobs that end cost nothing here. */
  #any: boolean | undefined

  /** Whether there may be rows. */
  exist(db: SqliteDatabase): boolean {
    return (this.#any ??= db.prepare(ANY).get()!["found"] === 1)
  }

  /** Follows events, whose job rows have been written already. */
  project(db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>): void {
    for (const { event, position, stream } of events) {
      if (!isJobEvent(event)) continue
      if (event._tag === "JobEnqueued") {
        if (event.depends_on === undefined) continue
        for (const dependency of event.depends_on) {
          // The append has required it; one that is missing in a replay has settled with this job before it was archived.
          db.prepare(INSERT).run(position, dependency)
        }
        this.#any = true
        continue
      }
      switch (event._tag) {
        case "JobCompleted":
          db.prepare(SET_OUTCOME).run(ROW_STATUS.completed, stream)
          break
        case "JobDeadLettered":
          db.prepare(SET_OUTCOME).run(ROW_STATUS.dead_letter, stream)
          break
        case "JobCancelled":
          db.prepare(SET_OUTCOME).run(ROW_STATUS.cancelled, stream)
          db.prepare(FORGET_DEPENDENT).run(stream)
          break
        case "JobRedriven":
          db.prepare(SET_OUTCOME).run(null, stream)
          break
        case "JobDependencyEnded":
          if (event.settled) db.prepare(SETTLED).run(event.job, stream)
          else db.prepare(TOLD).run(event.job, stream, ROW_STATUS[event.outcome])
          break
      }
    }
  }

  /** A transaction was rolled back. */
  forget(): void {
    this.#any = undefined
  }
}
