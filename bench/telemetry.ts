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
import { shareOfCeiling } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import { median, rounds } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of one measurement: about a tenth of a second. */
const REQUESTS = 1_000
/** Of each start. */
const ROUNDS = 9
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
  /**
   * The first of a start needs many: what V8's own threads take, compiling above all, was 25 to 33 µs a request after 15,000
   * requests, and 11 to 15 after 60,000 (measured). This is about servers that have run for a while.
   */
  readonly warmUpRounds: number
  /**
   * A server is compiled anew each time that it starts, and can be a tenth quicker or slower than another that is the same: three
   * starts gave 0.88 to 0.97 for the same code (measured), which decides nothing about a budget of 0.9.
   */
  readonly starts: number
  readonly hasBudget: boolean
}> = [
  {
    name: "mixed: 40 % jobs, 10 % lists, 50 % looks",
    round: ALL_KINDS,
    warmUpRounds: 60,
    starts: 10,
    hasBudget: true,
  },
  { name: "POST /v1/jobs", round: [["submit", REQUESTS]], warmUpRounds: 15, starts: 3, hasBudget: false },
  { name: "GET from the cache", round: [["look", REQUESTS]], warmUpRounds: 15, starts: 3, hasBudget: false },
]

const STARTS = Math.max(...DISCIPLINES.map(({ starts }) => starts))

/** What a server tells, given the address of the collector. */
const CONTENDERS: ReadonlyArray<{
  readonly name: string
  readonly env: (collector: string) => Readonly<Record<string, string>>
}> = [
  { name: "nothing", env: () => ({ LOG_LEVEL: "none", METRICS: "off" }) },
  { name: "logs and metrics", env: () => ({}) },
  {
    name: "and traces of a tenth",
    env: (collector) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: collector,
      OTEL_TRACES_SAMPLER: "parentbased_traceidratio",
      OTEL_TRACES_SAMPLER_ARG: "0.1",
    }),
  },
  { name: "and traces of all", env: (collector) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: collector }) },
]

interface Contender {
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

/** Of each contender, a figure a round. */
interface Measured {
  readonly perSecond: ReadonlyArray<Array<number>>
  /** Microseconds of processor time that a request takes. */
  readonly processorUs: ReadonlyArray<Array<number>>
}

const nothingMeasured = (): Measured => ({
  perSecond: CONTENDERS.map(() => []),
  processorUs: CONTENDERS.map(() => []),
})

/** Adds rounds to what was measured. */
const measure = Effect.fnUntraced(function* (
  contenders: ReadonlyArray<Contender>,
  { round: asked, warmUpRounds }: (typeof DISCIPLINES)[number],
  measured: Measured,
) {
  const count = rounds(ROUNDS)
  for (let round = -warmUpRounds; round < count; round++) {
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
      measured.perSecond[index]!.push(REQUESTS / ((performance.now() - start) / 1_000))
      measured.processorUs[index]!.push((processorUs() - before) / REQUESTS)
    }
  }
})

/** One contender beside the first. */
const beside = (figures: ReadonlyArray<ReadonlyArray<number>>, index: number): number =>
  median(figures[index]!.map((figure, round) => figure / figures[0]![round]!))

export const telemetry: Benchmark<unknown> = {
  question: "What does telemetry cost?",
  ceiling: "without",
  run: Effect.fnUntraced(function* (note) {
    const { port } = yield* ServerProcess.start(scriptOf("./support/Collector.ts"))
    const collector = `http://127.0.0.1:${port}`
    const measured = DISCIPLINES.map(nothingMeasured)
    for (let start = 1; start <= STARTS; start++) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const folder = yield* benchFolder
          const contenders = yield* Effect.forEach(CONTENDERS, ({ env, name }) =>
            open(name, folder, env(collector)),
          )
          for (const [at, discipline] of DISCIPLINES.entries())
            if (start <= discipline.starts) yield* measure(contenders, discipline, measured[at]!)
        }),
      )
    }
    return DISCIPLINES.flatMap(({ hasBudget, name }, discipline) => {
      const { perSecond, processorUs } = measured[discipline]!
      return CONTENDERS.slice(1).map((contender, at) => {
        const index = at + 1
        const title = `${name}, ${contender.name}`
        note(
          `${title}: ${median(processorUs[index]!).toFixed(1)} µs of processor a request, ${beside(processorUs, index).toFixed(2)} × without`,
        )
        return shareOfCeiling({
          name: title,
          unit: "requests/s",
          figure: median(perSecond[index]!),
          ceiling: median(perSecond[0]!),
          ratio: beside(perSecond, index),
          atLeast: hasBudget ? THROUGHPUT_MIN : null,
        })
      })
    })
  }),
}

if (import.meta.main) await runBenchmark(telemetry)
