import { describe, expect, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { spawnSync } from "node:child_process"
import { closeSync, openSync, writeFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import {
  isBusy,
  isCorrupt,
  isDiskFull,
  isIoError,
  isReadOnly,
  isUniqueViolation,
  resultCodeOf,
  toSqlError,
} from "../../src/sqlite/SqliteError.ts"
import { temporaryFolder } from "./TemporaryFolder.ts"

const thrownBy = (body: () => unknown): unknown => {
  try {
    body()
  } catch (cause) {
    return cause
  }
  throw new Error("nothing was thrown")
}

const newFile = Effect.map(temporaryFolder, (folder) => join(folder, "test.db"))

const open = (filename: string, readOnly = false): Effect.Effect<SqliteDatabase, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.sync(() => SqliteDatabase.open({ filename, readOnly, busyTimeout: 0 })),
    (database) => Effect.sync(() => database.close()),
  )

const predicates = { isBusy, isCorrupt, isDiskFull, isIoError, isReadOnly, isUniqueViolation }

/** The names of all predicates that hold: each failure must satisfy its own and no other. */
const kindsOf = (error: unknown): ReadonlyArray<string> =>
  Object.entries(predicates).flatMap(([name, holds]) => (holds(error) ? [name] : []))

describe("toSqlError", () => {
  it.effect("names the columns of a violated UNIQUE index", () =>
    Effect.gen(function* () {
      const database = yield* open(":memory:")
      database.exec("CREATE TABLE t (a TEXT, b TEXT, UNIQUE (a, b)) STRICT; INSERT INTO t VALUES ('x', 'y')")
      const cause = thrownBy(() => database.exec("INSERT INTO t VALUES ('x', 'y')"))
      const error = toSqlError(cause, "append")
      expect(error.reason).toMatchObject({
        _tag: "UniqueViolation",
        constraint: "t.a, t.b",
        operation: "append",
      })
      expect(error.reason.cause).toBe(cause)
      expect(error.isRetryable).toBe(false)
      expect(kindsOf(error)).toEqual(["isUniqueViolation"])
    }),
  )

  it.effect("counts a duplicate primary key as a unique violation", () =>
    Effect.gen(function* () {
      const database = yield* open(":memory:")
      database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY) STRICT; INSERT INTO t VALUES (1)")
      const error = toSqlError(
        thrownBy(() => database.exec("INSERT INTO t VALUES (1)")),
        "insert",
      )
      expect(error.reason).toMatchObject({ _tag: "UniqueViolation", constraint: "t.id" })
    }),
  )

  it.effect("tells other constraints from unique ones", () =>
    Effect.gen(function* () {
      const database = yield* open(":memory:")
      database.exec("CREATE TABLE t (a INTEGER CHECK (a > 0)) STRICT")
      const error = toSqlError(
        thrownBy(() => database.exec("INSERT INTO t VALUES (0)")),
        "insert",
      )
      expect(error.reason._tag).toBe("ConstraintError")
      expect(kindsOf(error)).toEqual([])
    }),
  )

  it.effect("calls a lock that was waited for in vain retryable", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      const holder = yield* open(filename)
      const other = yield* open(filename)
      const cause = holder.transaction(() => thrownBy(() => other.exec("BEGIN IMMEDIATE")))
      const error = toSqlError(cause, "begin")
      expect(error.reason._tag).toBe("LockTimeoutError")
      expect(error.isRetryable).toBe(true)
      expect(kindsOf(error)).toEqual(["isBusy"])
    }),
  )

  it.effect("recognises a full disk", () =>
    Effect.gen(function* () {
      const database = yield* open(yield* newFile)
      database.exec("CREATE TABLE t (a BLOB) STRICT; PRAGMA max_page_count = 5")
      const error = toSqlError(
        thrownBy(() => database.exec("INSERT INTO t VALUES (zeroblob(100000))")),
        "append",
      )
      expect(kindsOf(error)).toEqual(["isDiskFull"])
      expect(error.message).toBe("append: database or disk is full")
    }),
  )

  it.effect("recognises a write the operating system refuses", () =>
    Effect.gen(function* () {
      // A file size limit makes a real write() fail with EFBIG, which is neither a full disk nor corruption.
      const script = `
        import { SqliteDatabase } from ${JSON.stringify(new URL("../../src/sqlite/SqliteDatabase.ts", import.meta.url))}
        process.on("SIGXFSZ", () => {})
        const database = SqliteDatabase.open({ filename: process.argv[1] })
        database.exec("CREATE TABLE t (a BLOB) STRICT")
        try { database.exec("INSERT INTO t VALUES (zeroblob(1000000))") }
        catch ({ message, code, errcode }) { console.log(JSON.stringify({ message, code, errcode })) }`
      const command = `ulimit -f 256 && exec "$0" --input-type=module -e "$1" "$2"`
      const child = spawnSync("sh", ["-c", command, process.execPath, script, yield* newFile], {
        encoding: "utf8",
      })
      const native: unknown = JSON.parse(child.stdout)
      const error = toSqlError(native, "append")
      expect(kindsOf(error)).toEqual(["isIoError"])
    }),
  )

  it.effect("recognises a damaged database and a file that is none", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      const database = SqliteDatabase.open({ filename })
      database.exec("CREATE TABLE t (a TEXT) STRICT")
      database.transaction(() => {
        for (let n = 0; n < 200; n++) database.prepare("INSERT INTO t VALUES (?)").run("x".repeat(500))
      })
      database.close()
      const file = openSync(filename, "r+")
      writeSync(file, Buffer.alloc(8_192, 0xff), 0, 8_192, 4_096)
      closeSync(file)
      const damaged = yield* open(filename, true)
      const cause = thrownBy(() => damaged.prepare("SELECT sum(length(a)) FROM t").get())
      expect(kindsOf(toSqlError(cause, "read"))).toEqual(["isCorrupt"])

      const noDatabase = join(yield* temporaryFolder, "notes.txt")
      writeFileSync(noDatabase, "these are not the pages you are looking for ".repeat(100))
      expect(kindsOf(thrownBy(() => SqliteDatabase.open({ filename: noDatabase })))).toEqual(["isCorrupt"])
    }),
  )

  it.effect("recognises a write on a read-only connection", () =>
    Effect.gen(function* () {
      const filename = yield* newFile
      const writer = yield* open(filename)
      writer.exec("CREATE TABLE t (a TEXT) STRICT")
      const reader = yield* open(filename, true)
      expect(kindsOf(thrownBy(() => reader.exec("INSERT INTO t VALUES ('x')")))).toEqual(["isReadOnly"])
    }),
  )

  it("calls a file that cannot be opened a connection error", () => {
    const cause = thrownBy(() => SqliteDatabase.open({ filename: "/nowhere/at/all/test.db" }))
    expect(toSqlError(cause, "open").reason._tag).toBe("ConnectionError")
  })

  it("keeps what is no SQLite error as an unknown one, with its message", () => {
    const error = toSqlError(new TypeError("not a parameter"), "query")
    expect(error.reason._tag).toBe("UnknownError")
    expect(error.message).toBe("query: not a parameter")
    expect(resultCodeOf(error)).toBeUndefined()
    expect(toSqlError("thrown text", "query").message).toBe("query: thrown text")
  })
})
