/**
 * Which projects there are, for lists: newest first, archived ones left out.
 */
import type { InlineProjection } from "../../journal/InlineProjection.ts"

const INSERT = "INSERT INTO projects (position, archived) VALUES (?, 0)"
/** Indexes: events UNIQUE (stream, version), then the primary key. */
const ARCHIVE =
  "UPDATE projects SET archived = 1 WHERE position = (SELECT position FROM events WHERE stream = ? AND version = 1)"

export const projectProjection = (): InlineProjection => ({
  name: "projects",
  tables: ["projects"],
  project: (db, events) => {
    for (const { event, position, stream } of events) {
      if (event._tag === "ProjectCreated") db.prepare(INSERT).run(position)
      else if (event._tag === "ProjectArchived") db.prepare(ARCHIVE).run(stream)
    }
  },
  forget: () => {},
})
