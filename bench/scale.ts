/**
 * Does a large backlog cost anything?
 *
 * `claim and complete`: the time a job takes from the backlog to its completion with a handler that does nothing, with so
 * many jobs pending; everything a queue does with its tables is in it, the refills of its window too. It must not grow with
 * the backlog. `event-loop delay`: what timers and requests wait meanwhile. `resident memory`: of a process that has a
 * million pending jobs and works on them. `start`: from the start of a process, after another one was killed, until its
 * first handler runs, with a million events in the journal and leases to recover. `bytes a job`: what the journal and the
 * tables take on disk. 10 million jobs with `--10m`.
 */
import { Deferred, Effect } from "effect"
import { spawn } from "node:child_process"
import { readFileSync, statSync } from "node:fs"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Queue } from "../src/jobs/Queue.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { type Figure, flat, measured } from "./support/Figure.ts"
import { NOOP_PAYLOAD, NoopJob } from "./support/NoopJob.ts"
import { acceptOnly, openOwl, OWL_DATABASE } from "./support/Owl.ts"
import { median } from "./support/Rounds.ts"

const BACKLOGS = [1_000, 100_000, 1_000_000, ...(process.argv.includes("--10m") ? [10_000_000] : [])]
const BATCH = 1_000
/** Jobs that are drained at each backlog, and submitted again before the next measurement. */
const DRAINED = 5_000
const CONCURRENCY = 100
const ROUNDS = 9
const FLAT_AT_MOST = 1.3
const MEMORY_MB_BELOW = 350
const START_MS_BELOW = 2_000
const DELAY_RESOLUTION_MS = 2
const DELAY_MS_BELOW = 20
/** Leases that the process holds that is killed. */
const LEASES = 50
const MEGABYTE = 1024 ** 2

const submit = (queue: Queue["Service"], jobs: number) =>
  Effect.gen(function* () {
    const job = { type: NoopJob.type, payload: NOOP_PAYLOAD }
    for (let left = jobs; left > 0; left -= BATCH)
      yield* queue.submitBatch(Array.from({ length: Math.min(BATCH, left) }, () => job))
  })

/** Takes so many jobs off the backlog and answers how many microseconds each one took. */
const drainSome = (queue: Queue["Service"], jobs: number) =>
  Effect.gen(function* () {
    const done = yield* Deferred.make<number>()
    let left = jobs
    const startedAt = performance.now()
    yield* queue.register({
      job: NoopJob,
      run: () =>
        Effect.suspend(() => (--left === 0 ? Deferred.succeed(done, performance.now()) : Effect.void)),
      concurrency: CONCURRENCY,
    })
    const elapsed = (yield* Deferred.await(done)) - startedAt
    return (elapsed * 1_000) / jobs
  }).pipe(Effect.scoped)

const claimCost = Effect.fnUntraced(function* (note: (line: string) => void) {
  const figures: Array<Figure> = []
  const folder = yield* benchFolder
  const { queue } = yield* openOwl(folder, note)
  let pending = 0
  let smallest: number | undefined
  for (const backlog of BACKLOGS) {
    yield* Effect.scoped(Effect.andThen(acceptOnly(queue), submit(queue, backlog - pending)))
    const costs: Array<number> = []
    for (let round = -1; round < ROUNDS; round++) {
      yield* Effect.scoped(Effect.andThen(acceptOnly(queue), submit(queue, DRAINED)))
      const cost = yield* drainSome(queue, DRAINED)
      if (round >= 0) costs.push(cost)
    }
    pending = backlog
    const figure = median(costs)
    smallest ??= figure
    figures.push(
      flat({
        name: `claim and complete, ${backlog.toLocaleString("en-US")} pending`,
        unit: "µs",
        figure,
        ceiling: smallest,
        atMost: FLAT_AT_MOST,
      }),
    )
    note(`${backlog.toLocaleString("en-US")} pending: ${figure.toFixed(1)} µs a job`)
  }
  const delays = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delays.enable()
  yield* drainSome(queue, 10 * DRAINED)
  delays.disable()
  figures.push(
    measured({
      name: "event-loop delay while draining, p99",
      unit: "ms",
      // The histogram holds whole intervals of the timer.
      figure: delays.percentile(99) / 1e6 - DELAY_RESOLUTION_MS,
      below: DELAY_MS_BELOW,
    }),
  )
  return figures
})

/** Runs this file as a process of its own that says what it has to say in one line of JSON. */
const child = <Answer>(mode: string, folder: string, kill: boolean) =>
  Effect.promise(
    () =>
      new Promise<Answer>((resolve, reject) => {
        const process_ = spawn(process.execPath, [import.meta.filename, mode, folder], {
          stdio: ["ignore", "pipe", "inherit"],
        })
        let output = ""
        process_.stdout.on("data", (chunk: Buffer) => {
          output += chunk.toString()
          if (kill && output.includes("\n")) process_.kill("SIGKILL")
        })
        process_.once("exit", () =>
          output.includes("\n")
            ? resolve(JSON.parse(output) as Answer)
            : reject(new Error(`${mode} said nothing`)),
        )
      }),
  )

/** A journal with a million events: a third of a million jobs that have run, a million that have not. */
const million = Effect.fnUntraced(function* (note: (line: string) => void) {
  const folder = yield* benchFolder
  const file = join(folder, OWL_DATABASE)
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { queue } = yield* openOwl(folder, () => {})
      yield* Effect.scoped(Effect.andThen(acceptOnly(queue), submit(queue, BACKLOGS[2]!)))
    }),
  )
  const bytes = statSync(file).size / BACKLOGS[2]!
  note(`a million pending jobs: ${Math.round(statSync(file).size / MEGABYTE)} MB on disk`)
  const worked = yield* child<{ readonly rssMb: number }>("work", folder, false)
  const held = yield* child<{ readonly running: number }>("hold", folder, true)
  const started = yield* child<{ readonly ms: number }>("start", folder, false)
  note(`killed with ${held.running} leases; the next start had them back`)
  return [
    measured({
      name: "resident memory, a million pending",
      unit: "MB",
      figure: worked.rssMb,
      below: MEMORY_MB_BELOW,
    }),
    measured({
      name: "start to first job, a million events",
      unit: "ms",
      figure: started.ms,
      below: START_MS_BELOW,
    }),
    measured({ name: "bytes a job, enqueued", unit: "bytes", figure: bytes, below: null }),
  ]
})

/** Bytes of a job that has gone through its whole life. */
const bytesOfALife = Effect.gen(function* () {
  const folder = yield* benchFolder
  const jobs = 50_000
  yield* Effect.scoped(
    Effect.gen(function* () {
      const { queue } = yield* openOwl(folder, () => {})
      yield* Effect.scoped(Effect.andThen(acceptOnly(queue), submit(queue, jobs)))
      yield* drainSome(queue, jobs)
    }),
  )
  const bytes = statSync(join(folder, OWL_DATABASE)).size / jobs
  return [measured({ name: "bytes a job, completed", unit: "bytes", figure: bytes, below: null })]
})

export const scale: Benchmark<unknown> = {
  question: "Does a large backlog cost anything?",
  ceiling: "at 1,000",
  run: Effect.fnUntraced(function* (note) {
    return [
      ...(yield* Effect.scoped(claimCost(note))),
      ...(yield* Effect.scoped(million(note))),
      ...(yield* Effect.scoped(bytesOfALife)),
    ]
  }),
}

const say = (answer: object) => Effect.sync(() => void process.stdout.write(`${JSON.stringify(answer)}\n`))

/** What the child processes do. */
const modes: Readonly<Record<string, (folder: string) => Effect.Effect<void, unknown>>> = {
  /** Works on the backlog for a while and tells how much memory that took at the most. */
  work: (folder) =>
    Effect.gen(function* () {
      const { queue } = yield* openOwl(folder, () => {})
      yield* drainSome(queue, 20_000)
      const peak = /VmHWM:\s+(\d+) kB/.exec(readFileSync("/proc/self/status", "utf8"))?.[1]
      yield* say({ rssMb: Number(peak) / 1024 })
    }).pipe(Effect.scoped),
  /** Takes leases and waits to be killed. */
  hold: (folder) =>
    Effect.gen(function* () {
      const { queue } = yield* openOwl(folder, () => {})
      let running = 0
      const all = yield* Deferred.make<void>()
      yield* queue.register({
        job: NoopJob,
        run: () =>
          Effect.andThen(
            Effect.suspend(() => (++running === LEASES ? Deferred.succeed(all, undefined) : Effect.void)),
            Effect.never,
          ),
        concurrency: LEASES,
      })
      yield* Deferred.await(all)
      yield* say({ running })
      yield* Effect.never
    }).pipe(Effect.scoped),
  /** Starts on what a killed process left, until a job is running again. */
  start: (folder) =>
    Effect.gen(function* () {
      const { queue } = yield* openOwl(folder, () => {})
      const running = yield* Deferred.make<number>()
      yield* queue.register({
        job: NoopJob,
        run: () => Deferred.succeed(running, performance.now()),
        concurrency: LEASES,
      })
      // Since the process began, loading of modules and all.
      yield* say({ ms: yield* Deferred.await(running) })
      yield* queue.quiesce
    }).pipe(Effect.scoped),
}

if (import.meta.main) {
  const mode = modes[process.argv[2] ?? ""]
  if (mode === undefined) await runBenchmark(scale)
  else {
    await Effect.runPromise(mode(process.argv[3]!))
    process.exit(0)
  }
}
