/**
 * What does telemetry cost?
 *
 * The same requests to servers that differ in nothing else: one that tells nothing, one with logs and metrics as they are by default,
 * and two that export traces as well, of every tenth request and of each. They take turns in one run. What counts is the
 * processor time of the server: on a small machine the load and the collector take theirs from the same cores.
 */
import { Effect } from "effect"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { flat } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import { median, rounds } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of one measurement: about a third of a second. */
const REQUESTS = 2_000
const ROUNDS = 21
/** Spans of a tenth of the requests are compiled late. */
const WARM_UP_ROUNDS = 20
/** DESIGN: full telemetry costs less than a tenth. */
const COST_MAX = 1.1
const DELAY_MS = 364 * 24 * 3_600_000

const scriptOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const job = JSON.stringify({ type: "system:echo", payload: "a day at the harbour", delay_ms: DELAY_MS })

interface Contender {
  readonly name: string
  /** Microseconds of the processor so far; 0 where nobody can tell. */
  readonly processorUs: () => number
  readonly headers: Readonly<Record<string, string>>
  readonly send: (request: HttpLoad.Request, count: number) => Effect.Effect<void>
}

const open = Effect.fnUntraced(function* (
  name: string,
  folder: string,
  env: Readonly<Record<string, string>>,
) {
  const dataDir = join(folder, name.replaceAll(/\W+/g, "-"))
  mkdirSync(dataDir)
  const { port, processorUs = () => 0 } = yield* ServerProcess.start(scriptOf("../src/main.ts"), ["serve"], {
    DATA_DIR: dataDir,
    PORT: "0",
    ...env,
  })
  const contender: Contender = {
    name,
    processorUs,
    headers: {
      "Content-Type": "application/json",
      Authorization: `Bearer ${readFileSync(join(dataDir, "admin.key"), "utf8").trim()}`,
    },
    send: yield* HttpLoad.open(port, CONNECTIONS),
  }
  return contender
})

/** Microseconds of processor time a request takes of each, and how long. */
const measure = Effect.fnUntraced(function* (
  contenders: ReadonlyArray<Contender>,
  requestOf: (contender: Contender) => HttpLoad.Request,
) {
  const cpu = contenders.map(() => 0)
  const perSecond: ReadonlyArray<Array<number>> = contenders.map(() => [])
  const count = rounds(ROUNDS)
  for (let round = -WARM_UP_ROUNDS; round < count; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const index = (turn + Math.abs(round)) % contenders.length
      const contender = contenders[index]!
      const before = contender.processorUs()
      const start = performance.now()
      yield* contender.send(requestOf(contender), REQUESTS)
      if (round < 0) continue
      perSecond[index]!.push(REQUESTS / ((performance.now() - start) / 1_000))
      cpu[index]! += contender.processorUs() - before
    }
  }
  return contenders.map((_, index) => ({
    cpu: cpu[index]! / (count * REQUESTS),
    perSecond: median(perSecond[index]!),
  }))
})

export const telemetry: Benchmark<unknown> = {
  question: "What does telemetry cost?",
  ceiling: "without",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const { port } = yield* ServerProcess.start(scriptOf("./support/Collector.ts"))
    const traces = { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}` }
    const contenders = [
      yield* open("nothing", folder, { LOG_LEVEL: "none", METRICS: "off" }),
      yield* open("logs and metrics", folder, {}),
      yield* open("and traces of a tenth", folder, {
        ...traces,
        OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
        OTEL_TRACES_SAMPLER_ARG: "0.1",
      }),
      yield* open("and traces of all", folder, traces),
    ]
    const post = yield* measure(contenders, ({ headers }) => ({
      method: "POST",
      path: "/v1/jobs",
      headers,
      body: job,
      status: 202,
    }))
    const get = yield* measure(contenders, ({ headers }) => ({
      method: "GET",
      path: "/v1/jobs?limit=1",
      headers,
      status: 200,
    }))
    const figures = []
    for (const [request, results] of [
      ["POST /v1/jobs", post],
      ["GET /v1/jobs", get],
    ] as const) {
      note(
        `${request}: ${results.map(({ perSecond }, i) => `${contenders[i]!.name} ${Math.round(perSecond)}/s`).join(", ")}`,
      )
      for (const [index, { cpu }] of results.entries()) {
        if (index === 0) continue
        figures.push(
          flat({
            name: `${request}, ${contenders[index]!.name}`,
            unit: "µs of processor",
            figure: cpu,
            ceiling: results[0]!.cpu,
            atMost: COST_MAX,
          }),
        )
      }
    }
    return figures
  }),
}

if (import.meta.main) await runBenchmark(telemetry)
