import { describe, expect, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type ChildProcess, fork } from "node:child_process"
import { readdirSync, readFileSync, rmSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { ReaderPool, type ReaderPoolOptions, type ReaderPoolStats } from "../../src/sqlite/ReaderPool.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { isReadOnly } from "../../src/sqlite/SqliteError.ts"
import { temporaryFolder } from "./TemporaryFolder.ts"

/** One step of SQLite that never returns a row. */
const ENDLESS = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) FROM c"

const onFile = (options: ReaderPoolOptions = {}) =>
  Layer.unwrap(
    Effect.map(temporaryFolder, (folder) =>
      ReaderPool.layer(options).pipe(
        Layer.provideMerge(SqliteClient.layer({ filename: join(folder, "test.db") })),
      ),
    ),
  )

/** The reader processes of this process, from the kernel's list rather than the pool's. */
const readerPids = Effect.sync(() =>
  readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => parentOfReader(pid) === process.pid),
)

/** A killed process stays in the list until somebody asks how it ended; it runs no more. */
const isRunning = (pid: number): boolean => {
  try {
    return !/^State:\tZ/m.test(readFileSync(`/proc/${pid}/status`, "utf8"))
  } catch {
    return false
  }
}

const parentOfReader = (pid: number): number | undefined => {
  try {
    if (!readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("ReaderMain.ts")) return undefined
    return Number(/^PPid:\t(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1])
  } catch {
    return undefined
  }
}

const signalReaders = (signal: NodeJS.Signals) =>
  Effect.map(readerPids, (pids) => pids.forEach((pid) => process.kill(pid, signal)))

const nextTurn = Effect.callback<void>((resume) => {
  setImmediate(() => resume(Effect.void))
})

const eventually = <E, R>(condition: Effect.Effect<boolean, E, R>): Effect.Effect<void, E, R> =>
  Effect.flatMap(condition, (holds) =>
    holds ? Effect.void : Effect.andThen(nextTurn, eventually(condition)),
  )

const poolReaches = (state: Partial<ReaderPoolStats>) =>
  Effect.flatMap(ReaderPool, (pool) =>
    eventually(
      Effect.map(pool.stats, (stats) =>
        Object.entries(state).every(([name, value]) => stats[name as keyof ReaderPoolStats] === value),
      ),
    ),
  )

/** A query that is running in a reader when this returns. */
const forkEndless = (busy: number) =>
  Effect.gen(function* () {
    const pool = yield* ReaderPool
    const fiber = yield* Effect.forkChild(Effect.flip(pool.query(ENDLESS)))
    yield* poolReaches({ busy })
    return fiber
  })

describe("ReaderPool", () => {
  it.effect("answers with the rows of a query, whatever their type", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const rows = yield* pool.query("SELECT ? AS n, ? AS text, ? AS bytes, NULL AS absent, 0.5 AS half", [
        1,
        "one",
        new Uint8Array([1, 2]),
      ])
      expect(rows).toEqual([{ n: 1, text: "one", bytes: new Uint8Array([1, 2]), absent: null, half: 0.5 }])
    }).pipe(Effect.provide(onFile())),
  )

  it.effect("starts no process before the first query, and keeps two afterwards", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      expect(yield* pool.stats).toEqual({ size: 0, busy: 0, waiting: 0, min: 2, max: 10 })
      expect(yield* readerPids).toEqual([])
      yield* pool.query("SELECT 1")
      yield* poolReaches({ size: 2, busy: 0 })
      expect(yield* readerPids).toHaveLength(2)
    }).pipe(Effect.provide(onFile())),
  )

  it.effect("sees what was committed before the query", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const { writer } = yield* SqliteClient
      yield* pool.query("SELECT 1")
      for (const expected of [1, 2, 3]) {
        writer.exec("CREATE TABLE IF NOT EXISTS t (a INTEGER) STRICT; INSERT INTO t VALUES (1)")
        expect(yield* pool.query("SELECT count(*) AS n FROM t")).toEqual([{ n: expected }])
      }
    }).pipe(Effect.provide(onFile())),
  )

  it.effect("fails a wrong or writing query with SQLite's error, and keeps its reader", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      yield* pool.query("SELECT 1")
      const before = yield* readerPids
      const wrong = yield* Effect.flip(pool.query("SELECT * FROM nowhere"))
      expect(wrong.message).toBe("query: no such table: nowhere")
      const writing = yield* Effect.flip(pool.query("CREATE TABLE t (a)"))
      expect(writing).toMatchObject({ _tag: "PoolError", reason: { _tag: "QueryFailed" } })
      expect(isReadOnly(writing.reason.cause)).toBe(true)
      expect(yield* readerPids).toEqual(before)
    }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("refuses an answer with more rows than asked for, without reading them all", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const numbers = "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n FROM c"
      const error = yield* Effect.flip(pool.query(numbers))
      expect(error.reason).toMatchObject({ _tag: "TooManyRows", rowsMax: 10_000 })
      expect(yield* pool.query(`${numbers} LIMIT 3`, [], { rowsMax: 3 })).toHaveLength(3)
    }).pipe(Effect.provide(onFile())),
  )

  it.effect("kills a query that exceeds its deadline, and answers the next one", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const running = yield* forkEndless(1)
      const [before] = yield* readerPids
      yield* TestClock.adjust("29 seconds")
      expect(running.pollUnsafe()).toBeUndefined()
      yield* TestClock.adjust("1 second")
      const error = yield* Fiber.join(running)
      expect(error.reason).toMatchObject({ _tag: "DeadlineExceeded", deadlineMs: 30_000 })
      expect(yield* readerPids).not.toContain(before)
      expect(yield* pool.query("SELECT 1 AS one")).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("fails the query of a reader that is killed, and answers the next one", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const running = yield* forkEndless(1)
      yield* signalReaders("SIGKILL")
      const error = yield* Fiber.join(running)
      expect(error.reason).toMatchObject({ _tag: "WorkerDied", detail: "signal SIGKILL" })
      expect(yield* pool.query("SELECT 1 AS one")).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("replaces readers that died while idle before anyone notices", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      yield* pool.query("SELECT 1")
      yield* poolReaches({ size: 2 })
      yield* signalReaders("SIGKILL")
      yield* poolReaches({ size: 0 })
      expect(yield* pool.query("SELECT 1 AS one")).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(onFile())),
  )

  it.effect("stops the query of a caller that is interrupted", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const running = yield* forkEndless(1)
      const [before] = yield* readerPids
      yield* Fiber.interrupt(running)
      expect(yield* readerPids).not.toContain(before)
      expect(yield* pool.query("SELECT 1 AS one")).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("grows with its callers up to the maximum, and answers them all", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const seen = new Set<number>()
      const answers = yield* Effect.forEach(
        Array.from({ length: 40 }, (_, n) => n),
        (n) =>
          Effect.tap(pool.query("SELECT ? AS n", [n]), () =>
            Effect.map(readerPids, (pids) => seen.add(pids.length)),
          ),
        { concurrency: "unbounded" },
      )
      expect(answers.map(([row]) => row?.["n"])).toEqual(Array.from({ length: 40 }, (_, n) => n))
      expect(Math.max(...seen)).toBe(3)
    }).pipe(Effect.provide(onFile({ min: 1, max: 3 }))),
  )

  it.effect("fails a caller who waits too long for a reader, and lets the others work", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      yield* forkEndless(1)
      const waiting = yield* Effect.forkChild(Effect.flip(pool.query("SELECT 1")))
      yield* poolReaches({ waiting: 1 })
      yield* TestClock.adjust("5 seconds")
      expect((yield* Fiber.join(waiting)).reason).toMatchObject({ _tag: "AcquireTimeout", timeoutMs: 5_000 })
      expect(yield* pool.stats).toMatchObject({ size: 1, busy: 1, waiting: 0 })
    }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("turns callers away when too many wait already", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const running = yield* forkEndless(1)
      const waiting = yield* Effect.forkChild(pool.query("SELECT 1 AS one"))
      yield* poolReaches({ waiting: 1 })
      const error = yield* Effect.flip(pool.query("SELECT 2"))
      expect(error.reason).toMatchObject({ _tag: "PoolSaturated", waiting: 1 })
      yield* Fiber.interrupt(running)
      expect(yield* Fiber.join(waiting)).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(onFile({ min: 1, max: 1, waitingMax: 1 }))),
  )

  it.effect("closes readers above the minimum when they have been idle", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      yield* Effect.all([pool.query("SELECT 1"), pool.query("SELECT 2")], { concurrency: 2 })
      yield* poolReaches({ size: 2, busy: 0 })
      yield* TestClock.adjust("5 minutes")
      yield* TestClock.adjust("5 minutes")
      yield* eventually(Effect.map(readerPids, (pids) => pids.length === 1))
      expect(yield* pool.stats).toMatchObject({ size: 1, busy: 0 })
    }).pipe(Effect.provide(onFile({ min: 1, max: 2 }))),
  )

  it.effect("fails running queries and leaves no process behind when it closes", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(onFile(), scope)
      const running = yield* Effect.provide(forkEndless(1), context)
      yield* Scope.close(scope, Exit.void)
      expect((yield* Fiber.join(running)).reason).toMatchObject({ _tag: "WorkerDied" })
      expect(yield* readerPids).toEqual([])
    }),
  )

  it.effect(
    "keeps readers through the signals that ask the whole group to stop, until it closes itself",
    () =>
      Effect.gen(function* () {
        const pool = yield* ReaderPool
        yield* pool.query("SELECT 1")
        const before = yield* readerPids
        yield* signalReaders("SIGINT")
        yield* signalReaders("SIGTERM")
        yield* pool.query("SELECT 1")
        expect(yield* readerPids).toEqual(before)
      }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("leaves no reader behind when its own process is killed", () =>
    Effect.gen(function* () {
      const filename = join(yield* temporaryFolder, "test.db")
      const entry = fileURLToPath(new URL("PoolProcess.ts", import.meta.url))
      const [child, readers] = yield* Effect.callback<readonly [ChildProcess, ReadonlyArray<number>]>(
        (resume) => {
          const child = fork(entry, [filename])
          child.once("message", (pids: ReadonlyArray<number>) => resume(Effect.succeed([child, pids])))
          return Effect.sync(() => child.kill("SIGKILL"))
        },
      )
      expect(readers.length).toBeGreaterThan(0)
      child.kill("SIGKILL")
      yield* eventually(Effect.sync(() => !readers.some(isRunning)))
    }),
  )

  it.effect("says that the database cannot be opened, and recovers when it can", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const { filename, writer } = yield* SqliteClient
      rmSync(filename)
      const error = yield* Effect.flip(pool.query("SELECT 1"))
      expect(error.reason).toMatchObject({
        _tag: "QueryFailed",
        cause: { reason: { _tag: "ConnectionError" } },
      })
      writer.exec(`VACUUM INTO '${filename}'`)
      expect(yield* pool.query("SELECT 1 AS one")).toEqual([{ one: 1 }])
    }).pipe(Effect.provide(onFile({ min: 1, max: 1 }))),
  )

  it.effect("answers from the only connection of a database in memory", () =>
    Effect.gen(function* () {
      const pool = yield* ReaderPool
      const { writer } = yield* SqliteClient
      writer.exec("CREATE TABLE t (a INTEGER) STRICT; INSERT INTO t VALUES (1), (2)")
      expect(yield* pool.query("SELECT a FROM t WHERE a > ?", [1])).toEqual([{ a: 2 }])
      const error = yield* Effect.flip(pool.query("SELECT a FROM t", [], { rowsMax: 1 }))
      expect(error.reason._tag).toBe("TooManyRows")
      expect(yield* readerPids).toEqual([])
    }).pipe(
      Effect.provide(
        ReaderPool.layer().pipe(Layer.provideMerge(SqliteClient.layer({ filename: ":memory:" }))),
      ),
    ),
  )
})
