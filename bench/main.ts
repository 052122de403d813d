/**
 * Runs the benchmarks named on the command line, or all that take seconds: `npm run bench -- enqueue pickup --json`. Those
 * that take minutes run only when they are named. Every one prints its figures beside what they are to be held against,
 * measured in the same run.
 */
import { analytics } from "./analytics.ts"
import { auth } from "./auth.ts"
import { compare } from "./compare.ts"
import { drain } from "./drain.ts"
import { enqueue } from "./enqueue.ts"
import { http } from "./http.ts"
import { limits } from "./limits.ts"
import { percentiles } from "./percentiles.ts"
import { pickup } from "./pickup.ts"
import { scale } from "./scale.ts"
import { runBenchmark } from "./support/Benchmark.ts"
import { telemetry } from "./telemetry.ts"

const short = { enqueue, drain, pickup, http, auth, limits }
const benchmarks = { ...short, analytics, scale, compare, telemetry, percentiles }

const names = process.argv.slice(2).filter((argument) => !argument.startsWith("--"))
const unknown = names.find((name) => !(name in benchmarks))
if (unknown === undefined) {
  for (const [name, benchmark] of Object.entries(benchmarks)) {
    if (names.length === 0 ? name in short : names.includes(name)) await runBenchmark(benchmark)
  }
} else {
  console.error(`there is no benchmark ${unknown}; there are ${Object.keys(benchmarks).join(", ")}`)
  process.exitCode = 1
}
