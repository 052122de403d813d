import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { existsSync, mkdirSync } from "node:fs"
import { join } from "node:path"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"
import { temporaryFolder } from "./TemporaryFolder.ts"

const onFile = Layer.unwrap(
  Effect.map(temporaryFolder, (folder) => SqliteClient.layer({ filename: join(folder, "test.db") })),
)
const inMemory = SqliteClient.layer({ filename: ":memory:" })

const numbers = Effect.gen(function* () {
  const { reader } = yield* SqliteClient
  return reader
    .prepareUncached("SELECT n FROM numbers ORDER BY n")
    .all()
    .map((row) => row["n"])
})

const createNumbers = Effect.flatMap(
  SqlClient.SqlClient,
  (sql) => sql`CREATE TABLE numbers (n INTEGER PRIMARY KEY, name TEXT) STRICT`,
)

const suiteWith = (name: string, layer: typeof inMemory) =>
  describe(`SqliteClient ${name}`, () => {
    it.effect("runs statements, and shows their rows to the writer and the reader", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { writer } = yield* SqliteClient
        yield* createNumbers
        yield* sql`INSERT INTO numbers ${sql.insert([
          { n: 1, name: "one" },
          { n: 2, name: null },
        ])}`
        writer.transaction(() => writer.prepare("INSERT INTO numbers VALUES (?, ?)").run(3, "three"))
        expect(yield* sql`SELECT * FROM numbers WHERE n <> ${2}`).toEqual([
          { n: 1, name: "one" },
          { n: 3, name: "three" },
        ])
        expect(yield* sql`SELECT n, name FROM numbers WHERE n = 1`.values).toEqual([[1, "one"]])
        expect(yield* numbers).toEqual([1, 2, 3])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("commits a transaction as a whole, nested ones included", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* createNumbers
        yield* sql.withTransaction(
          Effect.andThen(
            sql`INSERT INTO numbers VALUES (1, 'one')`,
            sql.withTransaction(sql`INSERT INTO numbers VALUES (2, 'two')`),
          ),
        )
        expect(yield* numbers).toEqual([1, 2])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("undoes only the nested transaction that failed", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* createNumbers
        yield* sql.withTransaction(
          Effect.gen(function* () {
            yield* sql`INSERT INTO numbers VALUES (1, 'one')`
            const inner = Effect.andThen(sql`INSERT INTO numbers VALUES (2, 'two')`, Effect.fail("no"))
            expect(yield* Effect.exit(sql.withTransaction(inner))).toEqual(Exit.fail("no"))
          }),
        )
        expect(yield* numbers).toEqual([1])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("keeps nothing of a failed transaction, also when only its COMMIT fails", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* createNumbers
        yield* sql`CREATE TABLE twins (n INTEGER REFERENCES numbers DEFERRABLE INITIALLY DEFERRED) STRICT`
        const orphan = yield* Effect.flip(sql.withTransaction(sql`INSERT INTO twins VALUES (7)`))
        expect(orphan.reason._tag).toBe("ConstraintError")
        expect(yield* sql`SELECT * FROM twins`).toEqual([])
        yield* sql.withTransaction(sql`INSERT INTO numbers VALUES (1, 'one')`)
        expect(yield* numbers).toEqual([1])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("makes a writer with the write lock wait for an open transaction, without blocking it", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { writer, writeLock } = yield* SqliteClient
        yield* createNumbers
        const inside = yield* Deferred.make<void>()
        const finish = yield* Deferred.make<void>()
        const transaction = yield* Effect.forkChild(
          sql.withTransaction(
            Effect.gen(function* () {
              yield* sql`INSERT INTO numbers VALUES (1, 'one')`
              yield* Deferred.succeed(inside, undefined)
              yield* Deferred.await(finish)
            }),
          ),
        )
        yield* Deferred.await(inside)
        const write = yield* Effect.forkChild(
          writeLock.withPermit(
            Effect.sync(() =>
              writer.transaction(() => writer.prepare("INSERT INTO numbers VALUES (2, 'two')").run()),
            ),
          ),
        )
        yield* Effect.yieldNow
        expect(write.pollUnsafe()).toBeUndefined()
        yield* Deferred.succeed(finish, undefined)
        yield* Fiber.join(transaction)
        yield* Fiber.join(write)
        expect(yield* numbers).toEqual([1, 2])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("lets the write lock go when a transaction waiting for it is interrupted", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const { writeLock } = yield* SqliteClient
        yield* createNumbers
        yield* writeLock.withPermit(
          Effect.gen(function* () {
            const waiting = yield* Effect.forkChild(
              sql.withTransaction(sql`INSERT INTO numbers VALUES (1, 'one')`),
            )
            yield* Effect.yieldNow
            yield* Fiber.interrupt(waiting)
          }),
        )
        yield* sql.withTransaction(sql`INSERT INTO numbers VALUES (2, 'two')`)
        expect(yield* numbers).toEqual([2])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("streams more rows than one turn reads, and stops reading when nobody listens", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const counting = sql<{ n: number }>`
          WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c LIMIT ${1_000}) SELECT n FROM c`
        const all = yield* Stream.runCollect(counting.stream)
        expect(all.map((row) => row.n)).toEqual(Array.from({ length: 1_000 }, (_, index) => index + 1))
        const endless = sql<{ n: number }>`
          WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c`
        expect(yield* Stream.runCollect(Stream.take(endless.stream, 3))).toEqual([
          { n: 1 },
          { n: 2 },
          { n: 3 },
        ])
        yield* createNumbers
      }).pipe(Effect.provide(layer)),
    )

    it.effect("fails a stream whose query fails half way", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const overflow = sql`
          WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c)
          SELECT CASE WHEN n < 500 THEN n ELSE abs(-9223372036854775807 - 1) END FROM c`
        const error = yield* Effect.flip(Stream.runDrain(overflow.stream))
        expect(error.message).toMatch(/integer overflow/)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("refuses values SQLite has no type for, instead of storing NULL", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        yield* createNumbers
        const error = yield* Effect.flip(sql`INSERT INTO numbers VALUES (1, ${new Date(0)})`)
        expect(error.message).toMatch(/not an object \(Date\)/)
        expect(yield* numbers).toEqual([])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("binds booleans, undefined, bytes and large integers", () =>
      Effect.gen(function* () {
        const sql = yield* SqlClient.SqlClient
        const bytes = new Uint8Array([1, 2, 3])
        const [row] = yield* sql`SELECT ${true} AS yes, ${undefined} AS absent, ${bytes} AS bytes`
        expect(row).toEqual({ yes: 1, absent: null, bytes })
        const large = sql`SELECT ${2n ** 60n} AS large`
        expect((yield* Effect.flip(large)).message).toMatch(/too large/)
        const exact = Effect.provideService(large, SqlClient.SafeIntegers, true)
        expect(yield* exact).toEqual([{ large: 2n ** 60n }])
        expect((yield* Effect.flip(large)).message).toMatch(/too large/)
      }).pipe(Effect.provide(layer)),
    )
  })

suiteWith("on a file", onFile)
suiteWith("in memory", inMemory)

describe("SqliteClient.layer", () => {
  it.effect("keeps an uncommitted transaction out of the reader's and the writer's sight", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* createNumbers
      yield* sql.withTransaction(
        Effect.gen(function* () {
          yield* sql`INSERT INTO numbers VALUES (1, 'one')`
          expect(yield* numbers).toEqual([])
        }),
      )
      expect(yield* numbers).toEqual([1])
    }).pipe(Effect.provide(onFile)),
  )

  it.effect("creates the folder, and leaves one file with everything in it when it closes", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "deep", "below", "test.db")
      yield* createNumbers.pipe(Effect.provide(SqliteClient.layer({ filename })))
      expect(existsSync(`${filename}-wal`)).toBe(false)
      const database = SqliteDatabase.open({ filename, readOnly: true })
      expect(database.prepareUncached("SELECT count(*) AS n FROM numbers").get()).toEqual({ n: 0 })
      database.close()
    }),
  )

  it.effect("renames columns for those who write SQL in another case", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      yield* sql`CREATE TABLE t (created_at INTEGER) STRICT`
      yield* sql`INSERT INTO t ${sql.insert({ createdAt: 1 })}`
      expect(yield* sql`SELECT ${sql("createdAt")} FROM t`).toEqual([{ createdAt: 1 }])
    }).pipe(
      Effect.provide(
        SqliteClient.layer({
          filename: ":memory:",
          transformQueryNames: (name) => name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
          transformResultNames: (name) => name.replace(/_(.)/g, (_, letter: string) => letter.toUpperCase()),
        }),
      ),
    ),
  )

  it.effect("is refused to whoever comes second, with the name of the first", () =>
    Effect.gen(function* () {
      const { filename } = yield* SqliteClient
      const error = yield* Effect.flip(Effect.scoped(Layer.build(SqliteClient.layer({ filename }))))
      expect(error).toMatchObject({ _tag: "DatabaseOwned", filename, owner: { pid: process.pid } })
    }).pipe(Effect.provide(onFile)),
  )

  it.effect("gives the database back when it cannot be opened", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      mkdirSync(filename)
      const open = Effect.scoped(Layer.build(SqliteClient.layer({ filename })))
      const first = yield* Effect.flip(open)
      const second = yield* Effect.flip(open)
      expect([first._tag, second._tag]).toEqual(["SqlError", "SqlError"])
    }),
  )
})
