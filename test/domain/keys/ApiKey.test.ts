import { assert, describe, it } from "@effect/vitest"
import { given } from "../../../src/actor/BehaviorSpec.ts"
import { ApiKey, ApiKeyBehavior, type ApiKeyEvent } from "../../../src/domain/keys/ApiKey.ts"
import { EventCatalog } from "../../../src/journal/DomainEvent.ts"

const key = {
  name: "deploy",
  prefix: "ro_live_aaaaaa",
  hash: "a".repeat(64),
  owner: "user_1",
  scopes: ["jobs:read"],
  tier: "pro",
  expires_at: 100,
  allowed_ips: ["192.0.2.0/24"],
  allowed_origins: ["https://app.example.com"],
} as const
const created: ApiKeyEvent = { _tag: "ApiKeyCreated", ...key }
const revoked: ApiKeyEvent = { _tag: "ApiKeyRevoked" }
const second = { prefix: "ro_live_bbbbbb", hash: "b".repeat(64), previous_until: 50 }
const rotated: ApiKeyEvent = { _tag: "ApiKeyRotated", ...second }

describe("an API key", () => {
  it("is made once", () => {
    given(ApiKeyBehavior).when("Create", key).thenEvents(created)
    given(ApiKeyBehavior, created)
      .when("Create", { ...key, name: "again" })
      .thenEvents()
  })

  it("keeps the secret before a rotation until its time, and only that one", () => {
    const { state, thenEvents } = given(ApiKeyBehavior, created).when("Rotate", second)
    thenEvents(rotated)
    assert.deepInclude(state, { hash: second.hash, previous: { hash: key.hash, until: 50 }, name: "deploy" })
    const third = { prefix: "ro_live_cccccc", hash: "c".repeat(64), previous_until: 60 }
    assert.deepStrictEqual(given(ApiKeyBehavior, created, rotated).when("Rotate", third).state.previous, {
      hash: second.hash,
      until: 60,
    })
  })

  it("takes no new secret once it has ended", () => {
    given(ApiKeyBehavior, created).when("Rotate", second, { now: 99 }).thenEvents(rotated)
    given(ApiKeyBehavior, created).when("Rotate", second, { now: 100 }).thenRefused("ApiKeyEnded")
    given(ApiKeyBehavior, created, revoked).when("Rotate", second).thenRefused("ApiKeyEnded")
    given(ApiKeyBehavior).when("Rotate", second).thenRefused("ApiKeyNotFound")
  })

  it("is revoked for good, with both of its secrets", () => {
    const { state, thenEvents } = given(ApiKeyBehavior, created, rotated).when("Revoke", undefined)
    thenEvents(revoked)
    assert.deepInclude(state, { status: "revoked", previous: null })
    given(ApiKeyBehavior, created, revoked).when("Revoke", undefined).thenEvents()
    given(ApiKeyBehavior).when("Revoke", undefined).thenRefused("ApiKeyNotFound")
  })

  it("that an older release wrote has no limits", () => {
    const { allowed_ips: _, allowed_origins: _1, expires_at: _2, ...before } = key
    const event = new EventCatalog(ApiKey.events).decodeChecked("ApiKeyCreated", 1, JSON.stringify(before))
    assert.deepInclude(event as object, { ...before, expires_at: null, allowed_ips: [], allowed_origins: [] })
  })
})
