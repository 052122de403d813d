import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { mkdirSync, rmdirSync } from "node:fs"
import { join } from "node:path"
import { JobBehavior } from "../../src/jobs/JobBehavior.ts"
import { jobEventTypes } from "../../src/jobs/JobEvents.ts"
import { JobList } from "../../src/jobs/JobList.ts"
import { jobProjection } from "../../src/jobs/JobProjection.ts"
import type { JobState } from "../../src/jobs/JobState.ts"
import { JobStore } from "../../src/jobs/JobStore.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { QueueStats } from "../../src/jobs/QueueStats.ts"
import { Retention, SELECT_RIPE } from "../../src/jobs/Retention.ts"
import { JournalArchive } from "../../src/journal/Archiving.ts"
import { auditArchive } from "../../src/journal/ArchiveAudit.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { ReaderPool } from "../../src/sqlite/ReaderPool.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { forAll } from "../support/Property.ts"
import { inMemory, onFile } from "../support/TestDatabase.ts"
import { advance, settle } from "../support/Turns.ts"
import { anyCommand, decide, enqueueCommand, enqueued } from "./JobHistories.ts"
import { rebuild, tables } from "./JobTables.ts"
import { ended, historyOf, Numbered, numbered, START } from "./QueueFixture.ts"

const DAY_MS = 86_400_000

/** A journal of jobs with all that keeps it small. */
const storeOn = (database: typeof inMemory, archive?: string) =>
  Layer.mergeAll(Retention.layer, JobStore.layer, JobList.layer, QueueStats.layer).pipe(
    Layer.provideMerge(ReaderPool.layer()),
    Layer.provideMerge(
      Layer.suspend(() =>
        SqliteJournal.layer({ events: jobEventTypes, projections: [jobProjection()], archive }),
      ),
    ),
    Layer.provideMerge(database),
  )

/** The store with a queue, at {@link START}; a job with an odd number fails at its only attempt. */
const running = (
  layer = Layer.empty as Layer.Layer<never, never, Retention>,
  store: ReturnType<typeof storeOn> = storeOn(onFile),
) =>
  Layer.mergeAll(
    numbered((n) => (n % 2 === 1 ? Effect.fail("odd") : Effect.succeed(`result ${n}`))),
    layer,
  ).pipe(
    Layer.provideMerge(Queue.layer({ worker: "test", grace: 0 })),
    Layer.provideMerge(store),
    Layer.provideMerge(Layer.effectDiscard(TestClock.setTime(START))),
    Layer.orDie,
  )

const enqueue = (n: number, options: Parameters<typeof Queue.enqueue>[2] = {}) =>
  Effect.map(Queue.enqueue(Numbered, { n }, { maxAttempts: 1, ...options }), ({ id }) => id)

const retain = (options: Parameters<Retention["Service"]["run"]>[0]) =>
  Effect.flatMap(Retention, (retention) => retention.run(options))

const audit = Effect.flatMap(SqliteClient, ({ filename, reader }) =>
  auditArchive({ journal: reader, archive: SqliteJournal.archiveBeside(filename) }),
)

const listed = Effect.flatMap(JobList, (list) =>
  Effect.map(list.page({}, { before: Number.MAX_SAFE_INTEGER, limit: 100 }), (jobs) =>
    jobs.map(({ id }) => id).toReversed(),
  ),
)

describe("jobs that leave", () => {
  const histories = fc.record({
    jobs: fc.array(fc.tuple(enqueueCommand, fc.boolean(), fc.array(fc.nat(), { maxLength: 2 })), {
      minLength: 1,
      maxLength: 12,
    }),
    commands: fc.array(fc.tuple(fc.nat(), anyCommand), { maxLength: 120 }),
    leaving: fc.array(fc.boolean(), { minLength: 12, maxLength: 12 }),
  })

  it.effect("leave nothing behind: the queue tables are the fold of what remains", () =>
    forAll(
      histories,
      ({ commands, jobs, leaving }) =>
        Effect.gen(function* () {
          const journal = yield* Journal
          const states = new Map<string, { readonly state: JobState; readonly version: number }>()
          let now = 1
          const all = [...jobs.map(([command], i) => [i, command] as const), ...commands]
          for (const [which, command] of all) {
            const index = which % jobs.length
            const stream = `job_${index}`
            const { state, version } = states.get(stream) ?? { state: JobBehavior.initial, version: 0 }
            now += command.pause
            const keyed = command.tag === "Enqueue" && jobs[index]![1]
            const key = keyed ? { idempotency_key: `key ${index}` } : {}
            // Those that have begun by now: a job that was never enqueued cannot be waited for.
            const others = jobs[index]![2].map((other) => `job_${other % Math.max(1, index)}`)
            const depends_on = command.tag === "Enqueue" ? others.filter((other) => states.has(other)) : []
            const more = depends_on.length === 0 ? key : { ...key, depends_on: [...new Set(depends_on)] }
            const events = decide(state, command, now).map((event) => Object.assign(event, more))
            if (events.length === 0) continue
            yield* journal.append([{ stream, expectedVersion: version, events }], now)
            const after = events.reduce((before, event) => JobBehavior.evolve(before, event, now), state)
            states.set(stream, { state: after, version: version + events.length })
          }
          const before = yield* Effect.forEach(states.keys(), (stream) => journal.readStream(stream))
          const archive = yield* JournalArchive
          yield* archive.move(
            [...states].flatMap(([stream, { state, version }], i) =>
              state.finishedAt !== undefined && leaving[i] === true ? [{ stream, version }] : [],
            ),
          )
          const kept = yield* tables
          const remaining = yield* journal.readAll({ afterPosition: 0, limit: 10_000 })
          expect(yield* rebuild(remaining, [7], kept)).toEqual(kept)
          expect(yield* Effect.forEach(states.keys(), (stream) => journal.readStream(stream))).toEqual(before)
          // And what stayed goes on as if nothing had happened.
          for (const [stream, { state, version }] of states) {
            if (state.status !== "waiting") continue
            yield* journal.append(
              [{ stream, expectedVersion: version, events: [{ _tag: "JobCancelled" }] as never }],
              now,
            )
          }
          const later = yield* tables
          const events = yield* journal.readAll({ afterPosition: 0, limit: 10_000 })
          expect(yield* rebuild(events, [10_000], later)).toEqual(later)
        }).pipe(Effect.provide(Layer.fresh(storeOn(inMemory)))),
      { runs: 60 },
    ),
  )

  it.effect("are the completed and cancelled ones that ended before the age, and nobody else", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const completed = yield* enqueue(2, { tags: ["old"], idempotencyKey: "order 2" })
      const dead = yield* enqueue(3)
      const cancelled = yield* enqueue(4, { delay: "400 days" })
      const waiting = yield* enqueue(6, { delay: "300 days" })
      yield* Effect.forEach([completed, dead], ended)
      yield* queue.cancel(cancelled)
      yield* TestClock.adjust("10 days")
      const younger = yield* enqueue(8)
      yield* ended(younger)
      const before = yield* Effect.forEach([completed, cancelled], queue.get)
      yield* TestClock.adjust("20 days")

      expect(yield* retain({ olderThan: "30 days" })).toMatchObject({ ripe: 0, streams: 0 })
      yield* TestClock.adjust(1)
      expect(yield* retain({ olderThan: "30 days", dryRun: true })).toMatchObject({ ripe: 2, streams: 0 })
      expect(yield* listed).toHaveLength(5)
      expect(yield* retain({ olderThan: "30 days" })).toMatchObject({ ripe: 2, streams: 2 })

      expect(yield* listed).toEqual([dead, waiting, younger])
      const [depth] = yield* (yield* QueueStats).depths()
      expect(depth!.byStatus).toMatchObject({ completed: 1, cancelled: 0, dead_letter: 1, scheduled: 1 })
      // They can still be seen, whole.
      expect(yield* Effect.forEach([completed, cancelled], queue.get)).toEqual(before)
      expect(yield* historyOf(completed)).toEqual(["Enqueued", "Started", "Completed"])
      expect((yield* queue.await(completed)).state.result).toBe("result 2")
      const followed = yield* Stream.runCollect(queue.follow(completed))
      expect(followed.map((update) => update._tag === "Event" && update.version)).toEqual([1, 2, 3])
      expect(yield* Stream.runCollect(queue.follow(completed, 3))).toEqual([])
      // A key lives as long as its job is in the journal.
      expect(yield* enqueue(2, { idempotencyKey: "order 2" })).not.toBe(completed)
      expect(yield* audit).toMatchObject({ streams: 2, faults: [] })
    }).pipe(Effect.provide(running())),
  )

  it.effect("take no command any more, and their ids no other job", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const completed = yield* enqueue(2)
      yield* ended(completed)
      const cancelled = yield* enqueue(4, { delay: "1 day" })
      yield* queue.cancel(cancelled)
      yield* TestClock.adjust("2 days")
      yield* retain({ olderThan: "1 day" })
      const commands = (id: string) => [
        queue.cancel(id),
        queue.retry(id),
        queue.reschedule(id, START + 10 * DAY_MS),
        queue.prioritize(id, "high"),
      ]
      const refusals = yield* Effect.forEach([...commands(completed), ...commands(cancelled)], Effect.flip, {
        concurrency: "unbounded",
      })
      expect(refusals.map((error) => [error._tag, "status" in error && error.status])).toEqual(
        Array.from({ length: 8 }, () => ["JobConflict", "archived"]),
      )
      const error = yield* Effect.flip(enqueue(6, { id: completed }))
      expect(error).toMatchObject({ reason: { _tag: "VersionConflict", stream: completed } })
      expect(yield* historyOf(completed)).toEqual(["Enqueued", "Started", "Completed"])
      expect(yield* listed).toEqual([])
    }).pipe(Effect.provide(running())),
  )

  it.effect("stay when a command comes before they have left, and refuse one that comes after", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const ids = yield* Effect.forEach(Array.from({ length: 100 }), () => enqueue(4, { delay: "1 day" }))
      yield* Effect.forEach(ids, (id) => queue.cancel(id))
      yield* TestClock.adjust("2 days")
      const [outcomes] = yield* Effect.all(
        [
          Effect.forEach(ids, (id) =>
            settle.pipe(
              Effect.andThen(queue.retry(id)),
              Effect.match({ onSuccess: () => "retried", onFailure: ({ _tag }) => _tag }),
            ),
          ),
          retain({ olderThan: "1 day" }),
        ],
        { concurrency: "unbounded" },
      )
      const journal = yield* Journal
      // Whoever was retried has run, and is too young again.
      for (const [i, id] of ids.entries())
        expect(outcomes[i]).toBe((yield* journal.isArchived(id)) ? "JobConflict" : "retried")
      expect((yield* audit).faults).toEqual([])
    }).pipe(Effect.provide(running())),
  )

  it.effect("stay as long as another job waits for them, and are not waited for once they have left", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const cancelled = yield* enqueue(2, { delay: "1 day" })
      yield* queue.cancel(cancelled)
      const waiting = yield* enqueue(4, { dependsOn: [cancelled], onDependencyFailure: "wait" })
      yield* TestClock.adjust("2 days")
      expect(yield* retain({ olderThan: "1 day" })).toMatchObject({ ripe: 0 })
      const archive = yield* JournalArchive
      const { version } = yield* queue.get(cancelled)
      expect(yield* archive.move([{ stream: cancelled, version }])).toMatchObject({ streams: 0, stayed: 1 })

      yield* queue.retry(cancelled)
      yield* ended(waiting)
      yield* TestClock.adjust("2 days")
      const late = yield* enqueue(6, { delay: "1 day" })
      yield* queue.cancel(late)
      expect(yield* retain({ olderThan: "1 day" })).toMatchObject({ streams: 2 })
      // What has completed is done, wherever it is; what was cancelled can complete no more.
      expect(yield* ended(yield* enqueue(8, { dependsOn: [cancelled] }))).toMatchObject({
        status: "completed",
      })
      yield* TestClock.adjust("2 days")
      yield* retain({ olderThan: "1 day" })
      expect(yield* Effect.flip(enqueue(8, { dependsOn: [late] }))).toMatchObject({
        _tag: "InvalidDependency",
        fault: "unknown",
      })
      const { faults } = yield* audit
      expect(faults).toEqual([])
    }).pipe(Effect.provide(running())),
  )

  it.effect("let the tables be built anew for a job that has waited for one of them", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const journal = yield* Journal
      const first = yield* enqueue(2, { delay: "1 hour" })
      const second = yield* enqueue(4, { dependsOn: [first], delay: "2 days" })
      yield* TestClock.adjust("1 hour")
      yield* ended(first)
      yield* settle
      yield* TestClock.adjust("30 hours")
      expect(yield* retain({ olderThan: "1 day" })).toMatchObject({ streams: 1 })
      expect((yield* queue.get(second)).state.status).toBe("waiting")
      const kept = yield* tables
      const remaining = yield* journal.readAll({ afterPosition: 0, limit: 100 })
      expect(yield* rebuild(remaining, [1], kept)).toEqual(kept)
      yield* advance("1 day")
      yield* ended(second)
    }).pipe(Effect.provide(running())),
  )

  it.effect("stay when they were retried between the look at them and their move", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const archive = yield* JournalArchive
      const id = yield* enqueue(4, { delay: "1 day" })
      yield* queue.cancel(id)
      const { version } = yield* queue.get(id)
      yield* queue.retry(id)
      yield* ended(id)
      expect(yield* archive.move([{ stream: id, version }])).toMatchObject({ streams: 0, stayed: 1 })
      expect(yield* listed).toEqual([id])
    }).pipe(Effect.provide(running())),
  )

  it.effect("are found behind any number that stay, while others are enqueued", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const queue = yield* Queue
      const finish = (i: number) =>
        i % 1_500 === 700
          ? [{ _tag: "JobCancelled" } as const]
          : i < 3_000
            ? [
                { _tag: "JobStarted", attempt: 1, worker: "w" } as const,
                { _tag: "JobDeadLettered", reason: "attempts_used_up" } as const,
              ]
            : []
      const streams = Array.from({ length: 5_000 }, (_, i) => `job_${String(i).padStart(5, "0")}`)
      yield* journal.append(
        streams.map((stream, i) => ({
          stream,
          expectedVersion: 0,
          events: [enqueued({ type: "numbered", due_at: START + 900 * DAY_MS }), ...finish(i)],
        })),
        START,
      )
      yield* TestClock.adjust("2 days")
      const fresh = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 300 }), () => enqueue(2), { concurrency: 4 }),
      )
      expect(yield* retain({ olderThan: "1 day" })).toMatchObject({ ripe: 3, streams: 3, events: 6 })
      const left = yield* Effect.filter(streams, journal.isArchived)
      expect(left).toEqual(["job_00700", "job_02200", "job_03700"])
      yield* Effect.forEach(yield* Fiber.join(fresh), (id) => queue.await(id))
      expect((yield* audit).faults).toEqual([])
    }).pipe(Effect.provide(running())),
  )
})

describe("the server", () => {
  const totals = Effect.flatMap(JournalArchive, (archive) => archive.totals)

  it.effect("looks for old jobs a moment after its start, and every hour from then on", () =>
    Effect.gen(function* () {
      const archived = Effect.map(totals, ({ streams }) => streams)
      yield* ended(yield* enqueue(2))
      // Too young for the first run, one minute after the start.
      yield* advance("60 minutes")
      expect(yield* archived).toBe(0)
      yield* advance("1 minute")
      expect(yield* archived).toBe(1)
      yield* ended(yield* enqueue(2))
      yield* advance("59 minutes")
      expect(yield* archived).toBe(1)
      yield* advance("1 minute")
      expect(yield* archived).toBe(2)
    }).pipe(Effect.provide(running(Retention.hourly("30 minutes"), storeOn(inMemory)))),
  )

  it.effect("tries again after a run that failed", () =>
    Effect.gen(function* () {
      const archive = join(yield* temporaryFolder, "archive.db")
      // A folder where the file should be.
      mkdirSync(archive)
      yield* Effect.gen(function* () {
        yield* ended(yield* enqueue(2))
        yield* advance("61 minutes")
        expect(yield* Effect.flip(retain({ olderThan: "30 minutes" }))).toMatchObject({
          _tag: "ArchiveError",
        })
        expect(yield* listed).toHaveLength(1)
        rmdirSync(archive)
        yield* advance("5 minutes")
        expect((yield* totals).streams).toBe(1)
        expect(yield* listed).toEqual([])
      }).pipe(Effect.provide(running(Retention.hourly("30 minutes"), storeOn(inMemory, archive))))
    }),
  )
})

it.effect("a page of jobs is read by the primary key", () =>
  Effect.gen(function* () {
    const { writer } = yield* SqliteClient
    const plan = writer
      .prepareUncached(`EXPLAIN QUERY PLAN ${SELECT_RIPE}`)
      .all()
      .map((row) => row["detail"] as string)
    expect(plan).toContain("SEARCH jobs USING INTEGER PRIMARY KEY (rowid>?)")
    expect(plan).toContain("SEARCH e USING INTEGER PRIMARY KEY (rowid=?)")
    expect(plan.filter((step) => step.includes("TEMP B-TREE"))).toEqual([])
  }).pipe(Effect.provide(inMemory)),
)
