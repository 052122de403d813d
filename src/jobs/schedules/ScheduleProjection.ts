/**
 * Which schedules there are and when each is due next, so that the scheduler finds the earliest by index and lists need
 * no actor. A deleted schedule has no row.
 */
import type { InlineProjection } from "../../journal/InlineProjection.ts"
import type { ScheduleEvent } from "./ScheduleEvents.ts"

const INSERT = "INSERT INTO schedules (position, next_tick_at, paused, last_job) VALUES (?, ?, 0, NULL)"
/** Of a stream's schedule. Indexes: events UNIQUE (stream, version), then the primary key. */
const OF_STREAM = "WHERE position = (SELECT position FROM events WHERE stream = ? AND version = 1)"
const MOVE = `UPDATE schedules SET next_tick_at = ? ${OF_STREAM}`
const TICK = `UPDATE schedules SET next_tick_at = ?, last_job = ? ${OF_STREAM}`
const FORGET_JOB = `UPDATE schedules SET last_job = NULL ${OF_STREAM}`
const PAUSE = `UPDATE schedules SET paused = 1 ${OF_STREAM}`
const RESUME = `UPDATE schedules SET paused = 0, next_tick_at = ? ${OF_STREAM}`
const DELETE = `DELETE FROM schedules ${OF_STREAM}`

export const scheduleProjection = (): InlineProjection => ({
  name: "schedules",
  tables: ["schedules"],
  project: (db, events) => {
    for (const { event: recorded, position, stream } of events) {
      const event = recorded as ScheduleEvent
      switch (event._tag) {
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
          db.prepare(FORGET_JOB).run(stream)
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
