import { describe, expect, it } from "@effect/vitest"
import * as fc from "fast-check"
import { stripVTControlCharacters } from "node:util"
import { jsonLines, LogKind, prettyLines } from "../../src/telemetry/LogFormat.ts"

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

describe("A line for people", () => {
  const entry = {
    at: Date.UTC(2026, 0, 1, 12, 30, 5, 7),
    kind: new LogKind("warn", "GET /v1/jobs 200 is slow"),
    context: { requestId: "req_1", traceId: "0af7651916cd43dd8448eb211c80319c" },
    metadata: { durationMs: 1_200, agent: "curl" },
  }

  it("has the time of day, what happened, and what else is known", () => {
    expect(prettyLines(false)(entry)).toBe(
      "12:30:05.007 WARN  GET /v1/jobs 200 is slow durationMs=1200 agent=curl requestId=req_1\n",
    )
  })

  it("has colours where they are wanted, and says the same", () => {
    const colourful = prettyLines(true)(entry)
    expect(colourful).toContain("\u001b[33mWARN ")
    expect(stripVTControlCharacters(colourful)).toBe(prettyLines(false)(entry))
  })

  it("sets texts of several lines apart, and lets nothing that was logged move the cursor", () => {
    const line = prettyLines(false)({
      ...entry,
      kind: new LogKind("error", "gone\u001b[2J"),
      context: undefined,
      metadata: { agent: "\u001b]0;title\u0007\u001b[1Acurl", stack: "Error\n  at one\n  at other" },
    })
    expect(line).toBe("12:30:05.007 ERROR gone agent=curl\n  stack: Error\n    at one\n    at other\n")
  })
})
