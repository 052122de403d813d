/**
 * How does RenderOwl compare with other queues, on the same machine and in the same run?
 *
 * Everyone takes turns of a fraction of a second at the same work, RenderOwl always with `synchronous=FULL`. Who takes part
 * is installed apart (`npm install --prefix bench/compare/rivals`) and finds its server by `REDIS_URL` or `DATABASE_URL`;
 * who is missing is named. How each one is run, and what it keeps when the power fails, is said where it is defined, in
 * `compare/`.
 */
import { Effect, type Scope } from "effect"
import { setImmediate, setTimeout } from "node:timers/promises"
import { openBullMq } from "./compare/BullMq.ts"
import { contest, type Contest } from "./compare/Contest.ts"
import type { Contestant, Opening } from "./compare/Contestant.ts"
import { openGraphileWorker } from "./compare/GraphileWorker.ts"
import { openRenderOwl } from "./compare/Owl.ts"
import { openPgBoss } from "./compare/PgBoss.ts"
import { openPlainJob } from "./compare/PlainJob.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import type { Figure } from "./support/Figure.ts"
import { percentile } from "./support/Rounds.ts"

const CALLERS = 64
const BATCH = 1_000
/** Pick-ups of one turn. */
const PICK_UPS = 30
/** The pause after each, in which the queue falls idle; up to a millisecond more, so that none is in step with a poll. */
const PICK_UP_PAUSE_MS = 3

/**
 * In this order: what is drained leaves an empty queue, what is enqueued is left behind. A drain answers its own time,
 * since starting a worker belongs to nobody's figure.
 */
const CONTESTS: ReadonlyArray<Contest> = [
  {
    name: "pick-up, p50",
    unit: "ms",
    lessIsMore: true,
    step: PICK_UPS,
    measure: ({ pickUp }) =>
      Effect.gen(function* () {
        const once = yield* pickUp
        const latencies: Array<number> = []
        for (let i = 0; i < PICK_UPS; i++) {
          latencies.push(yield* once)
          yield* pause
        }
        return percentile(latencies, 0.5)
      }).pipe(Effect.scoped),
  },
  ...[10, 100].map(
    (concurrency): Contest => ({
      name: `drain, concurrency ${concurrency}`,
      unit: "jobs/s",
      lessIsMore: false,
      isDrain: true,
      step: BATCH,
      measure: ({ drain, enqueueBatches }, jobs) =>
        enqueueBatches(jobs, BATCH).pipe(
          Effect.andThen(drain(jobs, concurrency)),
          Effect.map((elapsed) => jobs / (elapsed / 1_000)),
        ),
    }),
  ),
  {
    name: `enqueue, ${CALLERS} callers`,
    unit: "jobs/s",
    lessIsMore: false,
    step: CALLERS,
    measure: ({ enqueue }, jobs) => perSecond(jobs, enqueue(jobs, CALLERS)),
  },
  {
    name: `enqueue, batches of ${BATCH}`,
    unit: "jobs/s",
    lessIsMore: false,
    step: BATCH,
    measure: ({ enqueueBatches }, jobs) => perSecond(jobs, enqueueBatches(jobs, BATCH)),
  },
]

/** Timers end at whole milliseconds, all of them together; what is left is waited for turn by turn of the event loop. */
const pause = Effect.promise(async () => {
  const until = performance.now() + PICK_UP_PAUSE_MS + Math.random()
  await setTimeout(PICK_UP_PAUSE_MS - 1)
  while (performance.now() < until) await setImmediate()
})

const perSecond = (jobs: number, work: Effect.Effect<void>): Effect.Effect<number> =>
  Effect.suspend(() => {
    const startedAt = performance.now()
    return Effect.map(work, () => jobs / ((performance.now() - startedAt) / 1_000))
  })

/** Those who are here; who is not, is noted. */
const rivals = (
  openings: ReadonlyArray<Opening>,
  note: (line: string) => void,
): Effect.Effect<ReadonlyArray<Contestant>, never, Scope.Scope> =>
  Effect.map(
    Effect.forEach(openings, (opening) =>
      Effect.catchTag(opening, "Absent", ({ because, name }) => {
        note(`${name} does not take part: ${because}`)
        return Effect.succeed([])
      }),
    ),
    (all) => all.flat(),
  )

export const compare: Benchmark<never> = {
  question: "How does RenderOwl compare with other queues?",
  ceiling: "rival",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const owl = yield* openRenderOwl(folder)
    const { REDIS_URL, DATABASE_URL } = process.env
    const others = yield* rivals(
      [
        openPlainJob(folder),
        openBullMq(REDIS_URL),
        openGraphileWorker(DATABASE_URL),
        openPgBoss(DATABASE_URL),
      ],
      note,
    )
    if (others.length === 0) {
      note("nobody to compare with: npm install --prefix bench/compare/rivals")
      return []
    }
    const figures: Array<Figure> = []
    for (const each of CONTESTS) {
      const takingPart = each.isDrain ? others : others.filter(({ onlyDrains }) => onlyDrains !== true)
      figures.push(...(yield* contest(each, owl, takingPart, note)))
    }
    return figures
  }),
}

if (import.meta.main) await runBenchmark(compare)
