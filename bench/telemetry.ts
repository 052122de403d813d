/**
 * What does telemetry cost?
 *
 * The same requests to servers that differ in nothing else: one that tells nothing, one with logs and metrics as they are by default,
 * and two that export traces as well, of every tenth request and of each. They take turns in one run. What counts is how many
 * requests a server answers in a second; with the load and the collector on the same two cores, what the collector takes counts as
 * well. The processor time of the server alone is said beside it. The budget is that of a mix of requests; beside it stand the
 * dearest of them and the cheapest, to which a line of log and a span add the most.
 */
import { Effect } from "effect"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { type Figure, shareOfCeiling } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import { median, rounds } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of one measurement: about a tenth of a second. */
const REQUESTS = 1_000
const ROUNDS = 21
const WARM_UP_ROUNDS = 25
/**
 * Of a caller who wants to be traced: warm-up requests have it, so that what makes spans is compiled where a tenth of the requests
 * have any, as it is on a server that has run for a while.
 */
const TRACED = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }
/** DESIGN: full telemetry costs less than a tenth of throughput. */
const THROUGHPUT_MIN = 0.9
const DELAY_MS = 364 * 24 * 3_600_000

const scriptOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const job = { type: "system:echo", payload: "a day at the harbour" }
const later = JSON.stringify({ ...job, delay_ms: DELAY_MS })

interface Requests {
  /** A job that is due in a year, so that what is measured is the submission. */
  readonly submit: HttpLoad.Request
  /** One that runs at once. */
  readonly run: HttpLoad.Request
  readonly list: HttpLoad.Request
  /** A job that has ended, out of the cache. */
  readonly look: HttpLoad.Request
}

/** What is asked in a round, and how often. */
type Round = ReadonlyArray<readonly [request: keyof Requests, count: number]>

const ALL_KINDS: Round = [
  ["run", 0.4 * REQUESTS],
  ["list", 0.1 * REQUESTS],
  ["look", 0.5 * REQUESTS],
]
const DISCIPLINES: ReadonlyArray<{
  readonly name: string
  readonly round: Round
  readonly hasBudget: boolean
}> = [
  { name: "mixed: 40 % jobs, 10 % lists, 50 % looks", round: ALL_KINDS, hasBudget: true },
  { name: "POST /v1/jobs", round: [["submit", REQUESTS]], hasBudget: false },
  { name: "GET from the cache", round: [["look", REQUESTS]], hasBudget: false },
]

interface Contender {
  readonly name: string
  /** Microseconds of the processor so far; 0 where nobody can tell. */
  readonly processorUs: () => number
  readonly requests: Requests
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
  const headers = {
    "Content-Type": "application/json",
    Authorization: `Bearer ${readFileSync(join(dataDir, "admin.key"), "utf8").trim()}`,
  }
  const ended = yield* Effect.promise(async () => {
    const answer = await fetch(`http://127.0.0.1:${port}/v1/jobs`, {
      method: "POST",
      headers: { ...headers, Prefer: "wait=20" },
      body: JSON.stringify(job),
    })
    return ((await answer.json()) as { readonly id: string }).id
  })
  const post = { method: "POST", path: "/v1/jobs", headers, status: 202 } as const
  const get = { method: "GET", headers, status: 200 } as const
  const contender: Contender = {
    name,
    processorUs,
    requests: {
      submit: { ...post, body: later },
      run: { ...post, body: JSON.stringify(job) },
      list: { ...get, path: "/v1/jobs?limit=1" },
      look: { ...get, path: `/v1/jobs/${ended}` },
    },
    send: yield* HttpLoad.open(port, CONNECTIONS),
  }
  return contender
})

/** Of each: requests a second, and microseconds of processor time that one takes; both also beside the first one. */
const measure = Effect.fnUntraced(function* (contenders: ReadonlyArray<Contender>, asked: Round) {
  const cpu: ReadonlyArray<Array<number>> = contenders.map(() => [])
  const perSecond: ReadonlyArray<Array<number>> = contenders.map(() => [])
  const count = rounds(ROUNDS)
  for (let round = -WARM_UP_ROUNDS; round < count; round++) {
    for (let turn = 0; turn < contenders.length; turn++) {
      const index = (turn + Math.abs(round)) % contenders.length
      const { processorUs, requests, send } = contenders[index]!
      const before = processorUs()
      const start = performance.now()
      for (const [name, count] of asked) {
        const request = requests[name]
        yield* send(round < 0 ? { ...request, headers: { ...request.headers, ...TRACED } } : request, count)
      }
      if (round < 0) continue
      perSecond[index]!.push(REQUESTS / ((performance.now() - start) / 1_000))
      cpu[index]!.push((processorUs() - before) / REQUESTS)
    }
  }
  const beside = (measured: ReadonlyArray<ReadonlyArray<number>>, index: number) =>
    median(measured[index]!.map((value, round) => value / measured[0]![round]!))
  return contenders.map((_, index) => ({
    perSecond: median(perSecond[index]!),
    throughput: beside(perSecond, index),
    cpu: median(cpu[index]!),
    processor: beside(cpu, index),
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
    const figures: Array<Figure> = []
    for (const { hasBudget, name, round } of DISCIPLINES) {
      const results = yield* measure(contenders, round)
      for (const [index, { cpu, perSecond, processor, throughput }] of results.entries()) {
        const contender = `${name}, ${contenders[index]!.name}`
        note(`${contender}: ${cpu.toFixed(1)} µs of processor, ${processor.toFixed(2)} ×`)
        if (index === 0) continue
        figures.push(
          shareOfCeiling({
            name: contender,
            unit: "requests/s",
            figure: perSecond,
            ceiling: results[0]!.perSecond,
            ratio: throughput,
            atLeast: hasBudget ? THROUGHPUT_MIN : null,
          }),
        )
      }
    }
    return figures
  }),
}

if (import.meta.main) await runBenchmark(telemetry)
