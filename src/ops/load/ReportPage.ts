/**
 * The report of a load as one HTML file: no scripts, nothing from elsewhere, and every text escaped, since names of errors
 * come from the server that was loaded.
 */
import { escape } from "../../security/HtmlText.ts"
import type { LatencySummary } from "../../telemetry/LatencyHistogram.ts"
import { number } from "../CommandLine.ts"
import { lineChart } from "./LineChart.ts"
import { limitText, type LoadResult, loadText, millis, percent, testerText } from "./LoadResult.ts"

/** Names of places below a chart. */
const MARKS = 7
/** The curve of percentiles, each step nearer to the longest. */
const PERCENTILES = [0, 10, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 99.95, 99.99, 100]

const STYLE = `
:root { color-scheme: light dark; --text: #1c2430; --soft: #5b6675; --page: #fbfbfc; --card: #fff; --edge: #dfe3e8;
  --line0: #1f6feb; --line1: #c25b00; --line2: #b3261e; --good: #1a7f37; --bad: #b3261e }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --soft: #9aa5b4; --page: #12161c; --card: #1a2029; --edge: #2f3844;
  --line0: #6ea8fe; --line1: #f0a35e; --line2: #ff8a80; --good: #6fdc8c; --bad: #ff8a80 } }
* { box-sizing: border-box }
body { margin: 0 auto; padding: 2rem 1rem; max-width: 60rem; color: var(--text); background: var(--page);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.5rem; margin: 0 } h2 { font-size: 1.1rem; margin: 0 0 .5rem }
p { margin: .25rem 0 } .soft, .tick { color: var(--soft); fill: var(--soft) }
section { background: var(--card); border: 1px solid var(--edge); border-radius: .5rem; padding: 1rem; margin-top: 1rem;
  overflow-x: auto }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums }
th, td { text-align: right; padding: .25rem .5rem; border-bottom: 1px solid var(--edge); white-space: nowrap }
th:first-child, td:first-child { text-align: left }
svg { width: 100%; height: auto } .tick { font-size: 11px } .grid { stroke: var(--edge) }
polyline { fill: none; stroke-width: 2; stroke-linejoin: round }
.line0 { stroke: var(--line0) } .line1 { stroke: var(--line1) } .line2 { stroke: var(--line2) }
.swatch { display: inline-block; width: 1rem; height: .25rem; margin-right: .4rem; vertical-align: middle }
.swatch.line0 { background: var(--line0) } .swatch.line1 { background: var(--line1) } .swatch.line2 { background: var(--line2) }
.key { margin-right: 1.25rem; color: var(--soft); font-size: .85rem }
.place { fill: transparent } .place:hover { fill: var(--edge); fill-opacity: .5 }
.good { color: var(--good) } .bad { color: var(--bad) }
`

/** The whole file. */
export const reportPage = (result: LoadResult): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escape(`Load test: ${result.scenario}`)}</title>
<style>${STYLE}</style>
</head>
<body>
<h1>Load test</h1>
<p>${escape(loadText(result))}</p>
<p class="soft">${escape(result.startedAt)}, ${result.seconds.toFixed(1)} seconds</p>
${[verdict(result), summary(result), throughput(result), latencies(result), curve(result), endpoints(result), errors(result), tester(result)].join("\n")}
</body>
</html>
`

const section = (title: string, body: string): string =>
  `<section><h2>${escape(title)}</h2>\n${body}\n</section>`

const table = (head: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): string => {
  const row = (cells: ReadonlyArray<string>, tag: "th" | "td") =>
    `<tr>${cells.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join("")}</tr>`
  return `<table><thead>${row(head, "th")}</thead><tbody>${rows.map((cells) => row(cells, "td")).join("")}</tbody></table>`
}

const verdict = ({ limits }: LoadResult): string =>
  limits.length === 0
    ? ""
    : section(
        "Limits",
        limits
          .map((limit) => `<p class="${limit.ok ? "good" : "bad"}">${escape(limitText(limit))}</p>`)
          .join("\n"),
      )

const COLUMNS = ["requests", "p50", "p90", "p95", "p99", "p99.9", "longest", "mean"]

const row = (name: string, { count, max, mean, p50, p90, p95, p99, p999 }: LatencySummary) => [
  name,
  number(count),
  ...[p50, p90, p95, p99, p999, max, mean].map(millis),
]

const summary = (result: LoadResult): string => {
  const { errorCount, errorRate, latency, perSecond, rate, requests, service } = result
  return section(
    "In short",
    `<p>${escape(
      `${number(requests)} requests, ${number(Math.round(perSecond))} answered a second, ${number(errorCount)} failed (${percent(errorRate)})`,
    )}</p>\n${table(
      ["", ...COLUMNS],
      rate === null
        ? [row("latency", latency)]
        : [row("latency, from when they were due", latency), row("from when they were sent", service)],
    )}\n<p class="soft">Requests that failed count as well.${
      rate === null
        ? " Each connection waited for its last answer before the next request: while the server is slow, fewer are sent."
        : " Requests were due at fixed times; one that found all connections busy counts from when it was due."
    }</p>`,
  )
}

/** Some places, as far from each other as can be. */
const marksOf = (count: number): ReadonlyArray<number> =>
  count <= MARKS
    ? Array.from({ length: count }, (_, i) => i)
    : Array.from({ length: MARKS }, (_, i) => Math.round((i * (count - 1)) / (MARKS - 1)))

const overTime = ({ points }: LoadResult) => ({
  places: points.map(({ at }) => `${at.toFixed(at < 10 ? 1 : 0)} s`),
  marked: marksOf(points.length),
})

const throughput = (result: LoadResult): string =>
  section(
    "Answers a second",
    lineChart({
      ...overTime(result),
      label: "Answers and errors a second over time",
      lines: [
        { name: "answers", values: result.points.map(({ perSecond }) => perSecond) },
        { name: "errors", values: result.points.map(({ errorsPerSecond }) => errorsPerSecond) },
      ],
      format: (value) => number(Math.round(value)),
    }),
  )

const latencies = (result: LoadResult): string =>
  section(
    "Latency over time",
    lineChart({
      ...overTime(result),
      label: "Latency percentiles over time",
      lines: (["p50", "p95", "p99"] as const).map((name) => ({
        name,
        values: result.points.map((point) => point[name]),
      })),
      format: millis,
    }),
  )

const curve = ({ distribution, latency: { count, max, min } }: LoadResult): string => {
  const values = PERCENTILES.map((wanted) => {
    if (wanted === 0) return min
    if (wanted === 100) return max
    let seen = 0
    return distribution.find((bucket) => (seen += bucket.count) >= (wanted / 100) * count)?.to ?? max
  })
  return section(
    "Latency by percentile",
    lineChart({
      label: "Latency by percentile",
      places: PERCENTILES.map((percentile) => `${percentile} %`),
      marked: PERCENTILES.map((_, i) => i),
      lines: [{ name: "no longer than", values }],
      format: millis,
    }),
  )
}

const endpoints = ({ endpoints }: LoadResult): string =>
  section(
    "By endpoint",
    table(
      ["", ...COLUMNS, "errors"],
      endpoints.map(({ endpoint, errors, latency }) => [...row(endpoint, latency), number(errors)]),
    ),
  )

const errors = ({ errors }: LoadResult): string =>
  section(
    "Errors",
    errors.length === 0
      ? "<p>None.</p>"
      : table(
          ["", "requests"],
          errors.map(({ count, type }) => [type, number(count)]),
        ),
  )

const tester = (result: LoadResult): string =>
  section(
    "The tester",
    testerText(result)
      .map((line) => `<p>${escape(line)}</p>`)
      .join("\n"),
  )
