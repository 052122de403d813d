import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import { Migrations } from "../../../src/sqlite/Migrations.ts"
import { SqliteDatabase } from "../../../src/sqlite/SqliteDatabase.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"

const IDENTITY = "identity"

const created = (scopes: ReadonlyArray<string>) =>
  JSON.stringify({ name: "old", prefix: "ro_live_x", hash: "x", owner: "user_1", scopes, tier: "free" })

const rows = (database: SqliteDatabase, sql: string) =>
  database
    .prepareUncached(sql)
    .all()
    .map((row) => Object.values(row))

describe("the migration of identity", () => {
  it.effect("keeps the keys of earlier releases open, and takes them along on the way back", () =>
    Effect.gen(function* () {
      const database = yield* Effect.acquireRelease(
        Effect.map(temporaryFolder, (folder) => SqliteDatabase.open({ filename: join(folder, "test.db") })),
        (database) => Effect.sync(() => database.close()),
      )
      const all = yield* Migrations.load(Migrations.defaultFolder)
      const at = all.findIndex(({ name }) => name === IDENTITY)
      yield* Migrations.run(database, all.slice(0, at))
      const insert = database.prepare(
        "INSERT INTO events (position, stream, version, type, revision, data, recorded_at) VALUES (?, ?, ?, ?, 1, ?, 0)",
      )
      insert.run(1, "key_1", 1, "ApiKeyCreated", created(["admin"]))
      insert.run(2, "key_2", 1, "ApiKeyCreated", created(["jobs:read"]))
      insert.run(3, "key_3", 1, "ApiKeyCreated", created(["jobs:read"]))
      insert.run(4, "key_3", 2, "ApiKeyRevoked", "{}")
      database.exec("INSERT INTO api_keys (hash, stream) VALUES ('h1', 'key_1'), ('h2', 'key_2')")

      yield* Migrations.run(database, all.slice(0, at + 1))
      assert.deepStrictEqual(rows(database, "SELECT hash, stream, current FROM api_keys ORDER BY hash"), [
        ["h1", "key_1", 1],
        ["h2", "key_2", 1],
      ])
      assert.deepStrictEqual(rows(database, "SELECT * FROM issued_keys ORDER BY position"), [
        [1, "user_1", Number.MAX_SAFE_INTEGER],
        [2, "user_1", null],
      ])

      yield* Migrations.rollback(database, all.slice(0, at + 1), 1)
      assert.deepStrictEqual(rows(database, "SELECT hash, stream FROM api_keys ORDER BY hash"), [
        ["h1", "key_1"],
        ["h2", "key_2"],
      ])
    }).pipe(Effect.scoped),
  )
})
