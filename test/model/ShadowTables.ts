/** The queue tables as a projection of their own makes them, in a database of their own, from what the journal says. */
import { Context, Effect } from "effect"
import { isDeepStrictEqual } from "node:util"
import { jobEventTypes } from "../../src/jobs/JobEvents.ts"
import { jobProjection } from "../../src/jobs/JobProjection.ts"
import { queueEventTypes } from "../../src/jobs/QueueBehavior.ts"
import { EventCatalog } from "../../src/journal/DomainEvent.ts"
import { insertEvents } from "../../src/journal/EventRows.ts"
import type { RecordedEvent } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { tables } from "../jobs/JobTables.ts"
import { filler } from "../support/FullDisk.ts"

export class ShadowTables {
  readonly #database: Context.Context<SqliteClient>
  readonly #catalog = new EventCatalog([...jobEventTypes, ...queueEventTypes, filler])
  readonly #projection = jobProjection()
  #head = 0

  constructor(database: Context.Context<SqliteClient>) {
    this.#database = database
  }

  /** What differs from the tables as they are kept, after these events: the whole journal, of which it has seen a part. */
  differenceAfter(
    journal: ReadonlyArray<RecordedEvent>,
    kept: Effect.Success<typeof tables>,
  ): string | undefined {
    const { writer } = Context.get(this.#database, SqliteClient)
    const fresh = journal.slice(this.#head)
    this.#head = journal.length
    writer.transaction(() => {
      insertEvents(writer, this.#catalog, fresh)
      this.#projection.project(writer, fresh)
    })
    const made = Effect.runSync(Effect.provideContext(tables, this.#database))
    const table = Object.keys(made).find((name) => !isDeepStrictEqual(made[name], kept[name]))
    if (table === undefined) return undefined
    return `${table} is ${JSON.stringify(kept[table])} and should be ${JSON.stringify(made[table])}`
  }
}
