/**
 * A program that enqueues under load and says what it was promised, until it is killed; with `drain` it only runs what is
 * there, and ends when nothing is left to run.
 *
 * Arguments: folder, seed, `load` or `drain`. Each {@link Acknowledgement} is a line of JSON on file descriptor 3, each run of a
 * handler a line of `runs.log`; both are written synchronously, so that a kill loses none.
 */
import { Cause, Clock, Effect, Layer, Random, Schema } from "effect"
import { appendFileSync, writeSync } from "node:fs"
import { join } from "node:path"
import { PRIORITIES } from "../../src/jobs/JobEvents.ts"
import * as Job from "../../src/jobs/Job.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import type { Submission } from "../../src/jobs/Submission.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { type Acknowledgement, DATABASE, type Promised, RUNS_LOG } from "./EnqueueProtocol.ts"

const FIBERS = 32
const QUEUES: readonly [string, string, string] = ["a", "b", "c"]
/** Few enough for every key to be asked for again in later lives of the process. */
const KEYS = 300
const BATCH_MAX = 20
const HOUR_MS = 3_600_000

/** Fails its first `failures` attempts; a batch is known by its name and its size. */
const Work = Job.make("crash:work", {
  payload: Schema.Struct({
    tag: Schema.String,
    failures: Schema.Int,
    batch: Schema.NullOr(Schema.String),
    size: Schema.Int,
  }),
  success: Schema.String,
  error: Schema.TaggedStruct("NotYet", {}),
  retry: { maxAttempts: 50, base: "5 millis", max: "20 millis" },
})

const [folder = "", seed = "", mode = ""] = process.argv.slice(2)

const WorkLive = Work.toLayer(
  Effect.fnUntraced(function* ({ failures, tag }, job) {
    appendFileSync(join(folder, RUNS_LOG), `${job.id} ${job.attempt}\n`)
    yield* job.step("half", Effect.succeed(tag))
    yield* Effect.sleep(yield* Random.nextIntBetween(0, 5))
    if (job.attempt <= failures) return yield* Effect.fail({ _tag: "NotYet" as const })
    return tag
  }),
  { concurrency: 20 },
)

const tell = (acknowledgement: Acknowledgement) =>
  Effect.sync(() => void writeSync(3, `${JSON.stringify(acknowledgement)}\n`))

const choose = <A>(all: ReadonlyArray<A>) =>
  Effect.map(Random.nextIntBetween(0, all.length, { halfOpen: true }), (index) => all[index]!)

/** A job with a name of its own, or with a key and the name that belongs to it. */
const submission = Effect.fnUntraced(function* (name: string) {
  const key = (yield* Random.next) < 0.2 ? `key-${yield* Random.nextIntBetween(0, KEYS)}` : undefined
  const failures = key !== undefined || (yield* Random.next) < 0.9 ? 0 : 1
  const due = key === undefined && (yield* Random.next) < 0.1
  return {
    type: Work.type,
    // The same key with another payload would rightly be refused.
    payload: { tag: key ?? name, failures, batch: null as string | null, size: 0 },
    queue: key === undefined ? yield* choose(QUEUES) : QUEUES[0],
    priority: yield* choose(PRIORITIES),
    tags: [yield* choose(["red", "green"]), "crash"],
    idempotencyKey: key,
    dueAt: due ? (yield* Clock.currentTimeMillis) + HOUR_MS : undefined,
  } satisfies Submission
})

type Draft = Effect.Success<ReturnType<typeof submission>>

/** A job with a key may have been enqueued before, and not by this batch. */
const isPlain = ({ idempotencyKey }: Draft): boolean => idempotencyKey === undefined

const promise = (id: string, { idempotencyKey: key, payload: { tag } }: Draft) =>
  ({ id, tag, key }) satisfies Promised

const producer = Effect.fnUntraced(function* (fiber: number) {
  const queue = yield* Queue
  let own: string | undefined
  for (let turn = 0; ; turn++) {
    const name = `${seed}/${fiber}/${turn}`
    const kind = yield* Random.next
    if (kind < 0.7) {
      const job = yield* submission(name)
      const { id } = yield* queue.submit(job)
      own = id
      yield* tell({ jobs: [promise(id, job)] })
    } else if (kind < 0.9 || own === undefined) {
      const size = yield* Random.nextIntBetween(2, BATCH_MAX)
      const sameQueue = (yield* Random.next) < 0.5
      const drafts: Array<Draft> = []
      for (let i = 0; i < size; i++) drafts.push(yield* submission(`${name}.${i}`))
      const batch = { batch: name, size: drafts.filter(isPlain).length }
      const marked: Array<Draft> = []
      for (const draft of drafts) {
        const queueName = sameQueue ? QUEUES[1] : draft.queue
        marked.push(
          isPlain(draft) ? { ...draft, queue: queueName, payload: { ...draft.payload, ...batch } } : draft,
        )
      }
      const enqueued = yield* queue.submitBatch(marked)
      yield* tell({ jobs: enqueued.map(({ id }, i) => promise(id, marked[i]!)) })
    } else {
      const cancelled = own
      const done = yield* Effect.match(queue.cancel(cancelled), {
        onSuccess: () => true,
        // It has ended before.
        onFailure: () => false,
      })
      if (done) yield* tell({ jobs: [], cancelled })
    }
  }
})

const load = Effect.forEach(
  Array.from({ length: FIBERS }, (_, fiber) => fiber),
  (fiber) => Random.withSeed(producer(fiber), `${seed}/${fiber}`),
  { concurrency: "unbounded", discard: true },
)

/** Waits for every job that can run now. */
const drain = Effect.gen(function* () {
  const { reader } = yield* SqliteClient
  const queue = yield* Queue
  const waiting = reader
    .prepare(
      `SELECT e.stream FROM jobs j JOIN events e ON e.position = j.position
       WHERE j.status IN (0, 1) AND j.due_at < ?`,
    )
    .all((yield* Clock.currentTimeMillis) + HOUR_MS / 2)
  yield* Effect.forEach(waiting, (row) => queue.await(row["stream"] as string), {
    concurrency: 100,
    discard: true,
  })
})

const system = WorkLive.pipe(
  Layer.provideMerge(RenderOwl.layer({ database: { filename: join(folder, DATABASE) }, grace: 0 })),
)

const program: Effect.Effect<void, unknown, Queue | SqliteClient> = mode === "drain" ? drain : load

Effect.runFork(Effect.provide(program, system)).addObserver((exit) => {
  if (exit._tag === "Failure") console.error(Cause.pretty(exit.cause))
  process.exit(exit._tag === "Success" ? 0 : 1)
})
