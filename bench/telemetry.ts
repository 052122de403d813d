/**
 * What does telemetry cost?
 *
 * The same requests to servers that differ in nothing else: one that tells nothing, one with logs and metrics as they are by default,
 * and two that export traces as well, of every tenth request and of each. They take turns in one run. What counts is how many
 * requests a server answers in a second; with the load and the collector on the same two cores, what the collector takes counts as
 * well. The processor time of the server alone is said beside it. The budget is that of a mixed load, once of `load-test`, drawn at
 * random and with renders in it, and once of requests by which hardly anything is done; beside it stand the dearest of these and the
 * cheapest, to which a line of log and a span add the most.
 */
import { type Duration, Effect, type Scope } from "effect"
import { mkdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { shareOfCeiling } from "./support/Figure.ts"
import * as HttpLoad from "./support/HttpLoad.ts"
import * as LoadTest from "./support/LoadTest.ts"
import { median, rounds } from "./support/Rounds.ts"
import * as ServerProcess from "./support/ServerProcess.ts"

const CONNECTIONS = 64
/** Requests of a measurement with requests of our own: about a tenth of a second. */
const REQUESTS = 1_000
/** A measurement with the load of `load-test`. */
const LOAD_MS = 4_000
/** As it has by default. */
const LOAD_CONNECTIONS = 16
/** For batches of spans that are on their way, so that they are not taken while somebody else is measured. */
const SPANS_LEAVE: Duration.Input = "20 millis"
/** For the renders that a load has not waited for. */
const RENDERS_END: Duration.Input = "1 second"
/**
 * Of a caller who wants to be traced: warm-up requests of our own have it, so that what makes spans is compiled where a tenth of the
 * requests have any, as it is on a server that has run for a while.
 */
const TRACED = { traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01" }
/** Full telemetry costs less than a tenth of throughput. */
const THROUGHPUT_MIN = 0.9
const DELAY_MS = 364 * 24 * 3_600_000

const scriptOf = (path: string) => fileURLToPath(new URL(path, import.meta.url))

const job = { type: "system:echo", payload: "a day at the harbour" }
const later = JSON.stringify({ ...job, delay_ms: DELAY_MS })

/** Requests that were answered, and how long that took. */
interface Answered {
  readonly requests: number
  readonly ms: number
}

/** What a server is asked, and how. */
interface Discipline {
  readonly name: string
  /** Opens connections to a server; answers how to measure it once. */
  readonly open: (
    server: Server,
  ) => Effect.Effect<(isWarmUp: boolean) => Effect.Effect<Answered>, unknown, Scope.Scope>
  /** Between two servers. */
  readonly pause: Duration.Input
  /** Of each start. */
  readonly warmUpRounds: number
  readonly rounds: number
  readonly starts: number
  readonly hasBudget: boolean
}

interface Requests {
  /** A job that is due in a year, so that what is measured is the submission. */
  readonly submit: HttpLoad.Request
  /** One that runs at once. */
  readonly run: HttpLoad.Request
  readonly list: HttpLoad.Request
  /** A job that has ended, out of the cache. */
  readonly look: HttpLoad.Request
}

/** Requests of our own, so many of each. */
const asking =
  (asked: ReadonlyArray<readonly [request: keyof Requests, count: number]>): Discipline["open"] =>
  ({ port, requests }) =>
    Effect.map(HttpLoad.open(port, CONNECTIONS), (send) =>
      Effect.fnUntraced(function* (isWarmUp) {
        const start = performance.now()
        for (const [name, count] of asked) {
          const request = requests[name]
          yield* send(isWarmUp ? { ...request, headers: { ...request.headers, ...TRACED } } : request, count)
        }
        return { requests: REQUESTS, ms: performance.now() - start }
      }),
    )

/** The mixed load of `load-test`. */
const loading: Discipline["open"] = ({ key, port }) =>
  Effect.map(LoadTest.open("mixed-render", { connections: LOAD_CONNECTIONS, key, port }), (load) =>
    Effect.fnUntraced(function* () {
      const { elapsedMs, record } = yield* load(LOAD_MS)
      if (record.errorCount > 0)
        return yield* Effect.die(`${record.errorCount} requests of the load have failed`)
      return { requests: record.service.count, ms: elapsedMs }
    }),
  )

const DISCIPLINES: ReadonlyArray<Discipline> = [
  {
    name: "40 % jobs that do nothing, 10 % lists, 50 % looks",
    open: asking([
      ["run", 0.4 * REQUESTS],
      ["list", 0.1 * REQUESTS],
      ["look", 0.5 * REQUESTS],
    ]),
    pause: SPANS_LEAVE,
    // Many: what V8's own threads take, compiling above all, was 25 to 33 µs a request after 15,000 requests, and 11 to 15 after
    // 60,000 (measured). This is about servers that have run for a while.
    warmUpRounds: 60,
    rounds: 9,
    // A server is compiled anew each time that it starts, and can be a tenth quicker or slower than another that is the same: three
    // starts gave 0.88 to 0.97 for the same code (measured).
    starts: 10,
    hasBudget: true,
  },
  {
    name: "POST /v1/jobs",
    open: asking([["submit", REQUESTS]]),
    pause: SPANS_LEAVE,
    warmUpRounds: 15,
    rounds: 9,
    starts: 3,
    hasBudget: false,
  },
  {
    name: "GET from the cache",
    open: asking([["look", REQUESTS]]),
    pause: SPANS_LEAVE,
    warmUpRounds: 15,
    rounds: 9,
    starts: 3,
    hasBudget: false,
  },
  {
    name: "the load of `load-test --scenario mixed-render`",
    // The last: the others are measured on servers that have drawn nothing.
    open: loading,
    pause: RENDERS_END,
    warmUpRounds: 2,
    rounds: 5,
    // Of each server, 60 seconds are measured.
    starts: 3,
    hasBudget: true,
  },
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

/** One that has just started. */
interface Server {
  readonly port: number
  readonly key: string
  /** Microseconds of the processor so far; 0 where nobody can tell. */
  readonly processorUs: () => number
  readonly requests: Requests
}

const start = Effect.fnUntraced(function* (
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
  const key = readFileSync(join(dataDir, "admin.key"), "utf8").trim()
  const headers = { "Content-Type": "application/json", Authorization: `Bearer ${key}` }
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
  const server: Server = {
    port,
    key,
    processorUs,
    requests: {
      submit: { ...post, body: later },
      run: { ...post, body: JSON.stringify(job) },
      list: { ...get, path: "/v1/jobs?limit=1" },
      look: { ...get, path: `/v1/jobs/${ended}` },
    },
  }
  return server
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

/** Adds the rounds of a start to what was measured. */
const measure = Effect.fnUntraced(function* (
  servers: ReadonlyArray<Server>,
  { open, pause, rounds: byDefault, warmUpRounds }: Discipline,
  measured: Measured,
) {
  const ask = yield* Effect.forEach(servers, open)
  const count = rounds(byDefault)
  for (let round = -warmUpRounds; round < count; round++) {
    for (let turn = 0; turn < servers.length; turn++) {
      // Who comes first changes, and the direction: nobody is always measured after the same one.
      const place = (turn + Math.abs(round)) % servers.length
      const index = round % 2 === 0 ? place : servers.length - 1 - place
      const { processorUs } = servers[index]!
      const before = processorUs()
      const { ms, requests } = yield* ask[index]!(round < 0)
      const spentUs = processorUs() - before
      yield* Effect.sleep(pause)
      if (round < 0) continue
      measured.perSecond[index]!.push(requests / (ms / 1_000))
      measured.processorUs[index]!.push(spentUs / requests)
    }
  }
}, Effect.scoped)

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
    for (let started = 0; started < STARTS; started++) {
      yield* Effect.scoped(
        Effect.gen(function* () {
          const folder = yield* benchFolder
          const servers = yield* Effect.forEach(CONTENDERS, ({ env, name }) =>
            start(name, folder, env(collector)),
          )
          for (const [at, discipline] of DISCIPLINES.entries())
            if (started < discipline.starts) yield* measure(servers, discipline, measured[at]!)
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
