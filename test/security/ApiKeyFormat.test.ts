import { assert, describe, it } from "@effect/vitest"
import { Redacted } from "effect"
import * as fc from "fast-check"
import * as ApiKeyFormat from "../../src/security/ApiKeyFormat.ts"

const random = fc.uint8Array({ minLength: ApiKeyFormat.RANDOM_BYTES, maxLength: ApiKeyFormat.RANDOM_BYTES })

describe("an API key", () => {
  it("has the promised form and passes its own check, whatever the randomness", () => {
    fc.assert(
      fc.property(random, (bytes) => {
        const key = Redacted.value(ApiKeyFormat.generate(bytes))
        assert.match(key, /^ro_live_[0-9A-Za-z]{30}[0-9A-Za-z]{6}$/)
        assert.isTrue(ApiKeyFormat.isWellFormed(key))
      }),
    )
  })

  it("is refused when any one character was changed, added or taken away", () => {
    fc.assert(
      fc.property(random, fc.nat(), fc.constantFrom(..."09AZaz_- \u00E9"), (bytes, at, character) => {
        const key = Redacted.value(ApiKeyFormat.generate(bytes))
        const i = at % key.length
        fc.pre(key[i] !== character)
        assert.isFalse(ApiKeyFormat.isWellFormed(key.slice(0, i) + character + key.slice(i + 1)))
        assert.isFalse(ApiKeyFormat.isWellFormed(key.slice(0, i) + character + key.slice(i)))
        assert.isFalse(ApiKeyFormat.isWellFormed(key.slice(0, i) + key.slice(i + 1)))
      }),
    )
  })

  it("is refused when two neighbours were swapped", () => {
    fc.assert(
      fc.property(random, fc.nat(42), (bytes, i) => {
        const key = Redacted.value(ApiKeyFormat.generate(bytes))
        fc.pre(key[i] !== key[i + 1])
        assert.isFalse(ApiKeyFormat.isWellFormed(key.slice(0, i) + key[i + 1] + key[i] + key.slice(i + 2)))
      }),
    )
  })

  it("is not made from too little randomness", () => {
    assert.throws(() => ApiKeyFormat.generate(new Uint8Array(ApiKeyFormat.RANDOM_BYTES - 1)), RangeError)
  })

  it("shows a prefix that is not enough to use it, and does not print itself", () => {
    const key = ApiKeyFormat.generate(new Uint8Array(ApiKeyFormat.RANDOM_BYTES).fill(7))
    assert.lengthOf(ApiKeyFormat.prefixOf(key), 14)
    assert.isTrue(Redacted.value(key).startsWith(ApiKeyFormat.prefixOf(key)))
    assert.notInclude(String(key), "ro_live_")
  })

  it("is stored as SHA-256, and hashes are compared whole", () => {
    const key = Redacted.make("ro_live_abc")
    const hash = ApiKeyFormat.hash(key)
    assert.strictEqual(hash, "0b5819ab63cbba38eb1f74318647e3ad83a77fbb05934269e77ba2dea9a0369b")
    assert.isTrue(ApiKeyFormat.equalHashes(hash, hash))
    assert.isFalse(ApiKeyFormat.equalHashes(hash, hash.slice(0, 62)))
    assert.isFalse(ApiKeyFormat.equalHashes(hash, ApiKeyFormat.hash(Redacted.make("ro_live_abd"))))
    assert.isFalse(ApiKeyFormat.equalHashes("", ""))
  })
})
