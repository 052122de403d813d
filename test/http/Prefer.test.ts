import { assert, describe, it } from "@effect/vitest"
import { Headers } from "effect/http"
import { wait, WAIT_SECONDS_MAX } from "../../src/http/Prefer.ts"

const seconds = (prefer: string) => wait(Headers.fromRecordUnsafe({ prefer }))?.seconds

describe("Prefer: wait", () => {
  it("is read among other preferences, quoted or not, in any case", () => {
    assert.strictEqual(seconds("wait=10"), 10)
    assert.strictEqual(seconds('respond-async, WAIT = "5"; foo=bar'), 5)
    assert.strictEqual(seconds("wait=3, wait=9"), 3)
  })

  it("is cut to a minute and acknowledged as cut", () => {
    const granted = wait(Headers.fromRecordUnsafe({ prefer: "wait=86400" }))
    assert.strictEqual(granted?.seconds, WAIT_SECONDS_MAX)
    assert.deepStrictEqual(granted?.headers, { "preference-applied": "wait=60" })
  })

  it("is ignored when it cannot be read, or is nothing to wait for", () => {
    for (const prefer of ["wait=soon", "wait=-1", "wait=1.5", "wait", "wait=0", "awaiting=3", ""]) {
      assert.isUndefined(seconds(prefer), prefer)
    }
    assert.isUndefined(wait(Headers.empty))
  })
})
