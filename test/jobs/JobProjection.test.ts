import { describe, expect, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as fc from "fast-check"
import { JobBehavior } from "../../src/jobs/JobBehavior.ts"
import { isJobEvent, type JobEvent, jobEventTypes } from "../../src/jobs/JobEvents.ts"
import { jobProjection } from "../../src/jobs/JobProjection.ts"
import { priorityCode, ROW_STATUS } from "../../src/jobs/JobRow.ts"
import type { JobState } from "../../src/jobs/JobState.ts"
import type { InlineProjection } from "../../src/journal/InlineProjection.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { forAll } from "../support/Property.ts"
import { inMemory, onFile } from "../support/TestDatabase.ts"
import { rebuild, tables } from "./JobTables.ts"
import { anyCommand, type AnyCommand, decide, enqueueCommand, enqueued } from "./JobHistories.ts"

const journalOn = (database: typeof inMemory, others: ReadonlyArray<InlineProjection> = []) =>
  Layer.suspend(() =>
    SqliteJournal.layer({ events: jobEventTypes, projections: [jobProjection(), ...others] }),
  ).pipe(Layer.provideMerge(database))

/** Commands to several jobs, with the number of those that share an append. */
const histories = fc.record({
  jobs: fc.array(fc.tuple(enqueueCommand, fc.boolean(), fc.array(fc.nat(), { maxLength: 3 })), {
    minLength: 1,
    maxLength: 12,
  }),
  commands: fc.array(fc.tuple(fc.nat(), anyCommand), { maxLength: 150 }),
  together: fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 5 }),
  chunks: fc.array(fc.integer({ min: 1, max: 70 }), { minLength: 1, maxLength: 5 }),
})

/** Decides the commands one after the other and appends what follows, several decisions at a time. */
const play = Effect.fnUntraced(function* (
  jobs: ReadonlyArray<readonly [AnyCommand, boolean, ReadonlyArray<number>]>,
  commands: ReadonlyArray<readonly [number, AnyCommand]>,
  together: ReadonlyArray<number>,
) {
  const journal = yield* Journal
  const ids = jobs.map((_, i) => `job_${i}`)
  const states = new Map<string, { state: JobState; version: number }>()
  let now = 1
  let appends: Array<{ stream: string; expectedVersion: number; events: ReadonlyArray<JobEvent> }> = []
  let groups = 0
  const flush = Effect.suspend(() => {
    const group = appends
    appends = []
    groups++
    return journal.append(group, now)
  })
  const all = [...jobs.map(([command], i) => [i, command] as const), ...commands]
  for (const [which, command] of all) {
    const index = which % ids.length
    const stream = ids[index]!
    const current = states.get(stream) ?? { state: JobBehavior.initial, version: 0 }
    // An append has one time: what it decides happens then.
    if (appends.length === 0) now += command.pause
    let events = decide(current.state, command, now)
    if (command.tag === "Enqueue" && jobs[index]![1]) {
      events = events.map((event) => ({ ...event, idempotency_key: `key ${index}` }))
    }
    if (command.tag === "Enqueue" && index > 0) {
      const depends_on = [...new Set(jobs[index]![2].map((other) => `job_${other % index}`))]
      if (depends_on.length > 0) events = events.map((event) => ({ ...event, depends_on }))
    }
    if (events.length === 0) continue
    let { state } = current
    for (const event of events) state = JobBehavior.evolve(state, event, now)
    states.set(stream, { state, version: current.version + events.length })
    appends.push({ stream, expectedVersion: current.version, events })
    if (appends.length >= together[groups % together.length]!) yield* flush
  }
  yield* flush
  return states
})

const statusCode = { ...ROW_STATUS, absent: -1, archived: -1 }

describe("the queue tables", () => {
  it.effect("equal the fold of the journal, row for row, however it was batched", () =>
    forAll(
      histories,
      ({ jobs, commands, together, chunks }) =>
        Effect.gen(function* () {
          const states = yield* play(jobs, commands, together)
          const kept = yield* tables
          const journal = yield* Journal
          const events = yield* journal.readAll({ afterPosition: 0, limit: 10_000 })
          expect(yield* rebuild(events, chunks)).toEqual(kept)
          expect(yield* rebuild(events, [10_000])).toEqual(kept)
          // And the rows agree with the states that the behavior folds.
          const positions = new Map(
            events.flatMap(({ version, stream, position }) => (version === 1 ? [[position, stream]] : [])),
          )
          expect(kept["jobs"]!.map((row) => [positions.get(row["position"] as number), row])).toEqual(
            [...positions].map(([position, stream]) => {
              const { state } = states.get(stream)!
              return [
                stream,
                expect.objectContaining({
                  position,
                  priority: priorityCode(state.priority),
                  // Who stands behind another one of its key waits as well.
                  status: expect.toSatisfy(
                    (status: number) =>
                      (status === ROW_STATUS.behind ? ROW_STATUS.waiting : status) ===
                      statusCode[state.status],
                  ),
                  concurrency_key: state.concurrencyKey ?? null,
                  expires_at: state.expiresAt ?? null,
                  due_at: state.dueAt,
                  attempt: state.attempt,
                  finished_at: state.finishedAt ?? null,
                }),
              ]
            }),
          )
        }).pipe(Effect.provide(journalOn(inMemory))),
      { runs: 80 },
    ),
  )

  it.effect("let the first waiting job of a concurrency key stand in front, and nobody else of it", () =>
    forAll(
      histories,
      ({ jobs, commands, together }) =>
        Effect.gen(function* () {
          yield* play(jobs, commands, together)
          const waiting = (yield* tables)["jobs"]!.filter(
            ({ concurrency_key, status }) =>
              concurrency_key !== null && (status === ROW_STATUS.waiting || status === ROW_STATUS.behind),
          )
          const lines = Map.groupBy(waiting, ({ concurrency_key, priority, queue, type }) =>
            [queue, type, priority, concurrency_key].join(" "),
          )
          for (const line of lines.values()) {
            const inOrder = line.toSorted(
              (a, b) =>
                Number(a["due_at"]) - Number(b["due_at"]) || Number(a["position"]) - Number(b["position"]),
            )
            expect(inOrder.map(({ status }) => status)).toEqual(
              inOrder.map((_, i) => (i === 0 ? ROW_STATUS.waiting : ROW_STATUS.behind)),
            )
          }
        }).pipe(Effect.provide(journalOn(inMemory))),
      { runs: 60 },
    ),
  )

  it.effect("count what is there, by queue, type, priority and status", () =>
    forAll(
      histories,
      ({ jobs, commands, together }) =>
        Effect.gen(function* () {
          yield* play(jobs, commands, together)
          const { writer } = yield* SqliteClient
          const counted = writer
            .prepare(
              `SELECT queue, type, priority, iif(status = 6, 0, status) AS status, count(*) AS jobs FROM jobs
               GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4`,
            )
            .all()

          expect((yield* tables)["job_counts"]).toEqual(counted)
        }).pipe(Effect.provide(journalOn(inMemory))),
      { runs: 30 },
    ),
  )

  it.effect("an append that fails leaves no row, and no memory of one", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const keyed = (queue: string, key: string) => enqueued({ queue, idempotency_key: key, tags: ["red"] })
      const append = (stream: string, ...events: ReadonlyArray<JobEvent>) =>
        journal.append([{ stream, expectedVersion: 0, events }], 1)
      yield* append("job_1", keyed("first", "taken"))
      const before = yield* tables
      // The queue "second" is named, then the second job of the same append takes a key that is taken.
      const refused = yield* Effect.flip(
        journal.append(
          [
            { stream: "job_2", expectedVersion: 0, events: [keyed("second", "fresh")] },
            { stream: "job_3", expectedVersion: 0, events: [keyed("first", "taken")] },
          ],
          1,
        ),
      )
      expect(refused.reason._tag).toBe("StoreFailed")
      expect(yield* tables).toEqual(before)
      yield* append("job_4", keyed("third", "fresh"))
      yield* append("job_5", keyed("second", "fresh"))
      const after = yield* tables
      expect(after["queue_names"]!.map((row) => row["name"])).toEqual(["first", "third", "second"])
      const events = yield* journal.readAll({ afterPosition: 0, limit: 100 })
      expect(events.every(({ event }) => isJobEvent(event))).toBe(true)
      expect(yield* rebuild(events, [1])).toEqual(after)
    }).pipe(Effect.provide(journalOn(onFile))),
  )

  it.effect("what another projection has undone is not remembered", () => {
    const picky: InlineProjection = {
      name: "picky",
      tables: [],
      project: (_db, events) => {
        if (events.some(({ event }) => event._tag === "JobStarted")) throw new Error("no starts, please")
      },
      forget: () => {},
    }
    return Effect.gen(function* () {
      const journal = yield* Journal
      const append = (expectedVersion: number, event: JobEvent) =>
        journal.append([{ stream: "job_1", expectedVersion, events: [event] }], 1)
      yield* append(0, enqueued())
      yield* Effect.flip(append(1, { _tag: "JobStarted", attempt: 1, worker: "w" }))
      yield* append(1, { _tag: "JobCancelled" })
      const events = yield* journal.readAll({ afterPosition: 0, limit: 100 })
      expect(yield* rebuild(events, [1])).toEqual(yield* tables)
    }).pipe(Effect.provide(journalOn(onFile, [picky])))
  })

  it.effect("a batch of a thousand is as many rows", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const ids = Array.from({ length: 1_000 }, (_, i) => `job_${i}`)
      yield* journal.append(
        ids.map((stream, i) => ({
          stream,
          expectedVersion: 0,
          events: [enqueued({ type: `type ${i % 3}`, idempotency_key: stream })],
        })),
        5,
      )
      const { jobs, job_keys, job_counts } = yield* tables
      expect(jobs!.map((row) => row["position"])).toEqual(ids.map((_, i) => i + 1))
      expect(job_keys).toHaveLength(1_000)
      expect(job_counts!.map((row) => row["jobs"])).toEqual([334, 333, 333])
    }).pipe(Effect.provide(journalOn(onFile))),
  )
})
