import { assert, describe, it } from "@effect/vitest"
import { preferred } from "../../src/http/Accept.ts"

const types = ["application/json", "text/event-stream"]

describe("content negotiation", () => {
  it("takes the first type when anything goes", () => {
    for (const accept of [undefined, "", "*/*", "application/*", "nonsense"]) {
      assert.strictEqual(preferred(accept, types), "application/json", String(accept))
    }
  })

  it("follows quality, and the more specific range over the wider", () => {
    assert.strictEqual(preferred("text/event-stream", types), "text/event-stream")
    assert.strictEqual(
      preferred("application/json;q=0.5, text/event-stream;q=0.9", types),
      "text/event-stream",
    )
    assert.strictEqual(preferred("*/*;q=0.8, application/json;q=0.1", types), "text/event-stream")
    assert.strictEqual(preferred("Text/Event-Stream; charset=utf-8", types), "text/event-stream")
  })

  it("finds nothing when all is excluded", () => {
    assert.isUndefined(preferred("text/html", types))
    assert.isUndefined(preferred("*/*, application/json;q=0, text/event-stream;q=0", types))
  })
})
