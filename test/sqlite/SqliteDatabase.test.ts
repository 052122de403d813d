import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { type SqliteOptions, SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import { isDiskFull } from "../../src/sqlite/SqliteError.ts"
import { temporaryFolder } from "./TemporaryFolder.ts"

const open = (options: SqliteOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => SqliteDatabase.open(options)),
    (database) => Effect.sync(() => database.close()),
  )

const openFile = (options: Partial<SqliteOptions> = {}) =>
  Effect.flatMap(temporaryFolder, (folder) => open({ filename: join(folder, "test.db"), ...options }))

const pragma = (database: SqliteDatabase, name: string) =>
  Object.values(database.prepareUncached(`PRAGMA ${name}`).get() ?? {})[0]

const count = (database: SqliteDatabase, table: string) =>
  database.prepareUncached(`SELECT count(*) AS n FROM ${table}`).get()?.["n"]

describe("SqliteDatabase.open", () => {
  it.effect("sets the pragmas a durable connection needs", () =>
    Effect.gen(function* () {
      const database = yield* openFile()
      expect(pragma(database, "journal_mode")).toBe("wal")
      expect(pragma(database, "synchronous")).toBe(2)
      expect(pragma(database, "foreign_keys")).toBe(1)
      expect(pragma(database, "temp_store")).toBe(2)
      expect(pragma(database, "busy_timeout")).toBe(5_000)
      expect(pragma(database, "cache_size")).toBe(-64 * 1024)
      expect(pragma(database, "mmap_size")).toBe(256 * 1024 * 1024)
    }),
  )

  it.effect("takes another durability and other limits", () =>
    Effect.gen(function* () {
      const database = yield* openFile({
        synchronous: "NORMAL",
        busyTimeout: 7,
        pageCacheBytes: 4096,
        mmapBytes: 0,
      })
      expect(pragma(database, "synchronous")).toBe(1)
      expect(pragma(database, "busy_timeout")).toBe(7)
      expect(pragma(database, "cache_size")).toBe(-4)
      expect(pragma(database, "mmap_size")).toBe(0)
    }),
  )

  it.effect("refuses writes on a read-only connection and reads what others commit", () =>
    Effect.gen(function* () {
      const writer = yield* openFile()
      writer.exec("CREATE TABLE t (a INTEGER) STRICT")
      const reader = yield* open({ filename: writer.filename, readOnly: true })
      expect(() => reader.exec("INSERT INTO t VALUES (1)")).toThrow(/readonly/)
      writer.exec("INSERT INTO t VALUES (1)")
      expect(count(reader, "t")).toBe(1)
    }),
  )

  it.effect("never creates a file for a read-only connection", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "missing.db")
      expect(() => SqliteDatabase.open({ filename, readOnly: true })).toThrow(/unable to open/)
      expect(existsSync(filename)).toBe(false)
    }),
  )

  it("refuses an empty name, which SQLite would take for a temporary database", () => {
    expect(() => SqliteDatabase.open({ filename: "" })).toThrow(RangeError)
  })

  it("closes more than once without complaint", () => {
    const database = SqliteDatabase.open({ filename: ":memory:" })
    database.close()
    database.close()
    expect(database.isOpen).toBe(false)
  })
})

describe("SqliteDatabase.transaction", () => {
  it.effect("commits what the body wrote and answers its result", () =>
    Effect.gen(function* () {
      const database = yield* openFile()
      database.exec("CREATE TABLE t (a INTEGER) STRICT")
      const result = database.transaction(() => {
        database.prepare("INSERT INTO t VALUES (?)").run(1)
        expect(database.isTransaction).toBe(true)
        return "done"
      })
      expect(result).toBe("done")
      expect(database.isTransaction).toBe(false)
      expect(count(database, "t")).toBe(1)
    }),
  )

  it.effect("keeps nothing of a body that throws, and rethrows its error", () =>
    Effect.gen(function* () {
      const database = yield* openFile()
      database.exec("CREATE TABLE t (a INTEGER) STRICT")
      const failure = new Error("no")
      const attempt = () =>
        database.transaction(() => {
          database.exec("INSERT INTO t VALUES (1)")
          throw failure
        })
      expect(attempt).toThrow(failure)
      expect(database.isTransaction).toBe(false)
      expect(count(database, "t")).toBe(0)
    }),
  )

  it.effect("keeps nothing when the COMMIT itself fails, and works again afterwards", () =>
    Effect.gen(function* () {
      const database = yield* openFile()
      database.exec(`
        CREATE TABLE parent (id INTEGER PRIMARY KEY) STRICT;
        CREATE TABLE child (parent INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED) STRICT`)
      const orphan = () => database.transaction(() => database.exec("INSERT INTO child VALUES (1)"))
      expect(orphan).toThrow(/FOREIGN KEY/)
      expect(database.isTransaction).toBe(false)
      database.transaction(() => database.exec("INSERT INTO parent VALUES (1); INSERT INTO child VALUES (1)"))
      expect(count(database, "child")).toBe(1)
    }),
  )

  it.effect(
    "keeps nothing when the disk is full, rethrows that error, and works again once there is room",
    () =>
      Effect.gen(function* () {
        const database = yield* openFile()
        database.exec("CREATE TABLE t (a TEXT) STRICT")
        database.exec("PRAGMA max_page_count = 10")
        const fill = () =>
          database.transaction(() => {
            for (let n = 0; n < 100; n++) database.prepare("INSERT INTO t VALUES (?)").run("x".repeat(3_000))
          })
        let thrown: unknown
        try {
          fill()
        } catch (cause) {
          thrown = cause
        }
        expect(isDiskFull(thrown)).toBe(true)
        expect(database.isTransaction).toBe(false)
        expect(count(database, "t")).toBe(0)
        database.exec("PRAGMA max_page_count = 1000")
        fill()
        expect(count(database, "t")).toBe(100)
      }),
  )

  it.effect("refuses a body that would finish after its COMMIT", () =>
    Effect.gen(function* () {
      const database = yield* openFile()
      expect(() => database.transaction(() => Promise.resolve(1))).toThrow(TypeError)
      expect(database.isTransaction).toBe(false)
    }),
  )

  it.effect("refuses to nest, and leaves the outer transaction to its owner", () =>
    Effect.gen(function* () {
      const database = yield* openFile()
      database.exec("CREATE TABLE t (a INTEGER) STRICT")
      database.transaction(() => {
        database.exec("INSERT INTO t VALUES (1)")
        expect(() => database.transaction(() => {})).toThrow(/within a transaction/)
      })
      expect(count(database, "t")).toBe(1)
    }),
  )

  it.effect("fails without running the body when another connection is writing", () =>
    Effect.gen(function* () {
      const database = yield* openFile({ busyTimeout: 0 })
      const other = yield* open({ filename: database.filename, busyTimeout: 0 })
      let ran = false
      other.transaction(() => {
        expect(() => database.transaction(() => (ran = true))).toThrow(/locked/)
      })
      expect(ran).toBe(false)
    }),
  )
})

describe("SqliteDatabase.withoutTransactionControl", () => {
  it("refuses SQL that would end the transaction it runs in", () => {
    const database = SqliteDatabase.open({ filename: ":memory:" })
    database.exec("CREATE TABLE t (a INTEGER) STRICT")
    const attempt = () =>
      database.transaction(() =>
        database.withoutTransactionControl(() => database.exec("INSERT INTO t VALUES (1); COMMIT")),
      )
    expect(attempt).toThrow(/not authorized/)
    expect(count(database, "t")).toBe(0)
    database.transaction(() => database.exec("INSERT INTO t VALUES (2)"))
    expect(count(database, "t")).toBe(1)
  })
})
