/**
 * Which schedules there are and when each is due next, so that the scheduler finds the earliest by index and lists need
 * no actor. A deleted schedule has no row. It also keeps the job that a tick has promised until that job is there: what a
 * crash in between leaves open is then known, and stays so when the streams of old jobs have left the journal.
 */
import type { InlineProjection } from "../../journal/InlineProjection.ts"
import type { RecordedEvent } from "../../journal/Journal.ts"
import type { SqliteDatabase } from "../../sqlite/SqliteDatabase.ts"
import type { JobEvent } from "../JobEvents.ts"
import type { ScheduleEvent } from "./ScheduleEvents.ts"

const INSERT = "INSERT INTO schedules (position, next_tick_at, paused, owed_job) VALUES (?, ?, 0, NULL)"
/** Of a stream's schedule. Indexes: events UNIQUE (stream, version), then the primary key. */
const OF_STREAM = "WHERE position = (SELECT position FROM events WHERE stream = ? AND version = 1)"
const MOVE = `UPDATE schedules SET next_tick_at = ? ${OF_STREAM}`
const TICK = `UPDATE schedules SET next_tick_at = ?, owed_job = ? ${OF_STREAM}`
const SETTLE = `UPDATE schedules SET owed_job = NULL ${OF_STREAM} AND owed_job = ?`
const PAUSE = `UPDATE schedules SET paused = 1 ${OF_STREAM}`
const RESUME = `UPDATE schedules SET paused = 0, next_tick_at = ? ${OF_STREAM}`
const DELETE = `DELETE FROM schedules ${OF_STREAM}`

export const scheduleProjection = (): InlineProjection => ({
  name: "schedules",
  tables: ["schedules"],
  project: (db, events) => {
    for (const recorded of events) {
      const { position, stream } = recorded
      const event = recorded.event as ScheduleEvent | JobEvent
      switch (event._tag) {
        case "JobEnqueued":
          settle(db, recorded)
          break
        case "ScheduleCreated":
          db.prepare(INSERT).run(position, event.next_tick_at)
          break
        case "ScheduleUpdated":
        case "ScheduleTicksSkipped":
          db.prepare(MOVE).run(event.next_tick_at, stream)
          break
        case "ScheduleTicked":
          db.prepare(TICK).run(event.next_tick_at, event.job_id, stream)
          break
        case "ScheduleJobRefused":
          db.prepare(SETTLE).run(stream, event.job_id)
          break
        case "SchedulePaused":
          db.prepare(PAUSE).run(stream)
          break
        case "ScheduleResumed":
          db.prepare(RESUME).run(event.next_tick_at, stream)
          break
        case "ScheduleDeleted":
          db.prepare(DELETE).run(stream)
      }
    }
  },
  forget: () => {},
})

/** The job is there. Every other job passes at the cost of looking at its metadata. */
const settle = (db: SqliteDatabase, { metadata, stream }: RecordedEvent) => {
  const cause = metadata?.causation_id
  if (cause?.startsWith("sched_") === true) db.prepare(SETTLE).run(cause, stream)
}
