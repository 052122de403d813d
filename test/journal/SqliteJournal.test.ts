import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Schema, Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { join } from "node:path"
import { eventType, EventCatalog } from "../../src/journal/DomainEvent.ts"
import type { InlineProjection } from "../../src/journal/InlineProjection.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { filler, fillDisk, freeDisk } from "../support/FullDisk.ts"
import { databaseAt, inMemory, onFile } from "../support/TestDatabase.ts"
import { settle } from "../support/Turns.ts"
import { journalSuite } from "./JournalSuite.ts"
import { noted, testEvents } from "./TestEvents.ts"

const AT = 1_700_000_000_000

/** Writes a row for every note, and throws after it when the note says so. */
const notes = (): InlineProjection & { readonly forgotten: () => number } => {
  let forgotten = 0
  return {
    name: "notes",
    tables: ["notes"],
    project: (db, events) => {
      db.exec("CREATE TABLE IF NOT EXISTS notes (position INTEGER PRIMARY KEY, text TEXT UNIQUE) STRICT")
      for (const { event, position } of events) {
        if (event._tag !== "Noted") continue
        const { text } = event as ReturnType<typeof noted>
        db.prepare("INSERT INTO notes VALUES (?, ?)").run(position, text)
        if (text === "throw") throw new Error("no such note")
      }
    },
    forget: () => {
      forgotten++
    },
    forgotten: () => forgotten,
  }
}

const journalOn = (database: typeof inMemory, projections: ReadonlyArray<InlineProjection> = []) =>
  SqliteJournal.layer({ events: [...testEvents, filler], projections }).pipe(Layer.provideMerge(database))

journalSuite("in a file", journalOn(onFile))
journalSuite("in memory", journalOn(inMemory))

const note = (stream: string, expectedVersion: number, text: string) =>
  Effect.flatMap(Journal, (journal) =>
    journal.append([{ stream, expectedVersion, events: [noted(text)] }], AT),
  )

describe("appends in one turn of the event loop", () => {
  const commitsOf = (hasGathered: boolean) =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const sizes: Array<number> = []
      yield* journal.onCommit((events) => sizes.push(events.length))
      const context = yield* Effect.context<Journal>()
      // Each from a callback of its own, as those of different connections are.
      const fibers = ["a", "b", "c"].map(
        (stream) =>
          new Promise<Fiber.Fiber<unknown, unknown>>((resolve) =>
            setImmediate(() =>
              resolve(
                Effect.runForkWith(context)(
                  journal.append([{ stream, expectedVersion: 0, events: [noted(stream)] }], AT, {
                    hasGathered,
                  }),
                ),
              ),
            ),
          ),
      )
      for (const fiber of fibers) yield* Fiber.join(yield* Effect.promise(() => fiber))
      return sizes
    }).pipe(Effect.scoped, Effect.provide(journalOn(inMemory)))

  it.effect("share a commit, unless they come from who has gathered already", () =>
    Effect.gen(function* () {
      expect(yield* commitsOf(false)).toEqual([3])
      expect(yield* commitsOf(true)).toEqual([1, 1, 1])
    }),
  )
})

const outcomeOf = <A, R>(effect: Effect.Effect<A, { readonly reason: { readonly _tag: string } }, R>) =>
  Effect.match(effect, { onSuccess: () => "ok", onFailure: ({ reason }) => reason._tag })

const texts = Effect.gen(function* () {
  const journal = yield* Journal
  const events = yield* journal.readAll({ afterPosition: 0, limit: 10_000 })
  return events.flatMap(({ event }) =>
    event._tag === "Noted" ? [(event as ReturnType<typeof noted>).text] : [],
  )
})

const rowsOf = (sql: string) => Effect.map(SqliteClient, ({ writer }) => writer.prepareUncached(sql).all())

const insertRaw = (type: string, revision: number, data: object) =>
  Effect.map(SqliteClient, ({ writer }) =>
    writer
      .prepare(
        `INSERT INTO events (position, stream, version, type, revision, data, metadata, recorded_at)
         SELECT coalesce(max(position), 0) + 1, 'old', coalesce(max(version), 0) + 1, ?, ?, ?, NULL, ? FROM events`,
      )
      .run(type, revision, JSON.stringify(data), AT),
  )

for (const [where, database] of [
  ["in a file", onFile],
  ["in memory", inMemory],
] as const) {
  describe(`SqliteJournal ${where}`, () => {
    it.effect("refuses to change or to delete what was recorded", () =>
      Effect.gen(function* () {
        yield* note("a", 0, "1")
        const { writer } = yield* SqliteClient
        expect(() => writer.exec("UPDATE events SET data = '{}'")).toThrow("events are immutable")
        expect(() => writer.exec("DELETE FROM events")).toThrow("events are immutable")
        expect(() => writer.exec("DELETE FROM events WHERE position = 1")).toThrow("events are immutable")
        expect(() => writer.exec("UPDATE events SET position = 9 WHERE stream = 'a'")).toThrow("immutable")
        expect(yield* texts).toEqual(["1"])
      }).pipe(Effect.provide(journalOn(database))),
    )

    it.effect("reads events of older revisions in their newest shape", () =>
      Effect.gen(function* () {
        yield* insertRaw("Counted", 1, { n: "7" })
        yield* insertRaw("Counted", 2, { n: 8 })
        yield* insertRaw("Counted", 3, { count: 9, unit: "kg" })
        const journal = yield* Journal
        expect((yield* journal.readStream("old")).map(({ event }) => event)).toEqual([
          { _tag: "Counted", count: 7, unit: "piece" },
          { _tag: "Counted", count: 8, unit: "piece" },
          { _tag: "Counted", count: 9, unit: "kg" },
        ])
      }).pipe(Effect.provide(journalOn(database))),
    )

    it.effect(
      "answers a typed error for types and revisions that it does not know, and goes on with the rest",
      () =>
        Effect.gen(function* () {
          const journal = yield* Journal
          yield* insertRaw("Counted", 4, { count: 1, unit: "kg", colour: "red" })
          const newer = yield* Effect.flip(journal.readStream("old"))
          expect(newer.reason).toMatchObject({ _tag: "StoreFailed", cause: { _tag: "UnreadableEvent" } })
          yield* insertRaw("Vanished", 1, {})
          const unknown = yield* Effect.flip(journal.readStream("old", { afterVersion: 1 }))
          expect(unknown.reason).toMatchObject({ cause: { _tag: "UnreadableEvent", type: "Vanished" } })
          expect(
            yield* outcomeOf(
              journal.append([{ stream: "b", expectedVersion: 0, events: [{ _tag: "Unheard" }] }], AT),
            ),
          ).toBe("StoreFailed")
          yield* insertRaw("Noted", 1, { text: "fine" })
          expect(yield* journal.readStream("old", { afterVersion: 2 })).toHaveLength(1)
        }).pipe(Effect.provide(journalOn(database))),
    )

    it.effect("an append of an unknown type fails alone", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const unknown = journal.append(
          [{ stream: "x", expectedVersion: 0, events: [{ _tag: "Unheard" }] }],
          AT,
        )
        const outcomes = yield* Effect.all([note("a", 0, "1"), unknown, note("b", 0, "2")].map(outcomeOf), {
          concurrency: "unbounded",
        })
        expect(outcomes).toEqual(["ok", "StoreFailed", "ok"])
        expect(yield* texts).toEqual(["1", "2"])
      }).pipe(Effect.provide(journalOn(database))),
    )

    it.effect("a throwing projection fails only its own append, and no row of it remains", () => {
      const projection = notes()
      return Effect.gen(function* () {
        const outcomes = yield* Effect.all(
          [note("a", 0, "1"), note("b", 0, "throw"), note("c", 0, "2")].map(outcomeOf),
          { concurrency: "unbounded" },
        )
        expect(outcomes).toEqual(["ok", "StoreFailed", "ok"])
        expect(projection.forgotten()).toBeGreaterThan(0)
        expect(yield* outcomeOf(note("b", 0, "throw"))).toBe("StoreFailed")
        expect(yield* texts).toEqual(["1", "2"])
        expect(yield* rowsOf("SELECT * FROM notes ORDER BY position")).toEqual([
          { position: 1, text: "1" },
          { position: 2, text: "2" },
        ])
        expect(yield* outcomeOf(note("b", 0, "3"))).toBe("ok")
      }).pipe(Effect.provide(journalOn(database, [projection])))
    })

    it.effect("a key that a projection refuses is not taken for a version conflict", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* note("a", 0, "taken")
        const events = [noted("fresh"), noted("taken")]
        const twice = [
          { stream: "b", expectedVersion: 0, events: [events[0]!] },
          { stream: "b", expectedVersion: 1, events: [events[1]!] },
        ]
        expect(yield* outcomeOf(journal.append(twice, AT))).toBe("StoreFailed")
        expect(yield* texts).toEqual(["taken"])
      }).pipe(Effect.provide(journalOn(database, [notes()]))),
    )

    it.effect("a full disk is told, stores nothing, and needs no repair", () => {
      const projection = notes()
      return Effect.gen(function* () {
        const journal = yield* Journal
        yield* note("a", 0, "before")
        const { writer } = yield* SqliteClient
        yield* fillDisk
        const head = yield* journal.head
        const outcomes = yield* Effect.all(
          ["b", "c", "d"].map((stream) => outcomeOf(note(stream, 0, `in ${stream}: ${"x".repeat(10_000)}`))),
          { concurrency: "unbounded" },
        )
        expect(outcomes).toEqual(["StoreFull", "StoreFull", "StoreFull"])
        expect(yield* outcomeOf(note("b", 0, "alone"))).toBe("StoreFull")
        expect(writer.isTransaction).toBe(false)
        expect(yield* texts).toEqual(["before"])
        expect(yield* journal.head).toBe(head)
        yield* freeDisk
        expect(yield* outcomeOf(note("b", 0, "after"))).toBe("ok")
        expect(yield* journal.head).toBe(head + 1)
        expect((yield* rowsOf("SELECT text FROM notes ORDER BY position")).map((row) => row["text"])).toEqual(
          yield* texts,
        )
        expect(yield* rowsOf("PRAGMA integrity_check")).toEqual([{ integrity_check: "ok" }])
      }).pipe(Effect.provide(journalOn(database, [projection])))
    })

    it.effect("closing commits what was submitted, and refuses what comes later", () =>
      Effect.gen(function* () {
        const scope = yield* Scope.make()
        const context = yield* Layer.buildWithScope(journalOn(database), scope)
        const append = (stream: string) => Effect.provide(outcomeOf(note(stream, 0, stream)), context)
        const submitted = yield* Effect.forkChild(append("a"), { startImmediately: true })
        yield* Scope.close(scope, Exit.void)
        expect(yield* Fiber.join(submitted)).toBe("ok")
        expect(yield* append("b")).toBe("StoreFailed")
      }),
    )
  })
}

describe("SqliteJournal over time", () => {
  it.effect("survives being closed and opened again", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      const open = journalOn(databaseAt(filename))
      const first = yield* Effect.provide(note("a", 0, "1"), open)
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        expect(yield* journal.head).toBe(1)
        expect(yield* journal.readStream("a")).toEqual(first)
        expect(yield* outcomeOf(note("a", 0, "x"))).toBe("VersionConflict")
        expect(yield* outcomeOf(note("a", 2, "x"))).toBe("VersionConflict")
        yield* note("a", 1, "2")
        expect(yield* texts).toEqual(["1", "2"])
      }).pipe(Effect.provide(open))
    }),
  )

  it.effect("what was submitted before the close is there after the next opening", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      const open = journalOn(databaseAt(filename))
      yield* Effect.provide(
        Effect.forkChild(
          Effect.forEach(["a", "b", "c"], (stream) => note(stream, 0, stream), { concurrency: "unbounded" }),
          { startImmediately: true },
        ),
        open,
      )
      expect(yield* Effect.provide(texts, open)).toEqual(["a", "b", "c"])
    }),
  )

  it.effect("a SqlClient transaction delays appends, and breaks neither", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const opened = yield* Deferred.make<void>()
      const finish = yield* Deferred.make<void>()
      yield* sql`CREATE TABLE other (n INTEGER) STRICT`
      const transaction = yield* Effect.forkChild(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO other VALUES (1)`
            yield* Deferred.succeed(opened, undefined)
            yield* Deferred.await(finish)
            yield* sql`INSERT INTO other VALUES (2)`
          }),
        ),
      )
      yield* Deferred.await(opened)
      const appends = yield* Effect.forkChild(
        Effect.all([note("a", 0, "1"), note("b", 0, "2")].map(outcomeOf), { concurrency: "unbounded" }),
        { startImmediately: true },
      )
      yield* settle
      expect(appends.pollUnsafe()).toBeUndefined()
      expect(yield* texts).toEqual([])
      yield* Deferred.succeed(finish, undefined)
      expect(yield* Fiber.join(appends)).toEqual(["ok", "ok"])
      yield* Fiber.join(transaction)
      expect(yield* sql`SELECT n FROM other`).toEqual([{ n: 1 }, { n: 2 }])
      expect(yield* texts).toEqual(["1", "2"])
    }).pipe(Effect.provide(journalOn(onFile))),
  )

  it.effect("an append whose caller has gone is committed all the same", () =>
    Effect.gen(function* () {
      const caller = yield* Effect.forkChild(note("a", 0, "1"), { startImmediately: true })
      yield* Fiber.interrupt(caller)
      yield* note("b", 0, "2")
      expect(yield* texts).toEqual(["1", "2"])
    }).pipe(Effect.provide(journalOn(onFile))),
  )

  it.effect("a subscription ends with its reader and leaves nothing behind", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const heard: Array<number> = []
      const reader = yield* Effect.forkChild(
        Stream.runForEach(journal.subscribe({ afterPosition: 0 }), ({ position }) =>
          Effect.sync(() => heard.push(position)),
        ),
      )
      yield* note("a", 0, "1")
      yield* settle
      yield* Fiber.interrupt(reader)
      yield* note("a", 1, "2")
      yield* settle
      expect(heard).toEqual([1])
    }).pipe(Effect.provide(journalOn(onFile))),
  )
})

describe("the catalogue of events", () => {
  it("takes every type once", () => {
    const twice = eventType(Schema.TaggedStruct("Noted", {}))
    expect(() => new EventCatalog([...testEvents, twice])).toThrow("two event types are called Noted")
  })

  it("checks data against the schema when it is asked to", () => {
    const catalog = new EventCatalog(testEvents)
    expect(catalog.decodeChecked("Counted", 1, '{"n":"3"}')).toEqual({
      _tag: "Counted",
      count: 3,
      unit: "piece",
    })
    expect(() => catalog.decodeChecked("Counted", 3, '{"count":"three","unit":"kg"}')).toThrow(
      "cannot read Counted",
    )
  })

  it("writes the newest revision", () => {
    const catalog = new EventCatalog(testEvents)
    expect(catalog.encode({ _tag: "Counted", count: 1, unit: "kg" } as never)).toEqual({
      type: "Counted",
      revision: 3,
      data: '{"count":1,"unit":"kg"}',
    })
  })
})
