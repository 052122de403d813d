import { assert, describe, it } from "@effect/vitest"
import { LoadRecord } from "../../../src/ops/load/LoadRecord.ts"
import { type Limits, type LoadResult, resultOf, resultText } from "../../../src/ops/load/LoadResult.ts"
import { reportPage } from "../../../src/ops/load/ReportPage.ts"

const SECONDS = 10

/** A load of a hundred requests a second, each some milliseconds, of which the tenth fails. */
const record = (error = "503 overloaded") => {
  const record = new LoadRecord(SECONDS * 1_000)
  for (let n = 0; n < SECONDS * 100; n++) {
    const latency = 1 + (n % 100)
    record.request(n % 2 === 0 ? "GET /v1/jobs/{id}" : "POST /v1/jobs", n % 10 === 0 ? error : undefined, {
      latency,
      service: latency,
      at: n * 10,
    })
  }
  record.end()
  return record
}

const result = (
  limits: Limits = {},
  { about, cost, from = record() }: { about?: object; cost?: object; from?: LoadRecord } = {},
): LoadResult =>
  resultOf(
    { record: from, elapsedMs: SECONDS * 1_000, cost: { busy: 0.2, cpuMicros: 20, ...cost } },
    {
      url: "http://127.0.0.1:8000",
      scenario: "enqueue",
      startedAt: "2026-01-01T00:00:00.000Z",
      concurrency: 16,
      rate: 100,
      ceilingPerSecond: 40_000,
      ...about,
    },
    limits,
  )

describe("what a load has shown", () => {
  it("is fine without limits, and within them, and not beyond", () => {
    assert.isTrue(result().ok)
    assert.isTrue(result({ maxP99: 100, maxErrorRate: 0.1 }).ok)
    const { limits, ok } = result({ maxP99: 50, maxErrorRate: 0.05 })
    assert.isFalse(ok)
    assert.deepStrictEqual(
      limits.map(({ name, ok }) => [name, ok]),
      [
        ["p99 in milliseconds", false],
        ["error rate", false],
      ],
    )
  })

  it("is never fine when nothing came back as it should, or nothing was sent", () => {
    const failed = new LoadRecord(1_000)
    failed.request("GET /", "connection refused", { latency: 1, service: 1, at: 1 })
    assert.isFalse(result({}, { from: failed }).ok)
    assert.isFalse(result({}, { from: new LoadRecord(1_000) }).ok)
  })

  it("says when the figures may be those of the tester", () => {
    assert.deepStrictEqual(result().tester.doubts, [])
    assert.match(result({}, { cost: { busy: 0.95 } }).tester.doubts.join(), /at work 95/)
    assert.match(result({}, { about: { ceilingPerSecond: 110 } }).tester.doubts.join(), /did 90/)
    const late = record()
    for (let n = 0; n < 100; n++) late.lateness.record(50)
    const found = result({}, { from: late })
    assert.match(found.tester.doubts.join(), /timers came up to 50/)
    assert.match(resultText(found), /^the figures may be those of the tester: /m)
  })
})

describe("the report of a load", () => {
  it("is one file that needs nothing from elsewhere and runs nothing", () => {
    const page = reportPage(result({ maxP99: 50 }))
    assert.notMatch(page, /<script|<link|<img|<iframe|@import|url\(|\son\w+=/i)
    assert.notMatch(page.replaceAll("http://127.0.0.1:8000", ""), /https?:/)
    assert.include(page, "default-src 'none'")
    assert.include(page, "prefers-color-scheme: dark")
    assert.strictEqual(page.match(/<svg /g)?.length, 3)
    assert.strictEqual(page.match(/<polyline /g)?.length, 6)
    assert.notMatch(page, /NaN|undefined|Infinity/)
    assert.match(page, /class="bad">p99 in milliseconds is \d/)
  })

  it("shows what a server says as text", () => {
    const page = reportPage(
      result({}, { from: record('<script>alert("1")</script>'), about: { scenario: "GET /<b>&" } }),
    )
    assert.notInclude(page, "<script")
    assert.notInclude(page, "<b>")
    assert.include(page, "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;")
    assert.include(page, "GET /&lt;b&gt;&amp;")
  })

  it("of a load without any answer is a page as well", () => {
    const page = reportPage(result({}, { from: new LoadRecord(1_000) }))
    assert.notMatch(page, /NaN|undefined|Infinity/)
  })
})
