import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { RecognisedKey, RecognisedKeys } from "../../../src/domain/keys/RecognisedKeys.ts"
import { Principal } from "../../../src/security/Principal.ts"

const principal = new Principal({ id: "key_1", kind: "api_key", owner: "user_1", scopes: [], tier: "free" })
const key = new RecognisedKey({ principal, goodUntil: Infinity, networks: [], origins: [] })

describe("keys that were recognised", () => {
  it.effect("are forgotten together", () =>
    Effect.gen(function* () {
      const keys = yield* RecognisedKeys
      keys.remember("a", key, keys.generation())
      assert.strictEqual(keys.get("a"), key)
      keys.forgetAll()
      assert.isUndefined(keys.get("a"))
    }).pipe(Effect.provide(RecognisedKeys.layer)),
  )

  it.effect("are not remembered when they were looked up before a revocation", () =>
    Effect.gen(function* () {
      const keys = yield* RecognisedKeys
      const generation = keys.generation()
      keys.forgetAll()
      keys.remember("a", key, generation)
      assert.isUndefined(keys.get("a"))
    }).pipe(Effect.provide(RecognisedKeys.layer)),
  )

  it.effect("are bounded in number", () =>
    Effect.gen(function* () {
      const keys = yield* RecognisedKeys
      const hashes = Array.from({ length: 25_000 }, (_, n) => `hash ${n}`)
      for (const hash of hashes) keys.remember(hash, key, keys.generation())
      const kept = hashes.filter((hash) => keys.get(hash) !== undefined)
      assert.isAtMost(kept.length, 10_000)
      assert.include(kept, hashes.at(-1))
    }).pipe(Effect.provide(RecognisedKeys.layer)),
  )
})
