import { createHmac } from "node:crypto"
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Layer, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { ReplayGuard } from "../../src/security/ReplayGuard.ts"
import * as Webhook from "../../src/security/WebhookSignature.ts"
import { forAll } from "../support/Property.ts"

/** The vector of the specification. */
const VECTOR = {
  secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
  id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
  timestamp: 1_614_265_330,
  body: '{"test": 2432232314}',
  signature: "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
}
const HEADERS = {
  "webhook-id": VECTOR.id,
  "webhook-timestamp": String(VECTOR.timestamp),
  "webhook-signature": VECTOR.signature,
}
const OTHER_SECRET = `whsec_${Buffer.alloc(32, 7).toString("base64")}`
const OTHER_SIGNATURE = "v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

const guarded = (idsMax: number) =>
  Webhook.WebhookSignature.layer.pipe(
    Layer.provide(ReplayGuard.layerWith(idsMax)),
    Layer.provide(NodeCrypto.layerMac),
  )
const layer = guarded(10)

const secret = (text: string) => Webhook.secret(Redacted.make(text))
const atVector = TestClock.setTime(VECTOR.timestamp * 1_000)
const verify = (
  headers: Readonly<Record<string, string | undefined>>,
  options: { readonly body?: Uint8Array | string; readonly secrets?: ReadonlyArray<string> } = {},
) =>
  Effect.gen(function* () {
    const webhooks = yield* Webhook.WebhookSignature
    const secrets = yield* Effect.forEach(options.secrets ?? [VECTOR.secret], secret)
    return yield* webhooks.verify({ headers, body: options.body ?? VECTOR.body }, secrets)
  })
const refusalOf = (...args: Parameters<typeof verify>) =>
  Effect.map(Effect.flip(verify(...args)), (error) =>
    error._tag === "SignatureRefused" ? error.refusal : error._tag,
  )

describe("a signature", () => {
  it.effect("is the one of the specification's vector", () =>
    Effect.gen(function* () {
      const { sign } = yield* Webhook.WebhookSignature
      assert.deepStrictEqual(yield* sign(VECTOR, [yield* secret(VECTOR.secret)]), HEADERS)
    }).pipe(Effect.provide(layer)),
  )

  it.effect("of the specification's vector is verified, for text and for bytes", () =>
    Effect.gen(function* () {
      yield* atVector
      const expected = { id: VECTOR.id, timestamp: VECTOR.timestamp }
      assert.deepStrictEqual(yield* verify(HEADERS), expected)
      assert.deepStrictEqual(yield* verify(HEADERS, { body: Buffer.from(VECTOR.body) }), expected)
    }).pipe(Effect.provide(layer)),
  )

  it.effect("is HMAC-SHA256 as everybody computes it, whatever the message", () =>
    forAll(
      fc.record({
        id: fc.stringMatching(/^[!-\-/-~]{1,128}$/),
        timestamp: fc.nat(999_999_999_999),
        body: fc.uint8Array({ maxLength: 1_000 }),
        key: fc.uint8Array({ minLength: 24, maxLength: 64 }),
      }),
      ({ body, id, key, timestamp }) =>
        Effect.gen(function* () {
          const { sign, verify } = yield* Webhook.WebhookSignature
          const mine = yield* Webhook.secret(Webhook.secretText(key))
          const headers = yield* sign({ id, timestamp, body }, [mine])
          const expected = createHmac("sha256", key)
            .update(`${id}.${timestamp}.`)
            .update(body)
            .digest("base64")
          assert.strictEqual(headers["webhook-signature"], `v1,${expected}`)
          yield* TestClock.setTime(timestamp * 1_000)
          assert.deepStrictEqual(yield* verify({ headers, body }, [mine]), { id, timestamp })
        }).pipe(Effect.provide([layer, TestClock.layer()])),
    ),
  )

  it.effect("covers the id, the timestamp and every byte of the body", () =>
    Effect.gen(function* () {
      yield* atVector
      assert.strictEqual(yield* refusalOf({ ...HEADERS, "webhook-id": "msg_other" }), "no_match")
      const later = String(VECTOR.timestamp + 1)
      assert.strictEqual(yield* refusalOf({ ...HEADERS, "webhook-timestamp": later }), "no_match")
      for (let i = 0; i < VECTOR.body.length; i++) {
        const body = Buffer.from(VECTOR.body)
        body[i]! ^= 1
        assert.strictEqual(yield* refusalOf(HEADERS, { body }), "no_match")
      }
      assert.strictEqual(yield* refusalOf(HEADERS, { body: `${VECTOR.body}\n` }), "no_match")
      assert.strictEqual(yield* refusalOf(HEADERS, { body: "" }), "no_match")
    }).pipe(Effect.provide(layer)),
  )

  it.effect("may be one of several in the header", () =>
    Effect.gen(function* () {
      yield* atVector
      for (const signatures of [
        `${OTHER_SIGNATURE} ${VECTOR.signature}`,
        `${VECTOR.signature} ${OTHER_SIGNATURE}`,
        `v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== ${VECTOR.signature}`,
        Array.from({ length: 16 }, () => VECTOR.signature).join(" "),
      ]) {
        yield* verify({ ...HEADERS, "webhook-signature": signatures })
      }
    }).pipe(Effect.provide(layer)),
  )

  it.effect("of another version or form counts for nothing", () =>
    Effect.gen(function* () {
      yield* atVector
      const mac = VECTOR.signature.slice(3)
      for (const signature of [
        `v0,${mac}`,
        `v2,${mac}`,
        `v1a,${mac}`,
        `v1,${mac.slice(0, -1)}`,
        `v1,${mac.replaceAll("+", "-").replaceAll("/", "_")}`,
        "v1,aaaa",
        // The same bytes, in a base64 that nobody writes.
        `v1,${mac.replace("E=", "F=")}`,
      ]) {
        assert.strictEqual(
          yield* refusalOf({ ...HEADERS, "webhook-signature": signature }),
          "no_match",
          signature,
        )
      }
    }).pipe(Effect.provide(layer)),
  )
})

describe("secrets that change", () => {
  it.effect("are all signed with, and each one of them verifies", () =>
    Effect.gen(function* () {
      yield* atVector
      const { sign } = yield* Webhook.WebhookSignature
      const headers = yield* sign(VECTOR, [yield* secret(OTHER_SECRET), yield* secret(VECTOR.secret)])
      assert.lengthOf(headers["webhook-signature"].split(" "), 2)
      yield* verify(headers, { secrets: [VECTOR.secret] })
      yield* verify(headers, { secrets: [OTHER_SECRET] })
    }).pipe(Effect.provide(layer)),
  )

  it.effect("are all tried, and one that was taken away is not", () =>
    Effect.gen(function* () {
      yield* atVector
      yield* verify(HEADERS, { secrets: [OTHER_SECRET, VECTOR.secret] })
      assert.strictEqual(yield* refusalOf(HEADERS, { secrets: [OTHER_SECRET] }), "no_match")
      assert.strictEqual(yield* refusalOf(HEADERS, { secrets: [] }), "no_match")
    }).pipe(Effect.provide(layer)),
  )

  it.effect("are whsec_ and 24 to 64 bytes in base64, and do not print themselves", () =>
    Effect.gen(function* () {
      const base64 = (bytes: number) => Buffer.alloc(bytes, 1).toString("base64")
      for (const text of [
        "",
        "whsec_",
        VECTOR.secret.slice(6),
        `whsec_${base64(23)}`,
        `whsec_${base64(65)}`,
        `WHSEC_${base64(24)}`,
        `whsec_${base64(24)}!`,
        `whsec_${base64(25).replaceAll("=", "")}`,
        `whpk_${base64(32)}`,
      ]) {
        assert.strictEqual((yield* Effect.flip(secret(text)))._tag, "InvalidSecret", text)
      }
      const good = yield* secret(`whsec_${base64(64)}`)
      assert.notInclude(JSON.stringify(good) + String(good), base64(64).slice(0, 8))
      assert.throws(() => Webhook.secretText(new Uint8Array(23)), RangeError)
    }),
  )
})

describe("the time of a message", () => {
  it.effect.each([
    [-301, "too_new"],
    [-300, "good"],
    [0, "good"],
    [300, "good"],
    [301, "too_old"],
  ] as const)("%i seconds ago is %s", ([age, verdict]) =>
    Effect.gen(function* () {
      yield* TestClock.setTime((VECTOR.timestamp + age) * 1_000)
      const refusal = verify(HEADERS).pipe(
        Effect.as("good"),
        Effect.catchTag("SignatureRefused", ({ refusal }) => Effect.succeed(refusal)),
      )
      assert.strictEqual(yield* refusal, verdict)
    }).pipe(Effect.provide(layer)),
  )
})

describe("headers that cannot be right", () => {
  it.effect.each([
    ["webhook-id", undefined, "missing_header"],
    ["webhook-timestamp", undefined, "missing_header"],
    ["webhook-signature", undefined, "missing_header"],
    ["webhook-id", "", "malformed_id"],
    ["webhook-id", "a b", "malformed_id"],
    ["webhook-id", "msg_1.1614265330", "malformed_id"],
    ["webhook-id", "x".repeat(129), "malformed_id"],
    ["webhook-id", "msg\u00e9", "malformed_id"],
    ["webhook-timestamp", "", "malformed_timestamp"],
    ["webhook-timestamp", "1614265330.0", "malformed_timestamp"],
    ["webhook-timestamp", "01614265330", "malformed_timestamp"],
    ["webhook-timestamp", "+1614265330", "malformed_timestamp"],
    ["webhook-timestamp", "-1", "malformed_timestamp"],
    ["webhook-timestamp", "1e9", "malformed_timestamp"],
    ["webhook-timestamp", "NaN", "malformed_timestamp"],
    ["webhook-timestamp", "9999999999999999", "malformed_timestamp"],
    ["webhook-timestamp", "1614265330, 1614265330", "malformed_timestamp"],
    ["webhook-timestamp", "2021-02-25T15:02:10Z", "malformed_timestamp"],
    ["webhook-timestamp", "999999999999", "too_new"],
    ["webhook-timestamp", "0", "too_old"],
    ["webhook-signature", "", "malformed_signature"],
    ["webhook-signature", "v1", "malformed_signature"],
    ["webhook-signature", "v1,", "malformed_signature"],
    ["webhook-signature", "g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", "malformed_signature"],
    ["webhook-signature", ` ${VECTOR.signature}`, "malformed_signature"],
    ["webhook-signature", `${VECTOR.signature},${VECTOR.signature}`, "malformed_signature"],
    [
      "webhook-signature",
      Array.from({ length: 17 }, () => VECTOR.signature).join(" "),
      "malformed_signature",
    ],
    ["webhook-signature", `v1,${"A".repeat(5_000)}`, "malformed_signature"],
  ] as const)("are refused: %s: %s is %s", ([name, value, refusal]) =>
    Effect.gen(function* () {
      yield* atVector
      assert.strictEqual(yield* refusalOf({ ...HEADERS, [name]: value }), refusal)
    }).pipe(Effect.provide(layer)),
  )
})

describe("a message that comes again", () => {
  const receive = <A, E>(
    id: string,
    handle: Effect.Effect<A, E>,
    options: { readonly at?: number; readonly sender?: string } = {},
  ) =>
    Effect.gen(function* () {
      const webhooks = yield* Webhook.WebhookSignature
      const key = yield* secret(VECTOR.secret)
      const body = "{}"
      const headers = yield* webhooks.sign({ id, timestamp: options.at ?? VECTOR.timestamp, body }, [key])
      return yield* webhooks.receive({ headers, body }, [key], options.sender ?? "sender", () => handle)
    })
  const tagOf = (...args: Parameters<typeof receive>) =>
    receive(...args).pipe(
      Effect.as("handled"),
      Effect.catch((error) => Effect.succeed((error as { _tag: string })._tag)),
    )

  it.effect("is handled once, from the first moment of its tolerance to the last", () =>
    Effect.gen(function* () {
      let handled = 0
      const handle = Effect.sync(() => ++handled)
      yield* TestClock.setTime((VECTOR.timestamp - 300) * 1_000)
      assert.strictEqual(yield* tagOf("msg_1", handle), "handled")
      for (const seconds of [-299, 0, 299, 300]) {
        yield* TestClock.setTime((VECTOR.timestamp + seconds) * 1_000 + 999)
        assert.strictEqual(yield* tagOf("msg_1", handle), "Replayed")
      }
      yield* TestClock.setTime((VECTOR.timestamp + 301) * 1_000)
      assert.strictEqual(yield* tagOf("msg_1", handle), "SignatureRefused")
      assert.strictEqual(handled, 1)
    }).pipe(Effect.provide(layer)),
  )

  it.effect("is handled once when both come at the same time", () =>
    Effect.gen(function* () {
      yield* atVector
      const started = yield* Deferred.make<void>()
      const finish = yield* Deferred.make<void>()
      const slow = Deferred.succeed(started, undefined).pipe(Effect.andThen(Deferred.await(finish)))
      const first = yield* Effect.forkChild(tagOf("msg_1", slow))
      yield* Deferred.await(started)
      assert.strictEqual(yield* tagOf("msg_1", Effect.void), "Replayed")
      yield* Deferred.succeed(finish, undefined)
      assert.strictEqual(yield* Fiber.join(first), "handled")
    }).pipe(Effect.provide(layer)),
  )

  it.effect("with a later timestamp is known for as long as that is good", () =>
    Effect.gen(function* () {
      yield* atVector
      yield* receive("msg_1", Effect.void)
      const later = { at: VECTOR.timestamp + 200 }
      assert.strictEqual(yield* tagOf("msg_1", Effect.void, later), "Replayed")
      yield* TestClock.adjust("450 seconds")
      assert.strictEqual(yield* tagOf("msg_1", Effect.void, later), "Replayed")
    }).pipe(Effect.provide(layer)),
  )

  it.effect("is heard when the first try failed, died or was interrupted", () =>
    Effect.gen(function* () {
      yield* atVector
      for (const broken of [Effect.fail("no"), Effect.die("no"), Effect.interrupt]) {
        yield* Effect.exit(receive("msg_1", broken))
      }
      assert.strictEqual(yield* tagOf("msg_1", Effect.void), "handled")
    }).pipe(Effect.provide(layer)),
  )

  it.effect("from another sender is another message", () =>
    Effect.gen(function* () {
      yield* atVector
      yield* receive("msg_1", Effect.void)
      yield* receive("msg_1", Effect.void, { sender: "other" })
    }).pipe(Effect.provide(layer)),
  )

  it.effect("is never forgotten to make room: new messages wait until there is some", () =>
    Effect.gen(function* () {
      yield* atVector
      for (const id of ["a", "b", "c"]) yield* receive(id, Effect.void)
      assert.strictEqual(yield* tagOf("d", Effect.void), "ReplayGuardFull")
      for (const id of ["a", "b", "c"]) assert.strictEqual(yield* tagOf(id, Effect.void), "Replayed")
      yield* TestClock.adjust("302 seconds")
      assert.strictEqual(yield* tagOf("d", Effect.void, { at: VECTOR.timestamp + 302 }), "handled")
    }).pipe(Effect.provide(guarded(3))),
  )

  it.effect("cannot take up room without a signature", () =>
    Effect.gen(function* () {
      yield* atVector
      const webhooks = yield* Webhook.WebhookSignature
      const key = yield* secret(VECTOR.secret)
      for (let i = 0; i < 10; i++) {
        const headers = { ...HEADERS, "webhook-id": `forged_${i}` }
        yield* Effect.flip(webhooks.receive({ headers, body: "" }, [key], "sender", () => Effect.void))
      }
      yield* receive("a", Effect.void)
    }).pipe(Effect.provide(guarded(1))),
  )
})
