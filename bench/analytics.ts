/**
 * What do the analytics cost those who work?
 *
 * `enqueue` and `pick-up`: while the projection catches up with a million events, beside the same without it: the worst case,
 * since otherwise it has something to do once a second. `event-loop delay`: what timers and requests wait while it catches up,
 * and while charts of a month of hours are asked for one after the other.
 */
import { Clock, Context, Deferred, Effect, Layer, Result } from "effect"
import { join } from "node:path"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Analytics, EVERYTHING } from "../src/domain/analytics/Analytics.ts"
import * as TimeRange from "../src/domain/analytics/TimeRange.ts"
import { asyncProjections } from "../src/EventModel.ts"
import * as Job from "../src/jobs/Job.ts"
import { Queue } from "../src/jobs/Queue.ts"
import { AsyncProjector } from "../src/journal/AsyncProjector.ts"
import * as RenderOwl from "../src/RenderOwl.ts"
import { SqliteClient } from "../src/sqlite/SqliteClient.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { atMost, measured, shareOfCeiling } from "./support/Figure.ts"
import { NOOP_PAYLOAD, NoopJob } from "./support/NoopJob.ts"
import { acceptOnly } from "./support/Owl.ts"
import { median, percentile, rounds } from "./support/Rounds.ts"

const EVENTS = 1_000_000
const BATCH = 1_000
const CALLERS = 64
const JOBS = 6_400
const ROUNDS = 15
const WARM_UP_ROUNDS = 2
const PICKUPS = 100
/** Milliseconds in which the queue falls idle. */
const PAUSE_MS = 3
/** From its start to its first look. */
const GATHERING_MS = 1_100
const QUERIES_MS = 5_000
const MONTH_MS = 30 * 24 * 3_600_000
const DELAY_RESOLUTION_MS = 2
const DELAY_MS_BELOW = 20

/** Where nothing waits. */
const PickedUp = Job.make("bench:picked-up", { queue: "picked-up", payload: NoopJob.payload })

const enqueueMany = (queue: Queue["Service"]) =>
  Effect.gen(function* () {
    const caller = Effect.gen(function* () {
      for (let i = 0; i < JOBS / CALLERS; i++) yield* Queue.enqueue(NoopJob, NOOP_PAYLOAD)
    })
    const begun = performance.now()
    yield* Effect.forEach(Array.from({ length: CALLERS }), () => caller, {
      concurrency: "unbounded",
      discard: true,
    })
    return JOBS / ((performance.now() - begun) / 1_000)
  }).pipe(Effect.provideService(Queue, queue), Effect.provide(Layer.effectDiscard(acceptOnly(queue))))

const pickUps = (queue: Queue["Service"]) =>
  Effect.gen(function* () {
    let started = Deferred.makeUnsafe<number>()
    yield* queue.register({
      job: PickedUp,
      run: () => Deferred.succeed(started, performance.now()),
      concurrency: 1,
    })
    const latencies: Array<number> = []
    for (let n = 0; n < PICKUPS; n++) {
      started = Deferred.makeUnsafe()
      const calledAt = performance.now()
      yield* Queue.enqueue(PickedUp, NOOP_PAYLOAD)
      latencies.push((yield* Deferred.await(started)) - calledAt)
      yield* Effect.sleep(PAUSE_MS)
    }
    return latencies
  }).pipe(Effect.provideService(Queue, queue), Effect.scoped)

/** The delay of the event loop while something runs: what 99 of 100 turns stay below, in milliseconds. */
const delayWhile = <E, R>(effect: Effect.Effect<unknown, E, R>) =>
  Effect.suspend(() => {
    const delays = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
    delays.enable()
    return Effect.map(effect, () => {
      delays.disable()
      // The histogram holds whole intervals of the timer.
      return delays.percentile(99) / 1e6 - DELAY_RESOLUTION_MS
    })
  })

export const analytics: Benchmark<unknown> = {
  question: "What do the analytics cost those who work?",
  ceiling: "without",
  run: Effect.fnUntraced(function* (note) {
    const folder = yield* benchFolder
    const filename = join(folder, "owl.db")
    const context = yield* Layer.build(
      Analytics.layer.pipe(Layer.provideMerge(RenderOwl.layer({ database: { filename } }))),
    )
    const queue = Context.get(context, Queue)
    const { writer } = Context.get(context, SqliteClient)
    const fill = Effect.gen(function* () {
      const job = { type: NoopJob.type, payload: NOOP_PAYLOAD }
      for (let left = EVENTS; left > 0; left -= BATCH)
        yield* queue.submitBatch(Array.from({ length: BATCH }, () => job))
    })
    yield* Effect.scoped(Effect.andThen(acceptOnly(queue), fill))
    note(`${EVENTS.toLocaleString("en-US")} events in the journal`)

    const projector = Layer.suspend(() => AsyncProjector.layer(asyncProjections())).pipe(
      Layer.fresh,
      Layer.provide(Layer.succeedContext(context)),
    )
    /** With the projection at work from the beginning of the journal, whatever it did before. */
    const behind = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.suspend(() => {
        writer.exec(
          "DELETE FROM analytics_hourly; DELETE FROM analytics_daily; DELETE FROM projection_checkpoints",
        )
        return Effect.provide(Effect.andThen(Effect.sleep(GATHERING_MS), effect), projector)
      })

    const rates: Array<readonly [number, number]> = []
    const latencies: { readonly with: Array<number>; readonly without: Array<number> } = {
      with: [],
      without: [],
    }
    for (let round = -WARM_UP_ROUNDS; round < rounds(ROUNDS); round++) {
      const withIt = yield* behind(enqueueMany(queue))
      const without = yield* enqueueMany(queue)
      const picked = yield* behind(pickUps(queue))
      const pickedWithout = yield* pickUps(queue)
      if (round < 0) continue
      rates.push([withIt, without])
      latencies.with.push(...picked)
      latencies.without.push(...pickedWithout)
    }

    const status = Effect.flatMap(AsyncProjector, (all) => Effect.map(all.status, ([one]) => one!.lag))
    const caughtUp: Effect.Effect<void, never, AsyncProjector> = Effect.flatMap(
      Effect.andThen(Effect.sleep("20 millis"), status),
      (lag) => (lag === 0 ? Effect.void : caughtUp),
    )
    writer.exec(
      "DELETE FROM analytics_hourly; DELETE FROM analytics_daily; DELETE FROM projection_checkpoints",
    )
    const begun = performance.now()
    const catchUpDelay = yield* delayWhile(Effect.provide(caughtUp, projector))
    const catchUpSeconds = (performance.now() - begun - GATHERING_MS) / 1_000
    const head = writer.prepare("SELECT max(position) AS head FROM events").get()!["head"] as number

    const now = yield* Clock.currentTimeMillis
    const range = Result.getOrThrow(TimeRange.resolve({ after: now - MONTH_MS, interval: "hour" }, now))
    const asked: Array<number> = []
    const service = Context.get(context, Analytics)
    const ask = Effect.gen(function* () {
      const end = performance.now() + QUERIES_MS
      while (performance.now() < end) {
        const askedAt = performance.now()
        yield* service.total(range, EVERYTHING)
        yield* service.top(range, { by: "queue", metric: "created", limit: 10 })
        asked.push(performance.now() - askedAt)
      }
    })
    yield* service.total(range, EVERYTHING)
    const queryDelay = yield* delayWhile(ask)

    return [
      shareOfCeiling({
        name: `enqueue, ${CALLERS} callers, while it catches up`,
        unit: "jobs/s",
        figure: median(rates.map(([withIt]) => withIt)),
        ceiling: median(rates.map(([, without]) => without)),
        ratio: median(rates.map(([withIt, without]) => withIt / without)),
        atLeast: null,
      }),
      ...([0.5, 0.99] as const).map((share) =>
        atMost({
          name: `pick-up p${share * 100}, while it catches up`,
          unit: "ms",
          figure: percentile(latencies.with, share),
          ceiling: percentile(latencies.without, share),
          below: share === 0.99 ? 5 : null,
        }),
      ),
      measured({ name: "catch-up", unit: "events/s", figure: head / catchUpSeconds, below: null }),
      measured({
        name: "event-loop delay while it catches up, p99",
        unit: "ms",
        figure: catchUpDelay,
        below: DELAY_MS_BELOW,
      }),
      measured({
        name: "event-loop delay while charts are asked for, p99",
        unit: "ms",
        figure: queryDelay,
        below: DELAY_MS_BELOW,
      }),
      measured({
        name: "a month of hours and a ranking, p50",
        unit: "ms",
        figure: median(asked),
        below: null,
      }),
    ]
  }),
}

if (import.meta.main) await runBenchmark(analytics)
