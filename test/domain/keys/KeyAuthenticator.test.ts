import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted } from "effect"
import { ApiKeyList } from "../../../src/domain/keys/ApiKeyList.ts"
import { ApiKeys, type NewApiKey } from "../../../src/domain/keys/ApiKeys.ts"
import { authenticatorLayer } from "../../../src/domain/keys/KeyAuthenticator.ts"
import { KeyUses } from "../../../src/domain/keys/KeyUses.ts"
import * as RenderOwl from "../../../src/RenderOwl.ts"
import { Authenticator } from "../../../src/security/Authenticator.ts"
import { Principal } from "../../../src/security/Principal.ts"
import { TokenVerifier } from "../../../src/security/TokenVerifier.ts"
import { TestClock } from "effect/testing"

const HOUR_MS = 3_600_000

const admin = new Principal({
  id: "user_1",
  kind: "user",
  owner: "user_1",
  scopes: ["admin"],
  tier: "enterprise",
})

const identity = Layer.mergeAll(authenticatorLayer, ApiKeys.layer).pipe(
  Layer.provide(TokenVerifier.layer(undefined)),
  Layer.provideMerge([KeyUses.layer, ApiKeyList.layer]),
  Layer.provideMerge(RenderOwl.layer({ database: { filename: ":memory:" }, grace: 0 })),
)

const create = (wanted: Partial<NewApiKey> = {}) =>
  Effect.flatMap(ApiKeys, (keys) => keys.create(admin, { name: "test", scopes: ["jobs:read"], ...wanted }))

/** What is made of a secret at a moment: the name of the refusal, or the caller's id. */
const recognise = (secret: Redacted.Redacted<string>, now: number, address = "192.0.2.1") =>
  Authenticator.pipe(
    Effect.flatMap(({ authenticate }) => authenticate(secret, { now, address, origin: undefined })),
    Effect.match({ onFailure: ({ _tag }) => _tag, onSuccess: ({ id }) => id }),
  )

describe("a caller with a key", () => {
  it.effect("that is known already is recognised without waiting for anything", () =>
    Effect.gen(function* () {
      const { secret } = yield* create()
      const { authenticate } = yield* Authenticator
      const from = { now: 0, address: "192.0.2.1", origin: undefined }
      yield* authenticate(secret, from)
      assert.isTrue(Exit.isExit(authenticate(secret, from)))
    }).pipe(Effect.provide(identity)),
  )

  it.effect("is looked at with each request: until when the key is good, and from where", () =>
    Effect.gen(function* () {
      const { id, secret } = yield* create({ expires_at: HOUR_MS, allowed_ips: ["192.0.2.0/24"] })
      for (let again = 0; again < 2; again++) {
        assert.strictEqual(yield* recognise(secret, HOUR_MS - 1), id)
        assert.strictEqual(yield* recognise(secret, HOUR_MS), "InvalidApiKey")
        assert.strictEqual(yield* recognise(secret, 0, "198.51.100.1"), "IpRestricted")
      }
    }).pipe(Effect.provide(identity)),
  )

  it.effect("may have the secret before a rotation until the overlap ends, or the key does", () =>
    Effect.gen(function* () {
      const keys = yield* ApiKeys
      yield* TestClock.setTime(1_000)
      const before = yield* create({ expires_at: HOUR_MS })
      const after = yield* keys.rotate(admin, before.id, 500)
      for (const [secret, until] of [
        [before.secret, 1_500],
        [after.secret, HOUR_MS],
      ] as const) {
        assert.strictEqual(yield* recognise(secret, until - 1), before.id)
        assert.strictEqual(yield* recognise(secret, until), "InvalidApiKey")
      }
      const last = yield* keys.rotate(admin, before.id, 2 * HOUR_MS)
      assert.strictEqual(yield* recognise(after.secret, HOUR_MS - 1), before.id)
      assert.strictEqual(yield* recognise(after.secret, HOUR_MS), "InvalidApiKey")
      assert.strictEqual(yield* recognise(last.secret, HOUR_MS - 1), before.id)
    }).pipe(Effect.provide(identity)),
  )

  it.effect("is nobody once the key is revoked, and one whose key never was likewise", () =>
    Effect.gen(function* () {
      const keys = yield* ApiKeys
      const { id, secret } = yield* create()
      assert.strictEqual(yield* recognise(secret, 0), id)
      yield* keys.revoke(admin, id)
      assert.strictEqual(yield* recognise(secret, 0), "InvalidApiKey")
      const text = Redacted.value(secret)
      for (const other of ["", "ro_live_", text.slice(0, -1), `${text}0`, text.toUpperCase()])
        assert.strictEqual(yield* recognise(Redacted.make(other), 0), "InvalidApiKey")
    }).pipe(Effect.provide(identity)),
  )
})
