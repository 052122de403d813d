/**
 * How many jobs a second are accepted durably, beside what SQLite can do for the same rows?
 *
 * A caller submits one job, waits until it is durable, and submits the next. The ceiling commits as many jobs a
 * transaction as there are callers (a batch: as the batch has), with a statement a row; for batches with many rows a
 * statement. No handler runs, so nothing but enqueueing is measured.
 */
import { Effect } from "effect"
import { Queue } from "../src/jobs/Queue.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { type Figure, shareOfCeiling } from "./support/Figure.ts"
import { NOOP_PAYLOAD, NoopJob } from "./support/NoopJob.ts"
import { acceptOnly, openOwl } from "./support/Owl.ts"
import { RawJobs } from "./support/RawJobs.ts"
import { compare, type Sample } from "./support/Rounds.ts"

const BATCH = 1_000
const UNIT = "jobs/s"

const CASES = [
  { callers: 1, jobs: 200, atLeast: null },
  { callers: 64, jobs: 6_400, atLeast: 0.6 },
  { callers: 1_000, jobs: 10_000, atLeast: null },
]
const BATCHED_JOBS = 10_000
const BATCHED_AT_LEAST = 0.5

/** So many callers at once, each with its share of the jobs, one after the other. */
const callersEnqueue = (queue: Queue["Service"], callers: number, jobs: number) => {
  const caller = Effect.gen(function* () {
    for (let i = 0; i < jobs / callers; i++) yield* Queue.enqueue(NoopJob, NOOP_PAYLOAD)
  })
  return Effect.forEach(Array.from({ length: callers }), () => caller, {
    concurrency: "unbounded",
    discard: true,
  }).pipe(Effect.provideService(Queue, queue))
}

/** The jobs in batches, one batch after the other. */
const batchesEnqueue = (queue: Queue["Service"], jobs: number) =>
  Effect.gen(function* () {
    const batch = Array.from({ length: BATCH }, () => ({ type: NoopJob.type, payload: NOOP_PAYLOAD }))
    for (let i = 0; i < jobs / BATCH; i++) yield* queue.submitBatch(batch)
  })

/** Writes to the raw database, with ids made beforehand. */
const rawSample = (jobs: number, write: (ids: ReadonlyArray<string>) => void): Sample => ({
  work: jobs,
  prepare: Effect.sync(() => {
    const ids = RawJobs.makeIds(jobs)
    return Effect.sync(() => write(ids))
  }),
})

export const enqueue: Benchmark<unknown> = {
  question: "How many jobs a second are accepted durably?",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const { queue } = yield* openOwl(folder, note)
    const raw = yield* RawJobs.open(folder)
    yield* acceptOnly(queue)
    const figures: Array<Figure> = []
    for (const { callers, jobs, atLeast } of CASES) {
      const comparison = yield* compare(
        { work: jobs, prepare: Effect.succeed(callersEnqueue(queue, callers, jobs)) },
        rawSample(jobs, (ids) => raw.enqueue(ids, callers)),
      )
      figures.push(shareOfCeiling({ name: `callers: ${callers}`, unit: UNIT, ...comparison, atLeast }))
    }
    const comparison = yield* compare(
      { work: BATCHED_JOBS, prepare: Effect.succeed(batchesEnqueue(queue, BATCHED_JOBS)) },
      rawSample(BATCHED_JOBS, (ids) => raw.enqueueMultiRow(ids, BATCH)),
    )
    figures.push(
      shareOfCeiling({
        name: `batches of ${BATCH}`,
        unit: UNIT,
        ...comparison,
        atLeast: BATCHED_AT_LEAST,
      }),
    )
    return figures
  }),
}

if (import.meta.main) await runBenchmark(enqueue)
