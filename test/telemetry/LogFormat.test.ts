import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import { jsonLines, LogKind } from "../../src/telemetry/LogFormat.ts"

/** The year 9999 is the last that has four digits. */
const LAST = 253_402_300_799_999

describe("The time of a line", () => {
  it("is RFC 3339 with milliseconds, whatever the line before it had", () => {
    const format = jsonLines("renderowl", "here")
    const kind = new LogKind("info", "something happened")
    const time = fc.integer({ min: 0, max: LAST })
    fc.assert(
      fc.property(fc.array(fc.tuple(time, fc.integer({ min: 0, max: 1_999 })), { minLength: 1 }), (times) => {
        for (const [start, later] of times)
          for (const at of [start, Math.min(start + later, LAST)]) {
            const line = format({ at, kind, context: undefined, metadata: undefined })
            expect(JSON.parse(line)).toHaveProperty("timestamp", new Date(at).toISOString())
          }
      }),
    )
  })
})
