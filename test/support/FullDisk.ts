/** A disk without room, by SQLite's page limit: real `SQLITE_FULL` errors without privileges. */
import { Effect, Schema } from "effect"
import { eventType } from "../../src/journal/DomainEvent.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"

const PAGES_MAX = 1_073_741_823
const FILLER_STREAM = "f"

/** Takes up what room is left in the last page: smaller than any event of the tests. Put it in the catalogue. */
export const filler = eventType(Schema.TaggedStruct("F", {}))

const limitTo = (pages: number) =>
  Effect.map(SqliteClient, ({ writer }) => writer.exec(`PRAGMA max_page_count = ${pages}`))

/** From now on nothing fits that needs a page of its own; a small event still may. */
export const fillPages = Effect.asVoid(limitTo(1))

/** From now on no event fits any more. */
export const fillDisk = Effect.gen(function* () {
  const journal = yield* Journal
  yield* fillPages
  let version = (yield* journal.readStream(FILLER_STREAM)).length
  const fill = Effect.suspend(() =>
    journal.append([{ stream: FILLER_STREAM, expectedVersion: version, events: [{ _tag: "F" }] }], 0),
  ).pipe(
    Effect.tap(() => Effect.sync(() => version++)),
    Effect.forever,
  )
  yield* Effect.flip(fill)
})

/** There is room again. */
export const freeDisk = Effect.asVoid(limitTo(PAGES_MAX))
