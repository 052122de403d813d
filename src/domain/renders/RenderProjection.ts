/**
 * Which renders belong to which project, for lists. A render is a job of one type, so this reads job events.
 */
import { Predicate } from "effect"
import type { InlineProjection } from "../../journal/InlineProjection.ts"
import { isJobEvent } from "../../jobs/JobEvents.ts"

/** The job type of a render. */
export const RENDER_JOB_TYPE = "render:canvas"

const INSERT = "INSERT INTO renders (position, project) VALUES (?, ?)"
const DELETE = "DELETE FROM renders WHERE position = ?"

export const renderProjection = (): InlineProjection => ({
  name: "renders",
  tables: ["renders"],
  project: (db, events) => {
    for (const { event, position } of events) {
      if (!isJobEvent(event) || event._tag !== "JobEnqueued" || event.type !== RENDER_JOB_TYPE) continue
      const { payload } = event
      if (!Predicate.hasProperty(payload, "project_id") || typeof payload.project_id !== "string") continue
      db.prepare(INSERT).run(position, payload.project_id)
    }
  },
  remove: (db, events) => {
    for (const { event, position } of events) {
      if (isJobEvent(event) && event._tag === "JobEnqueued" && event.type === RENDER_JOB_TYPE)
        db.prepare(DELETE).run(position)
    }
  },
  forget: () => {},
})
