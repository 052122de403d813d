/** The queue tables as they are kept, and as they come out of the journal when they are built anew. */
import { Effect, Layer } from "effect"
import { jobEventTypes } from "../../src/jobs/JobEvents.ts"
import { jobProjection } from "../../src/jobs/JobProjection.ts"
import { EventCatalog } from "../../src/journal/DomainEvent.ts"
import { insertEvents } from "../../src/journal/EventRows.ts"
import type { RecordedEvent } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { filler } from "../support/FullDisk.ts"
import { inMemory } from "../support/TestDatabase.ts"

const TABLES = {
  jobs: "SELECT * FROM jobs ORDER BY position",
  job_keys: "SELECT * FROM job_keys ORDER BY queue, key",
  job_tags: "SELECT * FROM job_tags ORDER BY tag, position",
  job_dependencies: "SELECT * FROM job_dependencies ORDER BY dependency, dependent",
  job_counts: "SELECT * FROM job_counts ORDER BY queue, type, priority, status",
  queue_names: "SELECT * FROM queue_names ORDER BY id",
  job_types: "SELECT * FROM job_types ORDER BY id",
}

export const tables = Effect.map(SqliteClient, ({ writer }) =>
  Object.fromEntries(Object.entries(TABLES).map(([name, sql]) => [name, writer.prepareUncached(sql).all()])),
)

/**
 * The tables after a fresh projection has read the journal, some events at a time. `names`: the tables whose dictionaries it
 * starts with, where other events than these gave names their numbers.
 */
export const rebuild = (
  events: ReadonlyArray<RecordedEvent>,
  chunks: ReadonlyArray<number>,
  names?: Effect.Success<typeof tables>,
) =>
  Effect.gen(function* () {
    const { writer } = yield* SqliteClient
    const catalog = new EventCatalog([...jobEventTypes, filler])
    const projection = jobProjection()
    for (const table of ["queue_names", "job_types"])
      for (const row of names?.[table] ?? [])
        writer.prepareUncached(`INSERT INTO ${table} (id, name) VALUES (?, ?)`).run(row["id"]!, row["name"]!)
    writer.transaction(() => insertEvents(writer, catalog, events))
    for (let start = 0, i = 0; start < events.length; i++) {
      const end = start + chunks[i % chunks.length]!
      writer.transaction(() => projection.project(writer, events.slice(start, end)))
      // Now and then it remembers nothing, as after a rollback or a restart.
      if (i % 3 === 2) projection.forget()
      start = end
    }
    return yield* tables
  }).pipe(Effect.provide(Layer.fresh(inMemory)))
