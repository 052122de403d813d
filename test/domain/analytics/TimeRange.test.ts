import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import { resolve, type TimeRangeQuery } from "../../../src/domain/analytics/TimeRange.ts"

const at = (text: string) => Date.parse(`${text}Z`)
const NOW = at("2026-03-10T14:30:00")

const rangeOf = (query: TimeRangeQuery) => {
  const range = Result.getOrThrow(resolve(query, NOW))
  return [
    range.interval,
    ...[range.after, range.before].map((millis) => new Date(millis).toISOString().slice(0, 16)),
  ]
}

describe("a time range", () => {
  it("is the last day in hours, unless something else is asked for", () => {
    assert.deepStrictEqual(rangeOf({}), ["hour", "2026-03-09T15:00", "2026-03-10T15:00"])
    assert.deepStrictEqual(rangeOf({ interval: "day" }), ["day", "2026-02-09T00:00", "2026-03-11T00:00"])
  })

  it("is whole hours or days, and takes hours up to two days", () => {
    const from = (after: string) => rangeOf({ after: at(after) })
    assert.deepStrictEqual(from("2026-03-10T12:59:59"), ["hour", "2026-03-10T12:00", "2026-03-10T15:00"])
    assert.deepStrictEqual(from("2026-03-08T14:30:00")[0], "hour")
    assert.deepStrictEqual(from("2026-03-08T14:29:59"), ["day", "2026-03-08T00:00", "2026-03-11T00:00"])
  })

  it("does not begin an hour at whose very start it ends", () => {
    const range = Result.getOrThrow(
      resolve({ after: at("2026-03-10T12:00:00"), before: at("2026-03-10T14:00:00") }, NOW),
    )
    assert.deepStrictEqual(range.starts, [at("2026-03-10T12:00:00"), at("2026-03-10T13:00:00")])
  })

  it("is refused where it is empty, too long, or beyond what a date can be", () => {
    const refused = [
      { after: NOW },
      { after: NOW + 1 },
      { after: 0, interval: "hour" },
      { after: 0, interval: "day" },
      { before: 8_640_000_000_000_000 },
      { before: -8_640_000_000_000_000 },
    ] as const
    for (const query of refused) assert.isTrue(Result.isFailure(resolve(query, NOW)), JSON.stringify(query))
  })
})
