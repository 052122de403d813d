/** A program that uses a reader pool, tells its parent the readers' process ids, and waits to be killed. */
import { Effect, Layer } from "effect"
import { readFileSync } from "node:fs"
import { ReaderPool } from "../../src/sqlite/ReaderPool.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"

const program = Effect.gen(function* () {
  const pool = yield* ReaderPool
  yield* pool.query("SELECT 1")
  const children = readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").trim().split(" ")
  process.send?.(children.map(Number))
  return yield* Effect.never
})

const layer = ReaderPool.layer().pipe(
  Layer.provideMerge(SqliteClient.layer({ filename: process.argv[2] ?? "" })),
)

Effect.runFork(Effect.provide(program, layer)).addObserver(() => process.exit(1))
