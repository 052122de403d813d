import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { covers, Scope } from "../../src/security/Scope.ts"

describe("scopes", () => {
  it("cover what they name, all of it, and nothing else", () => {
    assert.isTrue(covers(["jobs:read", "jobs:write"], ["jobs:write"]))
    assert.isFalse(covers(["jobs:read"], ["jobs:read", "jobs:write"]))
    assert.isFalse(covers([], ["jobs:read"]))
    assert.isTrue(covers([], []))
  })

  it("are all covered by admin, which none of them covers", () => {
    const all = Scope.literals
    assert.isTrue(covers(["admin"], all))
    assert.isFalse(
      covers(
        all.filter((scope) => scope !== "admin"),
        ["admin"],
      ),
    )
  })

  it("are a closed list", () => {
    assert.isTrue(Schema.is(Scope)("renders:write"))
    assert.isFalse(Schema.is(Scope)("renders:*"))
  })
})
