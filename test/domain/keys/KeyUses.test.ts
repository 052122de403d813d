import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { KeyUses } from "../../../src/domain/keys/KeyUses.ts"
import { SqliteClient } from "../../../src/sqlite/SqliteClient.ts"
import { onFile } from "../../support/TestDatabase.ts"

const MINUTE_MS = 60_000

const stored = Effect.map(SqliteClient, ({ reader }) =>
  Object.fromEntries(
    reader
      .prepare("SELECT stream, used_at FROM api_key_uses")
      .all()
      .map((row) => [row["stream"], row["used_at"]]),
  ),
)

describe("the last uses of keys", () => {
  it.effect("are known at once, to the minute, and written once a minute", () =>
    Effect.gen(function* () {
      const uses = yield* KeyUses
      assert.isUndefined(yield* uses.lastUse("key_1"))
      uses.mark("key_1", MINUTE_MS + 1)
      uses.mark("key_1", 2 * MINUTE_MS - 1)
      uses.mark("key_2", 3 * MINUTE_MS)
      assert.strictEqual(yield* uses.lastUse("key_1"), MINUTE_MS)
      assert.deepStrictEqual(yield* stored, {})
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* stored, { key_1: MINUTE_MS, key_2: 3 * MINUTE_MS })
      assert.strictEqual(yield* uses.lastUse("key_1"), MINUTE_MS)
      uses.mark("key_1", 5 * MINUTE_MS)
      // A clock that was put back does not take a later use away.
      uses.mark("key_2", MINUTE_MS)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* stored, { key_1: 5 * MINUTE_MS, key_2: 3 * MINUTE_MS })
    }).pipe(Effect.provide(KeyUses.layer.pipe(Layer.provideMerge(onFile)))),
  )

  it.effect("are written at the stop", () =>
    Effect.gen(function* () {
      yield* KeyUses.pipe(
        Effect.map((uses) => uses.mark("key_1", MINUTE_MS)),
        Effect.provide(Layer.fresh(KeyUses.layer)),
      )
      assert.deepStrictEqual(yield* stored, { key_1: MINUTE_MS })
    }).pipe(Effect.provide(onFile)),
  )

  it.effect("that cannot be written harm nobody, and later ones are", () =>
    Effect.gen(function* () {
      const uses = yield* KeyUses
      const { writer } = yield* SqliteClient
      writer.exec("ALTER TABLE api_key_uses RENAME TO away")
      uses.mark("key_1", MINUTE_MS)
      yield* TestClock.adjust("1 minute")
      writer.exec("ALTER TABLE away RENAME TO api_key_uses")
      uses.mark("key_1", 2 * MINUTE_MS)
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(yield* stored, { key_1: 2 * MINUTE_MS })
    }).pipe(Effect.provide(KeyUses.layer.pipe(Layer.provideMerge(onFile)))),
  )
})
