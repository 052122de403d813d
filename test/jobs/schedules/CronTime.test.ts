import { describe, expect, it } from "vitest"
import { Cron, Result } from "effect"
import * as fc from "fast-check"
import {
  firstOfLast,
  isTimeZone,
  lastTick,
  nextTick,
  nextTicks,
  parse,
  parseKnown,
} from "../../../src/jobs/schedules/CronTime.ts"

const MINUTE_MS = 60_000
const HOUR_MS = 60 * MINUTE_MS
const at = (text: string) => Date.parse(text)
const shown = (ticks: ReadonlyArray<number>) => ticks.map((tick) => new Date(tick).toISOString().slice(0, 16))

const ticks = (cron: string, timeZone: string, after: string, count: number) =>
  shown(nextTicks(parseKnown(cron, timeZone), at(after), count))

const isReadable = (cron: string) => Result.isSuccess(parse(cron, "UTC"))

describe("a cron expression", () => {
  it("has 5 fields, or 6 with the seconds first", () => {
    expect(ticks("*/20 9 * * mon", "UTC", "2026-01-14T00:00Z", 4)).toEqual([
      "2026-01-19T09:00",
      "2026-01-19T09:20",
      "2026-01-19T09:40",
      "2026-01-26T09:00",
    ])
    expect(nextTicks(parseKnown("*/25 * * * * *", "UTC"), at("2026-01-14T00:00:00Z"), 3)).toEqual(
      [25, 50, 60].map((seconds) => at("2026-01-14T00:00:00Z") + seconds * 1_000),
    )
    const texts = ["", "* * * *", "* * * * * * *", "@daily", "61 * * * *", "* * * * mond", "*/0 * * * *"]
    expect(texts.filter(isReadable)).toEqual([])
  })

  it("is due strictly after the moment that is asked about, to the second", () => {
    const hourly = parseKnown("0 * * * *", "UTC")
    const noon = at("2026-01-14T12:00:00Z")
    expect(nextTick(hourly, noon - 1)).toBe(noon)
    expect(nextTick(hourly, noon)).toBe(noon + HOUR_MS)
    expect(nextTick(hourly, noon + 1)).toBe(noon + HOUR_MS)
  })

  it("that is never due has no tick, and a rare one has its own", () => {
    expect(nextTick(parseKnown("0 0 30 2 *", "UTC"), at("2026-01-01"))).toBeNull()
    expect(nextTick(parseKnown("0 0 31 4,6,9,11 *", "Europe/Berlin"), at("2026-01-01"))).toBeNull()
    expect(ticks("0 0 29 2 *", "UTC", "2026-01-01", 2)).toEqual(["2028-02-29T00:00", "2032-02-29T00:00"])
  })

  it("is read in a zone of the IANA database, by its name", () => {
    const zones = ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kathmandu"]
    const others = ["Mars/Olympus_Mons", "", "+01:00", "GMT+2", "local", "Europe/Berlin ", "Europe"]
    expect([...zones, ...others].filter(isTimeZone)).toEqual(zones)
    expect(ticks("0 9 * * *", "Asia/Kathmandu", "2026-01-14T00:00Z", 1)).toEqual(["2026-01-14T03:15"])
  })
})

describe("where clocks are put forward", () => {
  it("a time that the day leaves out is due as much later, once", () => {
    expect(ticks("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 2)).toEqual([
      "2026-03-29T01:30", // 03:30 in summer time
      "2026-03-30T00:30",
    ])
    expect(ticks("30 2 * * *", "America/New_York", "2026-03-07T12:00Z", 2)).toEqual([
      "2026-03-08T07:30",
      "2026-03-09T06:30",
    ])
  })

  it("of several such times the first is", () => {
    expect(ticks("*/20 2 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 3)).toEqual([
      "2026-03-29T01:00",
      "2026-03-30T00:00",
      "2026-03-30T00:20",
    ])
  })

  it("times that fall together there are one tick", () => {
    expect(ticks("15 2,3 * * *", "Europe/Berlin", "2026-03-28T12:00Z", 3)).toEqual([
      "2026-03-29T01:15",
      "2026-03-30T00:15",
      "2026-03-30T01:15",
    ])
  })

  it("every half an hour stays every half an hour", () => {
    expect(ticks("*/30 * * * *", "Europe/Berlin", "2026-03-29T00:00Z", 4)).toEqual([
      "2026-03-29T00:30",
      "2026-03-29T01:00",
      "2026-03-29T01:30",
      "2026-03-29T02:00",
    ])
  })
})

describe("where clocks are put back", () => {
  it("a time that comes twice is due the first time only", () => {
    expect(ticks("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00Z", 2)).toEqual([
      "2026-10-25T00:30",
      "2026-10-26T01:30",
    ])
    expect(ticks("30 1 * * *", "America/New_York", "2026-10-31T12:00Z", 2)).toEqual([
      "2026-11-01T05:30",
      "2026-11-02T06:30",
    ])
    expect(ticks("0,30 0-12 * * *", "America/New_York", "2026-11-01T05:00Z", 3)).toEqual([
      "2026-11-01T05:30",
      "2026-11-01T07:00",
      "2026-11-01T07:30",
    ])
  })

  it.each(["* * * * *", "*/20 * * * *", "5 * * * *", "30 0-23 * * *"])(
    "%s goes on through the hour that is repeated",
    (cron) => {
      for (const [timeZone, from] of [
        ["Europe/Berlin", "2026-10-24T20:00Z"],
        ["America/New_York", "2026-11-01T02:00Z"],
      ] as const) {
        const local = nextTicks(parseKnown(cron, timeZone), at(from), 300)
        // UTC has no such hour, and whole hours lie between the two.
        expect(shown(local)).toEqual(ticks(cron, "UTC", from, 300))
      }
    },
  )
})

/** Expressions as people write them, and some that they do not. */
const crons = fc
  .tuple(
    fc.constantFrom("0", "30", "*", "*/20", "5,10", "59"),
    fc.constantFrom("*", "2", "1-3", "*/6", "0", "23"),
    fc.constantFrom("*", "*", "1", "*/10", "31"),
    fc.constantFrom("*", "*", "3", "10,11", "*/2"),
    fc.constantFrom("*", "*", "sun", "1-5"),
  )
  .map((fields) => fields.join(" "))
const zones = fc.constantFrom("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe")
/** Days around which clocks change somewhere, and others. */
const moments = fc
  .tuple(
    fc.constantFrom(
      "2026-03-08",
      "2026-03-29",
      "2026-10-25",
      "2026-10-04",
      "2026-11-01",
      "2026-04-05",
      "2026-07-01",
    ),
    fc.integer({ min: -48 * 60, max: 48 * 60 }),
  )
  .map(([day, minutes]) => at(day) + minutes * MINUTE_MS)

describe("for any expression, zone and moment", () => {
  it("ticks go strictly forward, and from wherever one asks, the same tick comes next unless a gap has moved it", () => {
    fc.assert(
      fc.property(crons, zones, moments, fc.nat({ max: 999 }), (expression, timeZone, moment, share) => {
        const cron = parseKnown(expression, timeZone)
        const found = nextTicks(cron, moment, 8)
        let before = moment
        for (const tick of found) {
          expect(tick).toBeGreaterThan(before)
          const between = before + Math.floor(((tick - before) * share) / 1_000)
          const next = nextTick(cron, between)!
          // From after the gap, a time in it is past.
          const isMoved = !Cron.match(cron, tick)
          expect(isMoved ? Math.min(next, tick) : next).toBe(tick)
          before = tick
        }
      }),
      { numRuns: 400 },
    )
  })

  it("the last tick up to a moment, and where the last few begin, are those that counting finds", () => {
    fc.assert(
      fc.property(
        crons,
        zones,
        moments,
        fc.integer({ min: 1, max: 40 }),
        fc.integer({ min: 1, max: 10 }),
        fc.nat({ max: 999 }),
        (expression, timeZone, moment, many, count, share) => {
          const cron = parseKnown(expression, timeZone)
          const found = nextTicks(cron, moment, many + 1)
          if (found.length <= many) return
          const due = found.slice(0, many)
          const until = due.at(-1)! + Math.floor(((found[many]! - due.at(-1)!) * share) / 1_000)
          expect(lastTick(cron, due[0]!, until)).toBe(due.at(-1))
          const first = firstOfLast(cron, due[0]!, until, count)
          // A clock change among them may cost or add one.
          expect(timeZone === "UTC" ? [due.slice(-count)[0]] : due).toContain(first)
        },
      ),
      { numRuns: 300 },
    )
  })
})
