import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"
import { KeyedRequest, partKey } from "../../src/security/KeyedRequest.ts"
import { Seal } from "../../src/security/Seal.ts"
import { firstRequest, keyOf } from "../support/KeyedRequest.ts"

const NOW = 1_700_000_000_000

/** As it is carried out again by who has its key. */
const again = (request: KeyedRequest, text: string) => {
  const { fingerprint, id, seed, startedAt } = request
  const kept = { id, fingerprint, startedAt, positions: null, sealed: { _tag: "Seed", seed } } as const
  return KeyedRequest.again(text, keyOf(text), kept, seed)
}

/** What a request draws, in the order in which handlers might. */
const draw = (request: KeyedRequest) => [
  request.ids.next("job", NOW),
  request.randomBytes(32).toString("hex"),
  request.ids.next("job", NOW),
  request.ids.next("key", NOW + 1),
  request.randomBytes(7).toString("hex"),
]

describe("a request with a key", () => {
  it("draws the same ids and secrets whenever it is carried out, and others than any other request", () => {
    const request = firstRequest("k", NOW)
    const drawn = draw(request)
    assert.deepStrictEqual(draw(again(request, "k")), drawn)
    assert.strictEqual(new Set([...drawn, ...draw(firstRequest("k", NOW))]).size, 2 * drawn.length)
    const ids = Array.from({ length: 5_000 }, () => request.ids.next("job", NOW))
    assert.deepStrictEqual(ids.toSorted(), ids)
  })

  it("can be carried out again, and its answer read, by nobody without the key", () => {
    const request = firstRequest("right", NOW)
    assert.notDeepEqual(draw(again(request, "wrong")), draw(again(request, "right")))
    assert.notDeepEqual(Buffer.from(request.seed), request.randomBytes(32))
    const answer = request.sealAnswer(Buffer.from("an answer"))
    const kept = { ...request, positions: null, sealed: { _tag: "Answer", answer } } as const
    assert.strictEqual(KeyedRequest.openAnswer("right", kept, answer).toString(), "an answer")
    assert.throws(() => KeyedRequest.openAnswer("wrong", kept, answer))
    assert.throws(() =>
      KeyedRequest.openAnswer("right", { ...kept, id: firstRequest("right", NOW).id }, answer),
    )
  })

  it.effect("sees its first moment until it acts, or waits", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(NOW)
      const [acting, waiting] = [firstRequest("a", NOW), firstRequest("w", NOW)]
      yield* TestClock.adjust("1 second")
      const now = (request: KeyedRequest) => request.carryOut(Clock.currentTimeMillis)
      assert.strictEqual(yield* now(acting), NOW)
      acting.acted()
      assert.strictEqual(yield* now(acting), NOW + 1_000)
      assert.strictEqual(yield* now(waiting), NOW)
      yield* waiting.carryOut(Effect.sleep(0))
      assert.strictEqual(yield* now(waiting), NOW + 1_000)
    }),
  )

  it("has a key for each of its parts that is never too long, nor one that a client would choose", () => {
    const keys = [0, 1, 19].flatMap((i) => [partKey("k", i), partKey("k".repeat(255), i)])
    assert.strictEqual(new Set(keys).size, keys.length)
    for (const key of keys) assert.isBelow(key.length, 60)
    assert.strictEqual(partKey("k", 3), partKey("k", 3))
  })
})

describe("a seal", () => {
  it("opens for the same secret, salt and purpose alone, and shows any change", () => {
    const salt = Buffer.from("salt")
    const seal = new Seal("secret", salt)
    const data = Buffer.from("something that nobody else may read")
    const sealed = seal.seal(data, "this")
    assert.deepStrictEqual(new Seal("secret", salt).open(sealed, "this"), data)
    assert.notDeepEqual(seal.seal(data, "this"), sealed)
    assert.isFalse(Buffer.from(sealed).includes("nobody"))
    assert.throws(() => new Seal("other", salt).open(sealed, "this"))
    assert.throws(() => new Seal("secret", Buffer.from("pepper")).open(sealed, "this"))
    assert.throws(() => seal.open(sealed, "that"))
    for (const at of [0, 12, 28, sealed.length - 1]) {
      const changed = Uint8Array.from(sealed)
      changed[at]! ^= 1
      assert.throws(() => seal.open(changed, "this"), undefined, undefined, `byte ${at}`)
    }
    assert.throws(() => seal.open(sealed.subarray(0, 10), "this"))
    assert.strictEqual(seal.open(seal.seal(new Uint8Array(), "this"), "this").length, 0)
  })
})
