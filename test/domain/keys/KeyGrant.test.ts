import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { excess, type Grant } from "../../../src/domain/keys/KeyGrant.ts"
import { contain } from "../../../src/security/AllowedNetworks.ts"
import { Tier } from "../../../src/security/Principal.ts"
import { covers, Scope } from "../../../src/security/Scope.ts"

/** Most pairs are refused at once. */
const RUNS = 5_000

const networks = ["10.0.0.0/8", "10.1.0.0/16", "10.1.2.3/32", "2001:db8::/32", "2001:db8:1::/48"]
const grants: fc.Arbitrary<Grant> = fc.record({
  scopes: fc.subarray([...Scope.literals]),
  tier: fc.constantFrom(...Tier.literals),
  owner: fc.constantFrom("user_1", "user_2"),
  expires_at: fc.constantFrom(null, 1, 2),
  allowed_ips: fc.subarray(networks),
  allowed_origins: fc.subarray(["https://a.example", "https://b.example"]),
})

describe("what a caller may give", () => {
  it("is its own, and less, and what those may give who got it", () => {
    fc.assert(
      fc.property(grants, grants, grants, (one, two, three) => {
        assert.isUndefined(excess(one, one))
        if (excess(one, two) === undefined && excess(two, three) === undefined)
          assert.isUndefined(excess(one, three))
      }),
      { numRuns: RUNS },
    )
  })

  it("is never a scope, a tier, an owner, a time or a place beyond its own, except for administrators", () => {
    fc.assert(
      fc.property(grants, grants, (own, wanted) => {
        if (excess(own, wanted) !== undefined || own.scopes.includes("admin")) return
        assert.isFalse(wanted.scopes.includes("admin"))
        assert.isTrue(covers(own.scopes, wanted.scopes))
        assert.isAtMost(Tier.literals.indexOf(wanted.tier), Tier.literals.indexOf(own.tier))
        assert.strictEqual(wanted.owner, own.owner)
        if (own.expires_at !== null) assert.isAtMost(wanted.expires_at ?? Infinity, own.expires_at)
        if (own.allowed_ips.length > 0)
          assert.isTrue(wanted.allowed_ips.length > 0 && contain(own.allowed_ips, wanted.allowed_ips))
        if (own.allowed_origins.length > 0) {
          assert.isNotEmpty(wanted.allowed_origins)
          assert.includeMembers([...own.allowed_origins], [...wanted.allowed_origins])
        }
      }),
      { numRuns: RUNS },
    )
  })

  it("says first which scopes are lacking", () => {
    const own: Grant = {
      scopes: ["keys:write"],
      tier: "free",
      owner: "user_1",
      expires_at: null,
      allowed_ips: [],
      allowed_origins: [],
    }
    const refusal = excess(own, { ...own, scopes: ["admin"], tier: "pro" })
    assert.deepInclude(refusal, { _tag: "ScopesNotHeld", required: ["admin"], held: ["keys:write"] })
  })
})
