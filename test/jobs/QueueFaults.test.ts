import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Latch, Layer, Schedule, Scope } from "effect"
import { Queue } from "../../src/jobs/Queue.ts"
import type { JobEvent } from "../../src/jobs/JobEvents.ts"
import { HEARTBEAT_INTERVAL_MS, LEASE_DURATION_MS } from "../../src/jobs/Leases.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { fillDisk, freeDisk } from "../support/FullDisk.ts"
import { advance, settle } from "../support/Turns.ts"
import { enqueued } from "./JobHistories.ts"
import { rebuild, tables } from "./JobTables.ts"
import {
  ended,
  eventsOf,
  historyOf,
  liveStore,
  numbered,
  Numbered,
  queueWith,
  running,
  START,
  statusOf,
  store,
} from "./QueueFixture.ts"

const echo = numbered((n) => Effect.succeed(n * 2))

/** Writes to a job's stream past its queue. */
const write = (id: string, expectedVersion: number, ...events: ReadonlyArray<JobEvent>) =>
  Effect.flatMap(Journal, (journal) => journal.append([{ stream: id, expectedVersion, events }], START))

const stored = enqueued({ type: "numbered", payload: { n: 5 }, timeout_ms: 600_000 })
const started = (attempt: number): JobEvent => ({ _tag: "JobStarted", attempt, worker: "another process" })

const tagOf = (error: { readonly _tag: string; readonly reason?: { readonly _tag: string } }) =>
  error.reason?._tag ?? error._tag

/** A queue that the test closes itself. */
const opened = Effect.fnUntraced(function* (layer: ReturnType<typeof queueWith>) {
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(layer, scope)
  const close = Scope.close(scope, Exit.void)
  return { context, close }
})

describe("after a process was lost", () => {
  it.effect("its jobs are run again, as further attempts", () =>
    Effect.gen(function* () {
      yield* write("job_1", 0, stored, started(1))
      yield* write("job_2", 0, { ...stored, max_attempts: 1 }, started(1))
      yield* write("job_3", 0, stored)
      yield* Effect.gen(function* () {
        expect(yield* ended("job_1")).toMatchObject({
          status: "completed",
          result: 10,
          attempt: 2,
          failures: 1,
        })
        expect(yield* ended("job_2")).toMatchObject({ status: "dead_letter", attempt: 1 })
        expect(yield* ended("job_3")).toMatchObject({ status: "completed", attempt: 1 })
      }).pipe(Effect.provide(queueWith(echo)))
      expect(yield* eventsOf("job_1")).toMatchObject([
        { _tag: "JobEnqueued" },
        { _tag: "JobStarted", worker: "another process" },
        { _tag: "JobStalled", attempt: 1, reason: "process_lost" },
        { _tag: "JobStarted", worker: "test", attempt: 2 },
        { _tag: "JobCompleted", attempt: 2 },
      ])
      expect(yield* historyOf("job_2")).toEqual(["Enqueued", "Started", "Stalled", "DeadLettered"])
    }).pipe(Effect.provide(store)),
  )

  it.effect("steps that it completed are not repeated", () =>
    Effect.gen(function* () {
      const step: JobEvent = { _tag: "JobStepCompleted", attempt: 1, name: "plan", result: "planned before" }
      yield* write("job_1", 0, stored, started(1), step)
      const worker = numbered((_n, job) => job.step("plan", Effect.die("planned twice")))
      expect(yield* ended("job_1").pipe(Effect.provide(queueWith(worker)))).toMatchObject({
        result: "planned before",
      })
    }).pipe(Effect.provide(store)),
  )

  it.effect("timers of its scheduled jobs go on", () =>
    Effect.gen(function* () {
      yield* write("job_1", 0, { ...stored, due_at: START + 5_000 })
      yield* Effect.gen(function* () {
        yield* advance(4_999)
        expect(yield* statusOf("job_1")).toBe("waiting")
        yield* advance(1)
        expect(yield* ended("job_1")).toMatchObject({ status: "completed" })
      }).pipe(Effect.provide(queueWith(echo)))
    }).pipe(Effect.provide(store)),
  )
})

describe("a lease that is lost", () => {
  it.effect("the late answer of the old attempt is refused and changes nothing", () => {
    const gate = Latch.makeUnsafe(false)
    const log: Array<string> = []
    const worker = numbered((_n, job) =>
      Effect.sync(() => log.push(`${job.attempt} begins`)).pipe(
        Effect.andThen(job.attempt === 1 ? gate.await : Effect.void),
        Effect.as(`answer ${job.attempt}`),
        Effect.onInterrupt(() => Effect.sync(() => log.push(`${job.attempt} is interrupted`))),
      ),
    )
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      const bystander = yield* Queue.enqueue(Numbered, { n: 2 }, { delay: 10 })
      yield* settle
      // Somebody else has declared the attempt lost.
      yield* write(id, 2, { _tag: "JobStalled", attempt: 1, reason: "lease_expired", retry_at: START })
      yield* gate.open
      yield* settle
      expect(yield* ended(id)).toMatchObject({ status: "completed", result: "answer 2", attempt: 2 })
      expect(yield* historyOf(id)).toEqual(["Enqueued", "Started", "Stalled", "Started", "Completed"])
      yield* advance(10)
      expect(yield* ended(bystander.id)).toMatchObject({ status: "completed" })
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("because its attempt has vanished without an answer runs out, and the job is run again", () => {
    // An error that cannot even be described: nothing is left of the attempt that could tell the queue.
    const unspeakable = Object.defineProperty({}, "message", {
      get: () => {
        throw new Error("unspeakable")
      },
    })
    const worker = numbered((n, job) => (job.attempt === 1 ? Effect.fail(unspeakable) : Effect.succeed(n)))
    return Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* advance(LEASE_DURATION_MS - 1)
      expect(yield* statusOf(id)).toBe("processing")
      yield* advance(HEARTBEAT_INTERVAL_MS)
      expect(yield* ended(id)).toMatchObject({ status: "completed", attempt: 2, failures: 1 })
      expect((yield* eventsOf(id))[2]).toMatchObject({ _tag: "JobStalled", reason: "lease_expired" })
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("a command decided on an old version is decided again on the new one", () => {
    const gate = Latch.makeUnsafe(false)
    return Effect.gen(function* () {
      const queue = yield* Queue
      const { id } = yield* Queue.enqueue(Numbered, { n: 1 })
      yield* settle
      yield* write(id, 2, { _tag: "JobCancelled" })
      const others = Effect.forEach([2, 3], (n) => Queue.enqueue(Numbered, { n }), {
        concurrency: "unbounded",
      })
      const [cancelled, submitted] = yield* Effect.all([Effect.exit(queue.cancel(id)), others], {
        concurrency: "unbounded",
      })
      expect(cancelled).toEqual(Exit.void)
      expect(submitted).toHaveLength(2)
      yield* settle
      expect((yield* queue.activity).get("default")!.running.get("numbered")).toBe(2)
      expect(yield* historyOf(id)).toEqual(["Enqueued", "Started", "Cancelled"])
    }).pipe(Effect.provide(running(numbered(() => gate.await))))
  })
})

describe("an id that is taken", () => {
  it.effect("fails the submission that has it, alone", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const id = "job_01h455vb4pex5vsknk084sn02q"
      const submit = (n: number, given?: string) =>
        queue.submit({ type: "numbered", payload: { n }, id: given })
      yield* submit(1, id)
      const outcomes = yield* Effect.all(
        [submit(2), submit(3, id), submit(4)].map((one) =>
          Effect.match(one, { onSuccess: () => "ok", onFailure: tagOf }),
        ),
        { concurrency: "unbounded" },
      )
      expect(outcomes).toEqual(["ok", "VersionConflict", "ok"])
      expect(yield* ended(id)).toMatchObject({ result: 2 })
    }).pipe(Effect.provide(running(echo))),
  )
})

describe("stopping", () => {
  const slow = (gate: Latch.Latch, log: Array<string>) =>
    numbered((_n, job) =>
      Effect.sync(() => log.push(`${job.attempt} begins`)).pipe(
        Effect.andThen(gate.await),
        Effect.as("done"),
        Effect.onInterrupt(() =>
          Effect.andThen(
            settle,
            Effect.sync(() => log.push(`${job.attempt} is interrupted`)),
          ),
        ),
      ),
    )

  it.effect("lets attempts under way finish, and starts no other", () => {
    const gate = Latch.makeUnsafe(false)
    return Effect.gen(function* () {
      const { context, close } = yield* opened(
        queueWith(slow(gate, []), { grace: "8 seconds", concurrency: 1 }),
      )
      const [first, second] = yield* Effect.forEach([1, 2], (n) => Queue.enqueue(Numbered, { n })).pipe(
        Effect.provide(context),
      )
      yield* settle
      const closing = yield* Effect.forkChild(close)
      yield* advance(7_999)
      expect(closing.pollUnsafe()).toBeUndefined()
      yield* gate.open
      yield* Fiber.join(closing)
      expect(yield* historyOf(first!.id)).toEqual(["Enqueued", "Started", "Completed"])
      expect(yield* historyOf(second!.id)).toEqual(["Enqueued"])
    }).pipe(Effect.provide(store))
  })

  it.effect(
    "hands back what does not finish within the grace: not counted, and run by the next process",
    () => {
      const gate = Latch.makeUnsafe(false)
      const log: Array<string> = []
      return Effect.gen(function* () {
        const resource = Layer.effectDiscard(
          Effect.addFinalizer(() => Effect.sync(() => log.push("what it uses is released"))),
        )
        const worker = Layer.provide(slow(gate, log), resource)
        const { context, close } = yield* opened(queueWith(worker, { grace: "8 seconds" }))
        const { id } = yield* Effect.provide(Queue.enqueue(Numbered, { n: 1 }, { maxAttempts: 1 }), context)
        yield* settle
        const closing = yield* Effect.forkChild(close)
        yield* advance(8_000)
        yield* Fiber.join(closing)
        expect(log).toEqual(["1 begins", "1 is interrupted", "what it uses is released"])
        expect((yield* eventsOf(id)).at(-1)).toMatchObject({ _tag: "JobStalled", reason: "handed_back" })
        yield* gate.open
        expect(yield* ended(id).pipe(Effect.provide(queueWith(slow(gate, log))))).toMatchObject({
          status: "completed",
          attempt: 2,
          failures: 0,
        })
      }).pipe(Effect.provide(store))
    },
  )

  it.effect("ends although the store is full", () => {
    const gate = Latch.makeUnsafe(false)
    const log: Array<string> = []
    return Effect.gen(function* () {
      const { context, close } = yield* opened(queueWith(slow(gate, log), { grace: 0 }))
      const { id } = yield* Effect.provide(Queue.enqueue(Numbered, { n: 1 }), context)
      yield* settle
      yield* fillDisk
      yield* close
      expect(log).toEqual(["1 begins", "1 is interrupted"])
      yield* freeDisk
      yield* gate.open
      expect(yield* ended(id).pipe(Effect.provide(queueWith(slow(gate, log))))).toMatchObject({
        status: "completed",
        attempt: 2,
        failures: 1,
      })
    }).pipe(Effect.provide(store))
  })

  it.effect("of a handler at the moment at which its job starts leaves the job to the next one", () =>
    Effect.gen(function* () {
      for (const turns of [0, 1, 2, 3, 4, 5, 6, 7, 8]) {
        const scope = yield* Scope.make()
        yield* Layer.buildWithScope(echo, scope)
        const submitted = yield* Effect.forkChild(Queue.enqueue(Numbered, { n: turns }), {
          startImmediately: true,
        })
        for (let i = 0; i < turns; i++) yield* Effect.yieldNow
        yield* Scope.close(scope, Exit.void)
        const { id } = yield* Fiber.join(submitted)
        yield* settle
        expect(["waiting", "completed"]).toContain(yield* statusOf(id))
        const state = yield* ended(id).pipe(Effect.provide(echo))
        expect(state).toMatchObject({ status: "completed", failures: 0 })
      }
    }).pipe(Effect.provide(running(Layer.empty))),
  )

  it.effect("answers what was asked before, interrupts whoever asks later, and nobody waits for ever", () =>
    Effect.gen(function* () {
      const { context, close } = yield* opened(queueWith(echo))
      const submit = Effect.provide(Queue.enqueue(Numbered, { n: 1 }), context)
      const queue = yield* Effect.provide(Queue, context)
      const before = yield* Effect.forkChild(submit, { startImmediately: true })
      yield* close
      const { id } = yield* Fiber.join(before)
      expect((yield* historyOf(id))[0]).toBe("Enqueued")
      expect((yield* Effect.flip(submit))._tag).toBe("UnknownJobType")
      expect(Exit.hasInterrupts(yield* Effect.exit(queue.cancel(id)))).toBe(true)
    }).pipe(Effect.provide(store)),
  )

  it.effect("lets an attempt under way submit another job", () => {
    const gate = Latch.makeUnsafe(false)
    return Effect.gen(function* () {
      const followUp = yield* Deferred.make<string>()
      const parent = Layer.effectDiscard(
        Effect.gen(function* () {
          const queue = yield* Queue
          yield* queue.register({
            job: Numbered,
            concurrency: 1,
            run: () =>
              Effect.gen(function* () {
                yield* gate.await
                const { id } = yield* queue.submit({ type: "numbered", payload: { n: 2 } })
                yield* Deferred.succeed(followUp, id)
              }).pipe(Effect.orDie),
          })
        }),
      )
      const { context, close } = yield* opened(queueWith(parent, { grace: "8 seconds" }))
      yield* Effect.provide(Queue.enqueue(Numbered, { n: 1 }), context)
      yield* settle
      const closing = yield* Effect.forkChild(close)
      yield* settle
      yield* gate.open
      const id = yield* Deferred.await(followUp)
      yield* Fiber.join(closing)
      expect((yield* historyOf(id))[0]).toBe("Enqueued")
    }).pipe(Effect.provide(store))
  })
})

describe("a full disk", () => {
  it.effect("refuses submissions with a typed error, and keeps nothing of them", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const queue = yield* Queue
      const job = (n: number, name?: string) => ({ type: "numbered", payload: { n }, queue: name })
      yield* ended((yield* queue.submit(job(0))).id)
      yield* fillDisk
      const head = yield* journal.head
      expect(tagOf(yield* Effect.flip(queue.submit(job(1))))).toBe("StoreFull")
      expect(tagOf(yield* Effect.flip(queue.submitBatch([job(1), job(2)])))).toBe("StoreFull")
      expect(tagOf(yield* Effect.flip(queue.submitBatch([job(1, "a"), job(2, "b")])))).toBe("StoreFull")
      expect(yield* journal.head).toBe(head)
      yield* freeDisk
      const { id } = yield* queue.submit(job(3))
      expect(yield* ended(id)).toMatchObject({ status: "completed", result: 6 })
      expect(yield* journal.head).toBe(head + 3)
    }).pipe(Effect.provide(running(echo))),
  )

  it.effect("delays what running jobs have to tell, and loses none of it", () => {
    const gate = Latch.makeUnsafe(false)
    let runs = 0
    const worker = numbered((n, job) =>
      Effect.gen(function* () {
        runs++
        yield* gate.await
        yield* job.step("step", Effect.succeed(`step of ${n}`))
        if (n === 1) return yield* Effect.fail({ _tag: "Broken", retryable: false })
        return n
      }),
    )
    return Effect.gen(function* () {
      const jobs = yield* Effect.forEach([1, 2, 3, 4], (n) => Queue.enqueue(Numbered, { n }))
      const later = yield* Queue.enqueue(Numbered, { n: 5 }, { delay: "30 seconds" })
      yield* settle
      expect(runs).toBe(4)
      yield* fillDisk
      yield* gate.open
      yield* advance("1 minute")
      expect(yield* Effect.forEach(jobs, ({ id }) => statusOf(id))).toEqual(jobs.map(() => "processing"))
      expect(yield* statusOf(later.id)).toBe("waiting")
      yield* freeDisk
      // They try again every two seconds at the latest.
      for (let i = 0; i < 5; i++) yield* advance("2 seconds")
      const states = yield* Effect.forEach([...jobs, later], ({ id }) => ended(id))
      expect(states.map(({ status }) => status)).toEqual([
        "dead_letter",
        "completed",
        "completed",
        "completed",
        "completed",
      ])
      expect(states.map(({ attempt }) => attempt)).toEqual([1, 1, 1, 1, 1])
      expect(runs).toBe(5)
    }).pipe(Effect.provide(running(worker)))
  })

  it.effect("with no room for the start of a job leaves it waiting, until there is", () =>
    Effect.gen(function* () {
      yield* write("job_1", 0, stored)
      yield* fillDisk
      yield* Effect.gen(function* () {
        yield* advance("10 seconds")
        expect(yield* statusOf("job_1")).toBe("waiting")
        yield* freeDisk
        yield* advance("1 second")
        expect(yield* ended("job_1")).toMatchObject({ status: "completed", attempt: 1 })
      }).pipe(Effect.provide(queueWith(echo)))
    }).pipe(Effect.provide(store)),
  )

  it.effect("tells nobody of something that was not stored", () => {
    const gate = Latch.makeUnsafe(false)
    return Effect.gen(function* () {
      const queue = yield* Queue
      const job = (n: number) => ({ type: "numbered", payload: { n }, idempotencyKey: "key" })
      const { id } = yield* Queue.enqueue(Numbered, { n: 0 })
      yield* settle
      yield* fillDisk
      const outcomes = yield* Effect.all(
        [
          queue.submit(job(1)),
          queue.submit(job(1)),
          queue.submit(job(2)),
          queue.cancel(id),
          queue.prioritize(id, "low"),
          queue.cancel("job_unheard"),
        ].map((one) =>
          Effect.match(one as Effect.Effect<unknown, never>, { onSuccess: () => "ok", onFailure: tagOf }),
        ),
        { concurrency: "unbounded" },
      )
      expect(outcomes).toEqual([
        "StoreFull",
        "StoreFull",
        "StoreFull",
        "StoreFull",
        "StoreFull",
        "JobNotFound",
      ])
      expect(yield* statusOf(id)).toBe("processing")
      yield* freeDisk
      expect((yield* queue.submit(job(2))).deduplicated).toBe(false)
      yield* gate.open
      for (let i = 0; i < 5; i++) yield* advance("1 second")
      expect(yield* ended(id)).toMatchObject({ status: "completed", attempt: 1 })
    }).pipe(Effect.provide(running(numbered(() => gate.await))))
  })
})

describe("whatever goes wrong", () => {
  it.live("every job ends once faults stop, within its attempts, and the tables equal the journal", () => {
    const random = (n: number) => ((n * 2_654_435_761) >>> 7) % 100
    const worker = numbered(
      (n, job) =>
        Effect.gen(function* () {
          const dice = random(n * 31 + job.attempt)
          yield* job.step("step", Effect.succeed(n))
          yield* job.progress({ percent: dice })
          yield* Effect.sleep(dice % 7)
          if (dice < 25) return yield* Effect.fail({ _tag: "Unlucky" })
          if (dice < 30) return yield* Effect.die("defect")
          if (dice < 35) return yield* Effect.fail({ _tag: "Fatal", retryable: false })
          if (dice < 40) return yield* Effect.interrupt
          return n
        }),
      { concurrency: 8 },
    )
    return Effect.gen(function* () {
      const journal = yield* Journal
      const { writer } = yield* SqliteClient
      const ids: Array<string> = []
      const untilTaken = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
        Effect.retry(effect, { schedule: Schedule.spaced(5), times: 2_000 })
      const life = (generation: number) =>
        Effect.gen(function* () {
          const queue = yield* Queue
          const submitting = Effect.forEach(
            Array.from({ length: 60 }, (_, i) => generation * 60 + i),
            (n) =>
              Effect.gen(function* () {
                const { id } = yield* untilTaken(
                  Queue.enqueue(
                    Numbered,
                    { n },
                    {
                      queue: n % 3 === 0 ? "a" : "b",
                      priority: n % 5 === 0 ? "high" : "normal",
                      delay: n % 4 === 0 ? 20 : undefined,
                      maxAttempts: 2,
                      idempotencyKey: `key ${n}`,
                    },
                  ),
                )
                ids.push(id)
                if (n % 11 === 0) yield* untilTaken(Effect.ignore(queue.cancel(id)))
                if (n % 13 === 0) yield* untilTaken(Effect.ignore(queue.prioritize(id, "urgent")))
              }),
            { concurrency: 20, discard: true },
          )
          const trouble = Effect.gen(function* () {
            for (let i = 0; i < 3; i++) {
              yield* Effect.sleep(10)
              yield* fillDisk
              yield* Effect.sleep(15)
              yield* freeDisk
            }
          })
          yield* Effect.all([submitting, trouble], { concurrency: "unbounded", discard: true })
        }).pipe(Effect.provide(queueWith(worker)))
      // Three processes, one after the other, each stopped in the middle of its work.
      for (let generation = 0; generation < 3; generation++) yield* life(generation)
      const states = yield* Effect.forEach(ids, (id) => ended(id), { concurrency: "unbounded" }).pipe(
        Effect.provide(queueWith(worker)),
      )
      expect(states).toHaveLength(180)
      for (const state of states) {
        expect(["completed", "dead_letter", "cancelled"]).toContain(state.status)
        expect(state.failures).toBeLessThanOrEqual(2)
        expect(state.steps.length).toBeLessThanOrEqual(1)
        expect(state.attempts.every(({ endedAt }) => endedAt !== undefined)).toBe(true)
      }
      const all = yield* journal.readAll({ afterPosition: 0, limit: 100_000 })
      expect(all.map(({ position }) => position)).toEqual(all.map((_, i) => i + 1))
      const open = writer.prepare("SELECT count(*) AS jobs FROM jobs WHERE status IN (0, 1)").get()
      expect(open).toEqual({ jobs: 0 })
      expect(yield* rebuild(all, [1_000])).toEqual(yield* tables)
    }).pipe(Effect.provide(liveStore))
  })
})
