/**
 * How fast does a handler that does nothing empty the queue, beside what SQLite can do for the same events?
 *
 * `whole life`: the jobs are submitted in batches of 1,000, then a handler starts and runs them all; the time is that of
 * all three events of each job. `drain only`: the same without the time of submitting, two events a job. The ceiling
 * writes the same events and queue rows with a statement a row: 1,000 jobs a transaction while enqueueing; then each
 * transaction completes as many jobs as the concurrency and starts the next ones.
 */
import { Deferred, Effect } from "effect"
import { Queue } from "../src/jobs/Queue.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { type Figure, shareOfCeiling } from "./support/Figure.ts"
import { NOOP_PAYLOAD, NoopJob } from "./support/NoopJob.ts"
import { acceptOnly, openOwl } from "./support/Owl.ts"
import { type RawJob, RawJobs } from "./support/RawJobs.ts"
import { compare, type Sample } from "./support/Rounds.ts"

const BATCH = 1_000
const UNIT = "jobs/s"

const CASES = [
  { concurrency: 10, jobs: 1_000, atLeast: null },
  { concurrency: 100, jobs: 4_000, atLeast: 0.5 },
]

const submit = (queue: Queue["Service"], jobs: number) =>
  Effect.gen(function* () {
    yield* acceptOnly(queue)
    const batch = Array.from({ length: BATCH }, () => ({ type: NoopJob.type, payload: NOOP_PAYLOAD }))
    for (let i = 0; i < jobs / BATCH; i++) yield* queue.submitBatch(batch)
  }).pipe(Effect.scoped)

/** Runs what waits, until the last completion is durable. */
const runAll = (queue: Queue["Service"], jobs: number, concurrency: number) =>
  Effect.gen(function* () {
    const started = yield* Deferred.make<void>()
    let left = jobs
    yield* queue.register({
      job: NoopJob,
      run: () => (--left === 0 ? Deferred.succeed(started, undefined) : Effect.void),
      concurrency,
    })
    yield* Deferred.await(started)
    // The handler's scope waits for the attempts under way.
  }).pipe(Effect.scoped)

const ours = (queue: Queue["Service"], jobs: number, concurrency: number) => ({
  wholeLife: {
    work: jobs,
    prepare: Effect.succeed(Effect.andThen(submit(queue, jobs), runAll(queue, jobs, concurrency))),
  },
  drainOnly: {
    work: jobs,
    prepare: Effect.as(submit(queue, jobs), runAll(queue, jobs, concurrency)),
  },
})

const theirs = (
  raw: RawJobs,
  jobs: number,
  concurrency: number,
): Record<"wholeLife" | "drainOnly", Sample> => ({
  wholeLife: {
    work: jobs,
    prepare: Effect.sync(() => {
      const ids = RawJobs.makeIds(jobs)
      return Effect.sync(() => raw.drain(raw.enqueue(ids, BATCH), concurrency))
    }),
  },
  drainOnly: {
    work: jobs,
    prepare: Effect.sync(() => {
      const enqueued: ReadonlyArray<RawJob> = raw.enqueue(RawJobs.makeIds(jobs), BATCH)
      return Effect.sync(() => raw.drain(enqueued, concurrency))
    }),
  },
})

export const drain: Benchmark<unknown> = {
  question: "How fast does a handler that does nothing empty the queue?",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const { queue } = yield* openOwl(folder, note)
    const raw = yield* RawJobs.open(folder)
    const figures: Array<Figure> = []
    for (const { concurrency, jobs, atLeast } of CASES) {
      const [mine, its] = [ours(queue, jobs, concurrency), theirs(raw, jobs, concurrency)]
      const wholeLife = yield* compare(mine.wholeLife, its.wholeLife)
      const drainOnly = yield* compare(mine.drainOnly, its.drainOnly)
      figures.push(
        shareOfCeiling({ name: `whole life, concurrency ${concurrency}`, unit: UNIT, ...wholeLife, atLeast }),
        shareOfCeiling({ name: `drain only, concurrency ${concurrency}`, unit: UNIT, ...drainOnly, atLeast }),
      )
    }
    return figures
  }),
}

if (import.meta.main) await runBenchmark(drain)
