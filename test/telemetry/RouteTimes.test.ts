import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { LatencyHistogram } from "../../src/telemetry/LatencyHistogram.ts"
import { OTHER_ROUTES, ROUTES_MAX, RouteTimes, SLICE_MS, type Timed } from "../../src/telemetry/RouteTimes.ts"

const START = Date.UTC(2026, 0, 1)
const QUARTER_MS = 900_000

const timed = (wanted: Partial<Timed> = {}): Timed => ({
  method: "GET",
  route: "/v1/jobs/:id",
  status: 200,
  durationMs: 10,
  ...wanted,
})

const request = fc.record({
  slice: fc.nat({ max: 60 }),
  route: fc.constantFrom("/a", "/b", "/c"),
  status: fc.constantFrom(200, 404, 500, 503),
  durationMs: fc.option(fc.double({ min: 0, max: 5_000, noNaN: true }), { nil: undefined }),
})

describe("the times of routes", () => {
  it("are those of the window and of nothing before it, as if each request had been kept", () => {
    fc.assert(
      fc.property(
        fc.array(request, { maxLength: 200 }),
        fc.constantFrom(1, 2, 10, 30),
        (requests, slices) => {
          const times = new RouteTimes(START)
          const inOrder = requests.toSorted((a, b) => a.slice - b.slice)
          for (const { slice, ...one } of inOrder) times.record(timed(one), START + slice * SLICE_MS)
          const now = START + 60 * SLICE_MS
          const seen = inOrder.filter(({ slice }) => slice >= 60 - slices)
          for (const route of ["/a", "/b", "/c"]) {
            const own = seen.filter((one) => one.route === route)
            const report = times.report(slices * SLICE_MS, now).find((one) => one.route === route)
            const expected = new LatencyHistogram()
            for (const { durationMs } of own) if (durationMs !== undefined) expected.record(durationMs)
            assert.deepStrictEqual(
              [report?.requests ?? 0, report?.errors ?? 0, report?.times.summary() ?? expected.summary()],
              [own.length, own.filter(({ status }) => status >= 500).length, expected.summary()],
            )
          }
        },
      ),
    )
  })

  it("list the busiest route first, and methods apart", () => {
    const times = new RouteTimes(START)
    for (let n = 0; n < 3; n++) times.record(timed({ method: "DELETE" }), START)
    times.record(timed(), START)
    assert.deepStrictEqual(
      times.report(SLICE_MS, START).map(({ method, requests }) => [method, requests]),
      [
        ["DELETE", 3],
        ["GET", 1],
      ],
    )
  })

  it("of more routes than have a place are counted together", () => {
    const times = new RouteTimes(START)
    for (let n = 0; n < ROUTES_MAX + 50; n++) times.record(timed({ route: `/${n}` }), START)
    const reports = times.report(QUARTER_MS, START)
    assert.strictEqual(reports.length, ROUTES_MAX + 1)
    assert.deepInclude(reports[0], { ...OTHER_ROUTES, requests: 50 })
  })

  it("that were meant to wait count as requests, and not as slow", () => {
    const times = new RouteTimes(START)
    times.record(timed({ durationMs: undefined }), START)
    const [report] = times.report(SLICE_MS, START)
    assert.deepStrictEqual([report!.requests, report!.times.count], [1, 0])
  })

  it("are about so many whole slices and the one under way, or what has been since the start", () => {
    const times = new RouteTimes(START)
    assert.strictEqual(times.coveredMs(2 * SLICE_MS, START + SLICE_MS + 1_000), SLICE_MS + 1_000)
    assert.strictEqual(times.coveredMs(2 * SLICE_MS, START + 9 * SLICE_MS + 1_000), 2 * SLICE_MS + 1_000)
  })
})
