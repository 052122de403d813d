/**
 * Runs the benchmarks named on the command line, or all of them: `npm run bench -- enqueue pickup --json`. Every one prints
 * its figures beside a ceiling measured in the same run.
 */
import { drain } from "./drain.ts"
import { enqueue } from "./enqueue.ts"
import { http } from "./http.ts"
import { pickup } from "./pickup.ts"
import { runBenchmark } from "./support/Benchmark.ts"

const benchmarks = { enqueue, drain, pickup, http }

const names = process.argv.slice(2).filter((argument) => !argument.startsWith("--"))
const unknown = names.find((name) => !(name in benchmarks))
if (unknown === undefined) {
  for (const [name, benchmark] of Object.entries(benchmarks)) {
    if (names.length === 0 || names.includes(name)) await runBenchmark(benchmark)
  }
} else {
  console.error(`there is no benchmark ${unknown}; there are ${Object.keys(benchmarks).join(", ")}`)
  process.exitCode = 1
}
