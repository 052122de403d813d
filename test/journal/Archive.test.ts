import { assert, describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import * as fc from "fast-check"
import { spawn } from "node:child_process"
import { copyFileSync, existsSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { ArchiveError } from "../../src/journal/ArchiveError.ts"
import { ArchiveFile } from "../../src/journal/ArchiveFile.ts"
import { JournalArchive } from "../../src/journal/Archiving.ts"
import type { EventRow } from "../../src/journal/EventRows.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { SELECT_UNCHANGED, DELETE_STREAMS } from "../../src/journal/StreamRemoval.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { forAll } from "../support/Property.ts"
import { settle } from "../support/Turns.ts"
import {
  AT,
  audit,
  everything,
  filesIn,
  journalIn,
  move,
  note,
  read,
  readFiles,
  rowsOf,
} from "./ArchiveFixture.ts"
import { noted } from "./TestEvents.ts"

const PROGRAM = fileURLToPath(new URL("./ArchivingProcess.ts", import.meta.url))

const outcomeOf = <A, E extends { readonly reason: { readonly _tag: string } }, R>(
  effect: Effect.Effect<A, E, R>,
) => Effect.match(effect, { onSuccess: () => "ok", onFailure: ({ reason }) => reason._tag })

/** Why the archive could not be used, whoever says so. */
const archiveFault = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.flip(effect), (error) => {
    const cause =
      error instanceof ArchiveError ? error : (error as { reason: { cause: unknown } }).reason.cause
    assert.instanceOf(cause, ArchiveError)
    return cause.reason._tag
  })

/** Streams of notes; some of one event, some of several, and texts that are awkward to keep. */
const histories = fc.record({
  streams: fc.array(
    fc.record({
      texts: fc.array(
        fc.oneof(
          fc.string({ unit: "binary", maxLength: 20 }),
          fc.constantFrom("", "\n", '"\\\u0000', "über 🦉", "x".repeat(5_000)),
        ),
        { minLength: 1, maxLength: 5 },
      ),
      principal: fc.option(fc.string({ maxLength: 8 })),
    }),
    { minLength: 1, maxLength: 12 },
  ),
  /** In which round each stream leaves, if it does. */
  rounds: fc.array(fc.constantFrom(0, 1, 2, undefined), { minLength: 12, maxLength: 12 }),
})

describe("the archive", () => {
  it.effect("gives back every stream as it was, and the journal keeps the rest, with its projections", () =>
    forAll(
      histories,
      ({ rounds, streams }) =>
        Effect.gen(function* () {
          const folder = yield* temporaryFolder
          const names = streams.map((_, i) => `job_${i}`)
          const kept = names.filter((_, i) => rounds[i] === undefined)
          const remaining = (all: Effect.Success<typeof everything>) =>
            all.filter(({ stream }) => kept.includes(stream))
          const [before, all] = yield* Effect.gen(function* () {
            const journal = yield* Journal
            const longest = Math.max(...streams.map(({ texts }) => texts.length))
            // Event by event in turn, so that positions of streams lie between each other.
            for (let version = 0; version < longest; version++)
              for (const [i, { principal, texts }] of streams.entries()) {
                const text = texts[version]
                if (text === undefined) continue
                const metadata = principal === null ? undefined : { principal }
                const events = [noted(text)]
                yield* journal.append([{ stream: names[i]!, expectedVersion: version, events, metadata }], AT)
              }
            const before = yield* Effect.forEach(names, read)
            const all = yield* everything
            for (const round of [0, 1, 2]) {
              const leaving = names.filter((_, i) => rounds[i] === round)
              expect(yield* move(...leaving)).toMatchObject({ streams: leaving.length, stayed: 0 })
            }
            expect(yield* Effect.forEach(names, read)).toEqual(before)
            return [before, all] as const
          }).pipe(Effect.provide(journalIn(folder)))
          yield* Effect.gen(function* () {
            const journal = yield* Journal
            expect(yield* Effect.forEach(names, read)).toEqual(before)
            for (const [i, events] of before.entries()) {
              expect(yield* journal.readStream(names[i]!, { afterVersion: 1, limit: 2 })).toEqual(
                events.slice(1, 3),
              )
              expect(yield* journal.isArchived(names[i]!)).toBe(rounds[i] !== undefined)
            }
            expect(yield* everything).toEqual(remaining(all))
            expect(yield* rowsOf("SELECT position, text FROM notes ORDER BY position")).toEqual(
              remaining(all).map(({ event, position }) => ({
                position,
                text: (event as { text?: string }).text,
              })),
            )
            expect(yield* journal.head).toBe(all.length)
            const found = yield* audit(folder)
            const left = all.filter(({ stream }) => !kept.includes(stream))
            expect(all.filter(({ position }) => found.archived.has(position))).toEqual(left)
            expect(found.archived.countWithin(1, all.length)).toBe(left.length)
            expect(found).toMatchObject({
              streams: names.length - kept.length,
              events: all.length - remaining(all).length,
              unfinished: 0,
              head: all.length,
              faults: [],
            })
          }).pipe(Effect.provide(journalIn(folder)))
        }).pipe(Effect.scoped, Effect.orDie),
      { runs: 25 },
    ),
  )

  it.effect("holds more than a reader keeps in memory", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        // Each fills a block by itself, and together they are three times what is kept decompressed.
        const names = Array.from({ length: 40 }, (_, i) => `job_${i}`)
        const texts = names.map((name) => name.repeat(300_000 / name.length))
        yield* Effect.forEach(names, (name, i) => note(name, 0, texts[i]!))
        expect(yield* move(...names)).toMatchObject({ streams: 40 })
        for (const order of [names, names.toReversed(), names])
          for (const name of order)
            expect((yield* read(name)).map(({ event }) => event)).toEqual([
              noted(texts[names.indexOf(name)]!),
            ])
        expect(yield* audit(folder)).toMatchObject({ blocks: 40, faults: [] })
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("is one file after a move, which tools read beside the journal that runs", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const files = filesIn(folder)
      yield* Effect.gen(function* () {
        expect(existsSync(files.archive)).toBe(false)
        expect(readFiles(files, "job_1")).toEqual([])
        const here = yield* note("job_1", 0, "here")
        const gone = yield* note("job_2", 0, "gone", "too")
        yield* move("job_2", "job_2", "job_unheard")
        expect(readFiles(files, "job_1")).toEqual(here)
        expect(readFiles(files, "job_2")).toEqual(gone)
        expect(readFiles(files, "job_3")).toEqual([])
        const copy = join(folder, "copy.db")
        copyFileSync(files.archive, copy)
        expect(readFiles({ ...files, archive: copy }, "job_2")).toEqual(gone)
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("tells a subscriber of a stream that left what it had not read yet", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const texts = Array.from({ length: 300 }, (_, i) => String(i))
        const all = yield* note("job_1", 0, ...texts)
        const reader = yield* Effect.forkChild(
          journal.subscribeStream("job_1").pipe(
            Stream.mapEffect((event) =>
              event.version === 100 ? Effect.as(Effect.orDie(move("job_1")), event) : Effect.succeed(event),
            ),
            Stream.take(300),
            Stream.runCollect,
          ),
        )
        expect(yield* Fiber.join(reader)).toEqual(all)
        expect(yield* journal.isArchived("job_1")).toBe(true)
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )
})

describe("the journal", () => {
  it.effect("lets events leave by the archive's way and by no other", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        yield* note("job_1", 0, "1")
        yield* note("job_2", 0, "2")
        const { writer } = yield* SqliteClient
        const permit = "INSERT INTO archiving (stream) VALUES ('job_1')"
        const refused = (message: string, ...statements: ReadonlyArray<string>) =>
          expect(() => writer.transaction(() => statements.forEach((sql) => writer.exec(sql)))).toThrow(
            message,
          )
        refused("events are immutable", "DELETE FROM events")
        refused("events are immutable", permit, "DELETE FROM events WHERE stream = 'job_2'")
        refused("events are immutable", permit, "DELETE FROM events")
        refused("events are immutable", permit, "UPDATE events SET data = '{}' WHERE stream = 'job_1'")
        refused(
          "events are immutable",
          "INSERT OR REPLACE INTO events SELECT * FROM events WHERE position = 1",
        )
        // A permit ends with its transaction, and nothing makes one last.
        refused("FOREIGN KEY constraint failed", permit)
        refused("FOREIGN KEY constraint failed", permit, "DELETE FROM events WHERE stream = 'job_1'")
        refused("CHECK constraint failed", "INSERT INTO archiving_is_over VALUES (1)")
        refused("CHECK constraint failed", "INSERT INTO archiving_is_over DEFAULT VALUES")
        expect(yield* everything).toHaveLength(2)
        yield* move("job_1")
        expect(yield* rowsOf("SELECT * FROM archiving")).toEqual([])
        refused("events are immutable", "DELETE FROM events")
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("never begins an archived stream again, and never gives a position twice", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        yield* note("job_1", 0, "1")
        yield* note("job_2", 0, "2", "3")
        yield* move("job_1", "job_2")
        expect(yield* outcomeOf(note("job_2", 0, "again"))).toBe("VersionConflict")
        expect(yield* outcomeOf(note("job_2", 2, "more"))).toBe("VersionConflict")
      }).pipe(Effect.provide(journalIn(folder)))
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        expect(yield* journal.head).toBe(3)
        const outcomes = yield* Effect.all(
          [
            note("job_1", 0, "again"),
            note("job_0", 0, "older and never archived"),
            note("job_2", 2, "more"),
            note("job_3", 0, "younger"),
          ].map(outcomeOf),
          { concurrency: "unbounded" },
        )
        expect(outcomes).toEqual(["VersionConflict", "ok", "VersionConflict", "ok"])
        expect((yield* everything).map(({ position, stream }) => [position, stream])).toEqual([
          [4, "job_0"],
          [5, "job_3"],
        ])
        expect(yield* audit(folder)).toMatchObject({ streams: 2, events: 3, faults: [] })
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("takes nothing in that refers to a stream which has left", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        yield* note("job_1", 0, "1")
        const refer = (stream: string) =>
          journal.append([{ stream, expectedVersion: 0, events: [noted("x")], requires: ["job_1"] }], AT)
        expect(yield* outcomeOf(refer("job_2"))).toBe("ok")
        yield* move("job_1")
        expect(yield* outcomeOf(refer("job_3"))).toBe("VersionConflict")
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("does not go back to a release that knows no archive once something is in it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        const { writer } = yield* SqliteClient
        const migrations = yield* Migrations.load(Migrations.defaultFolder)
        const own = migrations.findIndex(({ name }) => name === "archive")
        const steps = migrations.length - own
        yield* Migrations.rollback(writer, migrations, steps)
        expect(() => writer.exec("DELETE FROM archived")).toThrow("no such table")
        yield* Migrations.run(writer, migrations)
        yield* note("job_1", 0, "1")
        yield* move("job_1")
        const error = yield* Effect.flip(Migrations.rollback(writer, migrations, steps))
        expect(String(error.reason)).toContain("nothing_is_archived")
        expect(yield* read("job_1")).toHaveLength(1)
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("loses nothing while others append, also to streams that are about to leave", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const names = Array.from({ length: 200 }, (_, i) => `job_${String(i).padStart(3, "0")}`)
        yield* Effect.forEach(names, (name) => note(name, 0, "first"), { concurrency: "unbounded" })
        const told: Array<readonly [string, string]> = []
        const append = (stream: string, version: number, text: string) =>
          Effect.map(outcomeOf(note(stream, version, text)), (outcome) =>
            told.push([`${stream}/${text}`, outcome]),
          )
        yield* Effect.all(
          [
            move(...names),
            Effect.forEach(names, (name, i) => (i % 3 === 0 ? append(name, 1, "second") : settleABit(i))),
            Effect.forEach(names, (_, i) => append(`new_${i}`, 0, "first"), { concurrency: 8 }),
          ],
          { concurrency: "unbounded" },
        )
        const outcomes = new Map(told)
        for (const [i, name] of names.entries()) {
          const accepted = outcomes.get(`${name}/second`) === "ok"
          expect(yield* read(name)).toHaveLength(accepted ? 2 : 1)
          if (i % 3 === 0 && !accepted) expect(yield* journal.isArchived(name)).toBe(true)
        }
        expect([...outcomes].filter(([key, outcome]) => key.startsWith("new") && outcome !== "ok")).toEqual(
          [],
        )
        const { faults } = yield* audit(folder)
        expect(faults).toEqual([])
        // What was written to meanwhile leaves with the next move, whole.
        yield* move(...names)
        expect(yield* audit(folder)).toMatchObject({ streams: 200, unfinished: 0, faults: [] })
        for (const name of names)
          expect(yield* read(name)).toHaveLength(outcomes.get(`${name}/second`) === "ok" ? 2 : 1)
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )
})

const settleABit = (i: number) => (i % 50 === 1 ? settle : Effect.void)

describe("a move that does not come to its end", () => {
  it.live(
    "is finished by the next one, wherever it was killed",
    () =>
      Effect.gen(function* () {
        const folder = yield* temporaryFolder
        const names = Array.from({ length: 300 }, (_, i) => `job_${String(i).padStart(3, "0")}`)
        const before = yield* Effect.gen(function* () {
          yield* Effect.forEach(names, (name) => note(name, 0, `first of ${name}`, "second"), {
            concurrency: "unbounded",
          })
          return yield* Effect.forEach(names, read)
        }).pipe(Effect.provide(journalIn(folder)))
        // At once, then after one more transaction: each life finds what the last one left.
        for (const killAt of [1, 2, 2]) {
          const signal = yield* Effect.callback<NodeJS.Signals | null>((resume) => {
            const child = spawn(process.execPath, [PROGRAM, folder, String(killAt)], { stdio: "inherit" })
            child.once("exit", (_, signal) => resume(Effect.succeed(signal)))
          })
          expect(signal).toBe("SIGKILL")
          yield* Effect.gen(function* () {
            expect(yield* Effect.forEach(names, read)).toEqual(before)
            const { faults, unfinished } = yield* audit(folder)
            expect(faults).toEqual([])
            expect(unfinished).toBeGreaterThan(0)
          }).pipe(Effect.provide(journalIn(folder)))
        }
        yield* Effect.gen(function* () {
          // The journal's copy is the one that counts, and goes on.
          const last = names.at(-1)!
          yield* note(last, 2, "third")
          expect(yield* read(last)).toHaveLength(3)
          yield* move(...names)
          expect(yield* everything).toEqual([])
          expect(yield* Effect.forEach(names.slice(0, -1), read)).toEqual(before.slice(0, -1))
          expect(yield* read(last)).toHaveLength(3)
          expect(yield* audit(folder)).toMatchObject({ streams: 300, events: 601, unfinished: 0, faults: [] })
        }).pipe(Effect.provide(journalIn(folder)))
      }),
    60_000,
  )

  it.effect("takes nothing out of the journal that the archive does not give back", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { archive } = filesIn(folder)
      yield* Effect.gen(function* () {
        yield* note("job_1", 0, "1")
        yield* move("job_1")
        yield* note("job_2", 0, "2")
        using forgetful = new DatabaseSync(archive)
        forgetful.exec(`CREATE TRIGGER forget AFTER INSERT ON streams BEGIN
          DELETE FROM streams WHERE stream = NEW.stream; END`)
        expect(yield* archiveFault(move("job_2"))).toBe("ArchiveCorrupt")
        forgetful.exec("DROP TRIGGER forget")
        expect((yield* everything).map(({ stream }) => stream)).toEqual(["job_2"])
        yield* move("job_2")
        expect(yield* audit(folder)).toMatchObject({ streams: 2, faults: [] })
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )

  it.effect("leaves a stream where it is that this release cannot read, and moves the others", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        const { writer } = yield* SqliteClient
        yield* note("job_1", 0, "1")
        writer.exec(`INSERT INTO events VALUES (2, 'job_2', 1, 'Unheard', 1, '{}', NULL, ${AT})`)
        writer.exec(`INSERT INTO events VALUES (3, 'job_3', 1, 'Noted', 1, '{"text":"3"}', NULL, ${AT})`)
        expect(yield* move("job_1", "job_2", "job_3")).toMatchObject({
          streams: 2,
          unreadable: 1,
          firstUnreadable: "job_2",
        })
        expect(yield* rowsOf("SELECT stream FROM events")).toEqual([{ stream: "job_2" }])
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )
})

describe("an archive that cannot be used", () => {
  /** A journal with one stream here and one gone, opened anew after something happened to the archive. */
  const after = (
    happening: (archive: string) => void,
    then: (
      archive: string,
      folder: string,
    ) => Effect.Effect<void, unknown, Journal | JournalArchive | SqliteClient>,
  ) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { archive } = filesIn(folder)
      yield* Effect.provide(
        Effect.gen(function* () {
          yield* note("job_5", 0, "gone")
          yield* move("job_5")
          yield* note("job_6", 0, "here")
        }),
        journalIn(folder),
      )
      happening(archive)
      yield* Effect.provide(then(archive, folder), journalIn(folder))
    }).pipe(Effect.scoped)

  /** Everything that has nothing to do with archived streams. */
  const goesOn = Effect.gen(function* () {
    expect(yield* read("job_6")).toHaveLength(1)
    expect(yield* outcomeOf(note("job_6", 1, "more"))).toBe("ok")
    expect(yield* outcomeOf(note("job_7", 0, "new"))).toBe("ok")
    expect(yield* read("job_8")).toEqual([])
  })

  it.effect("because it is missing is not taken for an empty one, and is used when it is back", () =>
    after(
      (archive) => renameSync(archive, `${archive}.away`),
      (archive, folder) =>
        Effect.gen(function* () {
          yield* goesOn
          expect(yield* archiveFault(read("job_5"))).toBe("ArchiveMissing")
          // Whether it ever was cannot be told: it is not begun.
          expect(yield* archiveFault(note("job_4", 0, "older"))).toBe("ArchiveMissing")
          expect(yield* archiveFault(move("job_6"))).toBe("ArchiveMissing")
          expect(yield* Effect.flip(audit(folder))).toMatchObject({ reason: { _tag: "ArchiveMissing" } })
          expect(existsSync(archive)).toBe(false)
          renameSync(`${archive}.away`, archive)
          expect(yield* read("job_5")).toHaveLength(1)
          expect(yield* outcomeOf(note("job_4", 0, "older"))).toBe("ok")
          yield* move("job_6")
          expect(yield* audit(folder)).toMatchObject({ streams: 2, faults: [] })
        }),
    ),
  )

  it.effect("because it is something else is told, and left as it is", () =>
    after(
      (archive) => {
        rmSync(archive)
        writeFileSync(
          archive,
          "not a database at all, but long enough to be taken for one by its size".repeat(20),
        )
      },
      (archive) =>
        Effect.gen(function* () {
          yield* goesOn
          expect(yield* archiveFault(read("job_5"))).toBe("ArchiveCorrupt")
          rmSync(archive)
          using other = new DatabaseSync(archive)
          other.exec("CREATE TABLE streams (mine TEXT)")
          expect(yield* archiveFault(read("job_5"))).toBe("ArchiveCorrupt")
          expect(yield* archiveFault(move("job_6"))).toBe("ArchiveCorrupt")
          expect(other.prepare("SELECT * FROM streams").all()).toEqual([])
          expect(yield* read("job_6")).toHaveLength(2)
        }),
    ),
  )

  it.effect("because a block is damaged is told for its streams, and by the audit", () =>
    after(
      (archive) => {
        using file = new DatabaseSync(archive)
        const { data } = file.prepare("SELECT data FROM blocks").get() as { data: Uint8Array }
        data[data.length - 6]! ^= 0xff
        file.prepare("UPDATE blocks SET data = ?").run(data)
      },
      (_, folder) =>
        Effect.gen(function* () {
          yield* goesOn
          expect(yield* archiveFault(read("job_5"))).toBe("ArchiveCorrupt")
          yield* move("job_6")
          expect(yield* read("job_6")).toHaveLength(2)
          const { faultCount, faults, streams } = yield* audit(folder)
          expect(streams).toBe(1)
          expect(faults).toEqual([
            expect.stringContaining("block 1: a block cannot be decompressed"),
            "2 streams are listed, and 1 are in the blocks",
            "3 events of 2 streams have left the journal, and the archive has 2 of 1",
            "position 1 is in neither file",
          ])
          expect(faultCount).toBe(4)
        }),
    ),
  )

  it.effect("because another program writes to it keeps streams where they are, and is tried again", () =>
    after(
      () => {},
      (archive) =>
        Effect.gen(function* () {
          using other = new DatabaseSync(archive)
          other.exec("BEGIN IMMEDIATE")
          yield* goesOn
          expect(yield* archiveFault(move("job_6"))).toBe("ArchiveLocked")
          expect(yield* read("job_5")).toHaveLength(1)
          expect((yield* everything).map(({ stream }) => stream)).toEqual(["job_6", "job_6", "job_7"])
          other.exec("ROLLBACK")
          expect(yield* move("job_6")).toMatchObject({ streams: 1 })
        }),
    ),
  )

  it.effect("because its disk is full says so, and keeps what it has", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "archive.db")
      const file = yield* Effect.acquireRelease(
        Effect.sync(() => ArchiveFile.open(filename, "create")),
        (file) => Effect.sync(() => file.close()),
      )
      const row = (stream: string, data: string): EventRow => ({
        position: 1,
        stream,
        version: 1,
        type: "Noted",
        revision: 1,
        data,
        metadata: null,
        recorded_at: AT,
      })
      const stored = (stream: string, data: string) => ({ stream, events: [row(stream, data)] })
      file.add([stored("job_1", "{}")], AT)
      file.database.exec("PRAGMA max_page_count = 1")
      const large = Array.from({ length: 5_000 }, (_, i) => Math.imul(i, 0x9e3779b1).toString(36)).join()
      expect(() => file.add([stored("job_2", large)], AT)).toThrow("its disk is full")
      expect(file.read("job_1")).toEqual(stored("job_1", "{}"))
      expect(file.has("job_2")).toBe(false)
    }),
  )
})

describe("the space of what has left", () => {
  const freed = (prepare: string) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      new DatabaseSync(filesIn(folder).database).exec(prepare)
      return yield* Effect.gen(function* () {
        yield* Effect.forEach(["job_1", "job_2"], (name) => note(name, 0, "x".repeat(1_000_000)))
        const pages = Effect.map(rowsOf("PRAGMA page_count"), ([row]) => row!["page_count"] as number)
        const before = yield* pages
        yield* move("job_1", "job_2")
        return before - (yield* pages)
      }).pipe(Effect.provide(journalIn(folder)))
    })

  it.effect(
    "goes back to the file system where the database was made for that, and is used again elsewhere",
    () =>
      Effect.gen(function* () {
        expect(yield* freed("PRAGMA auto_vacuum = INCREMENTAL; CREATE TABLE other (n)")).toBeGreaterThan(400)
        expect(yield* freed("CREATE TABLE other (n)")).toBe(0)
      }),
  )
})

describe("the statements of a removal", () => {
  it.effect.each([SELECT_UNCHANGED, DELETE_STREAMS])("seek by index: %s", (sql) =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      yield* Effect.gen(function* () {
        const plan = (yield* rowsOf(`EXPLAIN QUERY PLAN ${sql}`)).map((row) => row["detail"] as string)
        expect(
          plan.filter((step) => step.startsWith("SCAN") && !/^SCAN (json_each|wanted) /.test(step)),
        ).toEqual([])
      }).pipe(Effect.provide(journalIn(folder)))
    }),
  )
})
