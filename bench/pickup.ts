/**
 * How long from the call of `enqueue` until the handler runs, when the queue is idle?
 *
 * In between lies a durable commit: a job never starts before its start is in the journal. The ceiling is that commit
 * alone, the same two events and one row.
 */
import { Deferred, Effect } from "effect"
import { Queue } from "../src/jobs/Queue.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { atMost } from "./support/Figure.ts"
import { NOOP_PAYLOAD, NoopJob } from "./support/NoopJob.ts"
import { openOwl } from "./support/Owl.ts"
import { RawJobs } from "./support/RawJobs.ts"
import { percentile } from "./support/Rounds.ts"

const WARM_UP_JOBS = 200
const JOBS = 1_500
const UNIT = "ms"
/** Milliseconds in which the attempt before ends and the queue falls idle. */
const PAUSE_MS = 3
const P99_MS_BELOW = 5

export const pickup: Benchmark<unknown> = {
  question: "How long from enqueue to the handler's start, when the queue is idle?",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const { queue } = yield* openOwl(folder, note)
    const raw = yield* RawJobs.open(folder)
    let started = Deferred.makeUnsafe<number>()
    yield* queue.register({
      job: NoopJob,
      run: () => Deferred.succeed(started, performance.now()),
      concurrency: 1,
    })
    const ids = RawJobs.makeIds(WARM_UP_JOBS + JOBS)
    const latencies: Array<number> = []
    const commits: Array<number> = []
    for (const [index, id] of ids.entries()) {
      started = Deferred.makeUnsafe()
      const calledAt = performance.now()
      yield* Effect.provideService(Queue.enqueue(NoopJob, NOOP_PAYLOAD), Queue, queue)
      const latency = (yield* Deferred.await(started)) - calledAt
      yield* Effect.sleep(PAUSE_MS)
      const rawAt = performance.now()
      raw.enqueueAndStart(id)
      const commit = performance.now() - rawAt
      yield* Effect.sleep(PAUSE_MS)
      if (index < WARM_UP_JOBS) continue
      latencies.push(latency)
      commits.push(commit)
    }
    const at = (share: number, name: string, below: number | null) =>
      atMost({
        name,
        unit: UNIT,
        figure: percentile(latencies, share),
        ceiling: percentile(commits, share),
        below,
      })
    return [at(0.5, "p50", null), at(0.99, "p99", P99_MS_BELOW)]
  }),
}

if (import.meta.main) await runBenchmark(pickup)
