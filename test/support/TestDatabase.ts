/** Migrated databases for tests: in a file of their own, or in memory. */
import { Effect, Layer } from "effect"
import { join } from "node:path"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"

/** The database `filename` with every migration applied. */
export const databaseAt = (filename: string) =>
  Layer.effectDiscard(
    Effect.gen(function* () {
      const { writer } = yield* SqliteClient
      yield* Migrations.run(writer, yield* Migrations.load(Migrations.defaultFolder))
    }),
  ).pipe(Layer.provideMerge(SqliteClient.layer({ filename })), Layer.orDie)

/** A fresh database file, gone with the layer. */
export const onFile = Layer.unwrap(
  Effect.map(temporaryFolder, (folder) => databaseAt(join(folder, "test.db"))),
)

/** A fresh database in memory. */
export const inMemory = databaseAt(":memory:")
