import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { TestClock } from "effect/testing"
import { join } from "node:path"
import { TIERS } from "../../../src/http/rate-limits/Policy.ts"
import type { Tier } from "../../../src/security/Principal.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import { admitted, caller, open, ROUTE } from "./LimitsFixture.ts"

const filename = Effect.map(temporaryFolder, (folder) => join(folder, "limits.db"))
const limitsFor = (anonymousTier: Tier = "free") =>
  Effect.flatMap(filename, (file) => open({ filename: file, anonymousTier }))

const HERE = "192.0.2.7"
const MORE = 20

/** Requests a minute and burst: of a key, a signed-in user, and an anonymous caller. */
const promised = {
  free: [100, 10, 30, 5, 10],
  starter: [1_000, 50, 100, 20, 20],
  creator: [5_000, 200, 500, 50, 50],
  pro: [20_000, 1_000, 2_000, 200, 200],
  enterprise: [100_000, 5_000, 10_000, 1_000, 1_000],
} as const

describe("a caller's share", () => {
  for (const tier of Object.keys(promised) as Array<Tier>) {
    const [keyRate, keyBurst, userRate, userBurst, anonymousRate] = promised[tier]

    it.effect(`${tier}: a minute and its burst at once, then what refills`, () =>
      Effect.gen(function* () {
        const { limits } = yield* limitsFor(tier)
        for (const [verdict, rate, burst] of [
          [limits.admit(caller("key_1", "api_key", tier), ROUTE), keyRate, keyBurst],
          [limits.admit(caller("user_1", "user", tier), ROUTE), userRate, userBurst],
          [limits.admitAddress(HERE, ROUTE), anonymousRate, 0],
        ] as const) {
          assert.strictEqual(yield* admitted(verdict, rate + burst + MORE), rate + burst)
          const refusal = yield* verdict
          assert.strictEqual(refusal?.limit, rate)
          assert.strictEqual(refusal?.remaining, 0)
          assert.strictEqual(refusal?.retry_after, Math.max(1, Math.ceil(60 / rate)))

          yield* TestClock.adjust("30 seconds")
          assert.strictEqual(yield* admitted(verdict, rate), rate / 2)
          // However long it was away: never more than the bucket holds.
          yield* TestClock.adjust("1 hour")
          assert.strictEqual(yield* admitted(verdict, rate + burst + MORE), rate + burst)
        }
      }),
    )
  }

  it.effect(
    "is what is promised, to the token: the next one comes when the refusal says, and not before",
    () =>
      Effect.gen(function* () {
        const { limits } = yield* limitsFor()
        const verdict = limits.admitAddress(HERE, ROUTE)
        yield* admitted(verdict, 10)
        yield* TestClock.adjust("2500 millis")
        // One each 6 seconds: 3.5 are left.
        const refusal = yield* verdict
        assert.strictEqual(refusal?.retry_after, 4)
        assert.strictEqual(refusal?.reset_at, "1970-01-01T00:01:00.000Z")
        yield* TestClock.adjust("3499 millis")
        assert.isDefined(yield* verdict)
        yield* TestClock.adjust("1 millis")
        assert.isUndefined(yield* verdict)
        assert.isDefined(yield* verdict)
      }),
  )

  it.effect("is the caller's own, whatever others do", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      assert.strictEqual(yield* admitted(limits.admit(caller("key_1"), ROUTE), 1_000), 110)
      assert.isUndefined(yield* limits.admit(caller("key_2"), ROUTE))
      assert.isUndefined(yield* limits.admit(caller("user_1", "user"), ROUTE))
      assert.isUndefined(yield* limits.admitAddress(HERE, ROUTE))
      // Another route does not make it larger.
      assert.isDefined(yield* limits.admit(caller("key_1"), { method: "POST", path: "/v1/jobs" }))
    }),
  )

  it.effect("is the network's for those who are not known: an IPv6 client has 64 bits to itself", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      const from = (address: string | undefined) => admitted(limits.admitAddress(address, ROUTE), 20)
      assert.strictEqual(yield* from("2001:db8:0:1::1"), 10)
      assert.strictEqual(yield* from("2001:db8:0:1:ffff::2"), 0)
      assert.strictEqual(yield* from("2001:db8:0:2::1"), 10)
      assert.strictEqual(yield* from("192.0.2.1"), 10)
      assert.strictEqual(yield* from("::ffff:192.0.2.1"), 0)
      assert.strictEqual(yield* from("192.0.2.2"), 10)
      assert.strictEqual(yield* from(undefined), 10)
      assert.strictEqual(yield* from(undefined), 0)
    }),
  )

  it.effect("does not grow or shrink when the clock is put back", () =>
    Effect.gen(function* () {
      yield* TestClock.setTime(1_000_000)
      const { limits } = yield* limitsFor()
      const verdict = limits.admitAddress(HERE, ROUTE)
      assert.strictEqual(yield* admitted(verdict, 20), 10)
      yield* TestClock.setTime(500_000)
      assert.isDefined(yield* verdict)
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(yield* admitted(verdict, 20), 1)
    }),
  )

  it.effect("ends for nobody who is an administrator, and is counted all the same", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      const admin = limits.admit(caller("key_admin", "api_key", "free", ["admin"]), ROUTE)
      assert.strictEqual(yield* admitted(admin, 500), 500)
      const { allowed, exempt, refused } = limits.stats()
      assert.deepStrictEqual({ allowed, exempt, refused }, { allowed: 110, exempt: 390, refused: 0 })
      assert.isEmpty(limits.violations())
      // The count is there: without the right, there is nothing left.
      assert.isDefined(yield* limits.admit(caller("key_admin"), ROUTE))
    }),
  )

  it.effect("of a higher tier holds at once, and so does that of a lower one", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      yield* admitted(limits.admit(caller("key_1"), ROUTE), 200)
      const starter = limits.admit(caller("key_1", "api_key", "starter"), ROUTE)
      assert.isDefined(yield* starter)
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(yield* admitted(starter, 2_000), 1_000)
      yield* TestClock.adjust("66 seconds")
      assert.strictEqual(yield* admitted(limits.admit(caller("key_1"), ROUTE), 2_000), 110)
    }),
  )
})

describe("credentials that are refused", () => {
  const secret = (n: number) => Redacted.make(`guess ${n}`)

  it.effect("are tried only as often as an anonymous caller may ask, each address by itself", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      let tried = 0
      for (let n = 0; n < 50; n++) {
        if ((yield* limits.admitAttempt(secret(n), HERE, ROUTE)) !== undefined) break
        yield* limits.attemptFailed(secret(n), HERE, ROUTE)
        tried++
      }
      assert.strictEqual(tried, TIERS.free.failedAuthentication.perMinute)
      const refusal = yield* limits.admitAttempt(secret(99), HERE, ROUTE)
      assert.strictEqual(refusal?.retry_after, 6)
      assert.isUndefined(yield* limits.admitAttempt(secret(99), "192.0.2.8", ROUTE))
      yield* TestClock.adjust("6 seconds")
      assert.isUndefined(yield* limits.admitAttempt(secret(99), HERE, ROUTE))
      // Who asks without any is not kept from it by those who guess.
      assert.isUndefined(yield* limits.admitAddress(HERE, ROUTE))
    }),
  )

  it.effect("cost nothing when they are good", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      for (let n = 0; n < 50; n++) assert.isUndefined(yield* limits.admitAttempt(secret(n), HERE, ROUTE))
    }),
  )

  it.effect("and sent again are no guesses, but requests without credentials", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      const ended = secret(1)
      let answered = 0
      for (let n = 0; n < 50; n++) {
        if ((yield* limits.admitAttempt(ended, HERE, ROUTE)) !== undefined) continue
        yield* limits.attemptFailed(ended, HERE, ROUTE)
        answered++
      }
      // The first time, and what an anonymous caller has.
      assert.strictEqual(answered, 1 + TIERS.free.anonymous.perMinute)
      // Nobody else at this address is kept from signing in.
      for (let n = 2; n <= 10; n++) {
        assert.isUndefined(yield* limits.admitAttempt(secret(n), HERE, ROUTE))
        yield* limits.attemptFailed(secret(n), HERE, ROUTE)
      }
      assert.isDefined(yield* limits.admitAttempt(secret(11), HERE, ROUTE))
    }),
  )
})

describe("violations", () => {
  it.effect("are kept by caller, route and policy, with how often and when, the newest first", () =>
    Effect.gen(function* () {
      const { limits } = yield* limitsFor()
      const first = limits.admit(caller("user_1", "user"), ROUTE)
      const second = limits.admitAddress(HERE, { method: "POST", path: "/v1/jobs" })
      yield* admitted(first, 35)
      yield* admitted(second, 10)
      yield* TestClock.adjust("100 millis")
      yield* first
      yield* second
      yield* TestClock.adjust("100 millis")
      yield* first
      yield* first
      const shown = limits.violations().map(({ sequence: _, ...violation }) => violation)
      assert.deepStrictEqual(shown, [
        {
          caller: "user_1",
          kind: "user",
          policy: "free-user",
          route: "GET /v1/jobs/:id",
          count: 3,
          firstAt: 100,
          lastAt: 200,
        },
        {
          caller: HERE,
          kind: "address",
          policy: "anonymous",
          route: "POST /v1/jobs",
          count: 1,
          firstAt: 100,
          lastAt: 100,
        },
      ])
      const [newest, oldest] = limits.violations()
      assert.deepStrictEqual(limits.violations(newest!.sequence), [oldest!])
    }),
  )
})
