/**
 * Do the percentiles that a server tells of its routes agree with what its callers have seen?
 *
 * The load of `load-test` for a minute; then the server is asked for the same minute. It has had some of it before: one that has just
 * started is busy before it reads its first requests, and cannot know since when they were there.
 */
import { type Duration, Effect } from "effect"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import type { RouteTimesJson } from "../src/api/internal/performance/Api.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import type { Figure } from "./support/Figure.ts"
import * as LoadTest from "./support/LoadTest.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
const LOAD_MS = 60_000
const WARM_UP_MS = 5_000
/** The window of a minute has up to half a minute more: the warm-up must not be in it. */
const FORGOTTEN: Duration.Input = "35 seconds"
/** Of what callers have seen. */
const AGREES = { from: 0.9, to: 1.1 }

type RouteTimes = typeof RouteTimesJson.Encoded

/** Names of parameters are written in two ways. */
const withoutNames = (route: string): string => route.replaceAll(/:\w+|\{\w+\}/g, ":")

export const percentiles: Benchmark<unknown> = {
  question: "Do a server and its callers agree on how long requests take?",
  ceiling: "callers",
  run: Effect.fnUntraced(function* (note) {
    const dataDir = yield* benchFolder
    const main = fileURLToPath(new URL("../src/main.ts", import.meta.url))
    const { port } = yield* ServerProcess.start(main, ["serve"], { DATA_DIR: dataDir, PORT: "0" })
    const key = readFileSync(join(dataDir, "admin.key"), "utf8").trim()
    const load = yield* LoadTest.open("mixed-render", { connections: CONNECTIONS, key, port })
    yield* load(WARM_UP_MS)
    yield* Effect.sleep(FORGOTTEN)
    const { elapsedMs, record } = yield* load(LOAD_MS)
    const { count } = record.service
    note(
      `${count.toLocaleString("en")} requests in ${(elapsedMs / 1_000).toFixed(0)} s, ${record.errorCount} failed`,
    )
    const routes = yield* Effect.promise(async () => {
      const headers = { Authorization: `Bearer ${key}` }
      const answer = await fetch(`http://127.0.0.1:${port}/internal/performance/routes?window=1m`, {
        headers,
      })
      return ((await answer.json()) as { readonly data: ReadonlyArray<RouteTimes> }).data
    })
    return record.endpoints.flatMap(({ endpoint, latency }) => {
      const ofServer = routes.find(
        ({ method, route }) => withoutNames(`${method} ${route}`) === withoutNames(endpoint),
      )
      if (ofServer === undefined) throw new Error(`the server tells nothing of ${endpoint}`)
      return (["p50", "p95", "p99"] as const).map((name): Figure => {
        const figure = ofServer[`${name}_ms`]
        const ceiling = latency[name]
        const ratio = figure / ceiling
        return {
          name: `${endpoint} ${name} of ${latency.count.toLocaleString("en")}`,
          unit: "ms",
          figure,
          ceiling,
          ratio,
          budget: `${AGREES.from} to ${AGREES.to} × callers`,
          ok: ratio >= AGREES.from && ratio <= AGREES.to,
        }
      })
    })
  }),
}

if (import.meta.main) await runBenchmark(percentiles)
