/** A journal of notes in a folder, with an archive beside it and a table that is the fold of what is in the journal. */
import { Effect, Layer } from "effect"
import { join } from "node:path"
import { Archive } from "../../src/journal/Archive.ts"
import { JournalArchive } from "../../src/journal/Archiving.ts"
import { auditArchive } from "../../src/journal/ArchiveAudit.ts"
import { SELECT_VERSION } from "../../src/journal/EventRows.ts"
import type { InlineProjection } from "../../src/journal/InlineProjection.ts"
import { EventCatalog } from "../../src/journal/DomainEvent.ts"
import { StreamReader } from "../../src/journal/StreamReader.ts"
import { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import { Journal, type RecordedEvent } from "../../src/journal/Journal.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { filler } from "../support/FullDisk.ts"
import { databaseAt } from "../support/TestDatabase.ts"
import { noted, testEvents } from "./TestEvents.ts"

export const AT = 1_700_000_000_000

/** A row for every note, gone when its stream is. */
export const notes = (onRemove: () => void = () => {}): InlineProjection => {
  const isNote = ({ event }: { readonly event: { readonly _tag: string } }) => event._tag === "Noted"
  return {
    name: "notes",
    tables: ["notes"],
    project: (db, events) => {
      db.exec("CREATE TABLE IF NOT EXISTS notes (position INTEGER PRIMARY KEY, text TEXT) STRICT")
      for (const { event, position } of events.filter(isNote))
        db.prepare("INSERT INTO notes VALUES (?, ?)").run(position, (event as ReturnType<typeof noted>).text)
    },
    remove: (db, events) => {
      for (const { position } of events.filter(isNote))
        db.prepare("DELETE FROM notes WHERE position = ?").run(position)
      onRemove()
    },
    forget: () => {},
  }
}

export const filesIn = (folder: string) => ({
  database: join(folder, "journal.db"),
  archive: join(folder, "old", "archive.db"),
  events: [...testEvents, filler],
})

/** The journal of a folder: opened anew each time it is provided, like a process that starts. */
export const journalIn = (folder: string, projection = notes()) => {
  const { archive, database, events } = filesIn(folder)
  return SqliteJournal.layer({ events, projections: [projection], archive }).pipe(
    Layer.provideMerge(databaseAt(database)),
    Layer.fresh,
  )
}

export const note = (stream: string, expectedVersion: number, ...texts: ReadonlyArray<string>) =>
  Effect.flatMap(Journal, (journal) =>
    journal.append([{ stream, expectedVersion, events: texts.map(noted) }], AT),
  )

export const read = (stream: string) => Effect.flatMap(Journal, (journal) => journal.readStream(stream))
export const everything = Effect.flatMap(Journal, (journal) =>
  journal.readAll({ afterPosition: 0, limit: 100_000 }),
)
/** Moves streams as they are now. */
export const move = (...streams: ReadonlyArray<string>) =>
  Effect.gen(function* () {
    const archive = yield* JournalArchive
    const { reader } = yield* SqliteClient
    return yield* archive.move(
      streams.map((stream) => ({
        stream,
        version: reader.prepare(SELECT_VERSION).get(stream)!["version"] as number,
      })),
    )
  })

export const rowsOf = (sql: string) =>
  Effect.map(SqliteClient, ({ writer }) => writer.prepareUncached(sql).all())

/** Reads a stream as a tool does, from the files alone. */
export const readFiles = (
  { archive, database, events }: ReturnType<typeof filesIn>,
  stream: string,
): ReadonlyArray<RecordedEvent> => {
  using journal = SqliteDatabase.open({ filename: database, readOnly: true })
  const old = new Archive(archive, { readOnly: true })
  try {
    return new StreamReader({ journal, archive: old, catalog: new EventCatalog(events) }).read(stream)
  } finally {
    old.close()
  }
}

/** What an audit of the folder's two files finds. */
export const audit = (folder: string) =>
  Effect.flatMap(SqliteClient, ({ reader }) =>
    auditArchive({ journal: reader, archive: filesIn(folder).archive }),
  )
