/**
 * A program that submits, commands and runs jobs until it is killed, and tells what it was answered. A refusal of the
 * store does not end it: it says so and goes on.
 *
 * Arguments: folder, seed, {@link Mode}, and the store's durability. It speaks on file descriptor 3, as `LoadProtocol.ts`
 * says.
 */
import { Cause, Clock, Effect, Layer, Random, Schedule, Stream } from "effect"
import { writeSync } from "node:fs"
import { join } from "node:path"
import { isJobEvent, PRIORITIES } from "../../src/jobs/JobEvents.ts"
import { type CommandError, type GovernError, Queue } from "../../src/jobs/Queue.ts"
import { type QueueLimits, streamOfQueue } from "../../src/jobs/QueueBehavior.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import type { Synchronous } from "../../src/sqlite/SqliteDatabase.ts"
import { DATABASE, ENDS, type Mode, type Told } from "./LoadProtocol.ts"
import { after, asBatch, choose, type Draft, isPlain, promise, QUEUES, submission, workLive } from "./Work.ts"

const FIBERS = 32
/** The queue that is paused, resumed and limited. */
const GOVERNED = QUEUES[2]
const BATCH_MAX = 20
/** Jobs that a producer remembers, to command them later. */
const OWN_MAX = 8
/** After a refusal, as a client would. */
const PAUSE_MS = 20
const CHECKPOINT_INTERVAL_MS = 15
/** Pages in the write-ahead log from which on a commit copies them to the database: few, so that this happens often. */
const AUTOCHECKPOINT_PAGES = 50
const HOUR_MS = 3_600_000

const [folder, seed, mode, synchronous] = process.argv.slice(2) as [string, string, Mode, Synchronous]

const tell = (told: Told) => Effect.sync(() => void writeSync(3, `${JSON.stringify(told)}\n`))

interface Refusal {
  readonly _tag: string
  readonly reason?: { readonly _tag: string }
}

/** What a command may be refused for although the store is well: the job has moved on, or is not there. */
const ORDINARY = new Set(["JobConflict", "JobNotFound", "QueueNotFound"])

/** Does one thing and tells its answer; a refusal is told and costs a pause. */
const ask = <A, E extends Refusal, R>(
  what: string,
  effect: Effect.Effect<A, E, R>,
  answered: (answer: A) => Effect.Effect<void, E, R>,
) =>
  Effect.flatMap(effect, answered).pipe(
    Effect.catch((error: E) => {
      if (ORDINARY.has(error._tag)) return Effect.void
      return tell({ _tag: "Refused", what, reason: error.reason?._tag ?? error._tag }).pipe(
        Effect.andThen(Effect.sleep(PAUSE_MS)),
      )
    }),
  )

const producer = Effect.fnUntraced(function* (fiber: number) {
  const queue = yield* Queue
  const own: Array<string> = []
  const remember = (id: string) => {
    own.push(id)
    if (own.length > OWN_MAX) own.shift()
  }
  const submit = (job: Draft) =>
    ask(job.payload.tag, queue.submit(job), ({ id }) => {
      remember(id)
      return tell({ _tag: "Accepted", jobs: [promise(id, job)] })
    })
  /** One in a few waits for an older job. */
  const submitOne = Effect.fnUntraced(function* (name: string) {
    const draft = yield* submission(name)
    const waits = isPlain(draft) && own.length > 0 && (yield* Random.next) < 0.1
    yield* submit(waits ? yield* after(draft, yield* choose(own)) : draft)
  })
  const submitBatch = Effect.fnUntraced(function* (name: string) {
    const size = yield* Random.nextIntBetween(2, BATCH_MAX)
    const drafts: Array<Draft> = []
    const isChain = (yield* Random.next) < 0.2
    for (let i = 0; i < size; i++) {
      const draft: Draft = { ...(yield* submission(`${name}.${i}`)), ref: String(i) }
      const waits = isChain && i > 0 && isPlain(draft)
      drafts.push(waits ? yield* after(draft, String(i - 1)) : draft)
    }
    const batch = asBatch(name, drafts, (yield* Random.next) < 0.5 ? QUEUES[1] : undefined)
    yield* ask(name, queue.submitBatch(batch), (enqueued) => {
      remember(enqueued[0]!.id)
      return tell({ _tag: "Accepted", jobs: enqueued.map(({ id }, i) => promise(id, batch[i]!)) })
    })
  })
  const govern = Effect.fnUntraced(function* (name: string) {
    const queue = yield* Queue
    const stream = streamOfQueue(GOVERNED)
    const governed = (event: string, data: object) =>
      tell({ _tag: "Governed", fact: `${stream} ${event} ${JSON.stringify(data)}` })
    const kind = yield* Random.next
    if (kind < 0.3) return yield* ask(name, queue.pause(GOVERNED), () => governed("QueuePaused", {}))
    if (kind < 0.7) return yield* ask(name, queue.resume(GOVERNED), () => Effect.void)
    const limits: QueueLimits = {
      concurrency: yield* choose([1, 5, null]),
      // One is what a queue begins with: that would be no change, and no event.
      key_concurrency: yield* choose([2, 3]),
      rate_limit: yield* choose([null, { starts: 20, per_ms: 50 }]),
    }
    yield* ask(name, queue.limit(GOVERNED, limits), () => governed("QueueLimitsChanged", limits))
  })
  for (let turn = 0; ; turn++) {
    const name = `${seed}/${fiber}/${turn}`
    const kind = yield* Random.next
    if (kind < 0.55 || own.length === 0) yield* submitOne(name)
    else if (kind < 0.74) yield* submitBatch(name)
    else if (kind < 0.75) yield* govern(name)
    else {
      const id = yield* choose(own)
      const priority = yield* choose(PRIORITIES)
      // Some at once, some later than the test: whole milliseconds, as the journal keeps them.
      const dueAt = (yield* Clock.currentTimeMillis) + ((yield* Random.next) < 0.7 ? 5 : HOUR_MS)
      const seen = Effect.flatMap(queue.get(id), ({ version }) => tell({ _tag: "Seen", id, version }))
      if (kind < 0.81) yield* ask(name, queue.cancel(id), () => tell({ _tag: "Cancelled", id }))
      else if (kind < 0.87)
        yield* ask(name, queue.reschedule(id, dueAt), () => tell({ _tag: "Rescheduled", id, dueAt }))
      else if (kind < 0.93)
        yield* ask(name, queue.prioritize(id, priority), () => tell({ _tag: "Reprioritized", id, priority }))
      else yield* ask(name, queue.retry(id), () => seen)
    }
  }
})

/** Tells how jobs end, as somebody sees it who follows the journal. */
const follower = Effect.gen(function* () {
  const journal = yield* Journal
  let after = yield* journal.head
  yield* Effect.suspend(
    () =>
      Stream.runForEach(
        journal.subscribe({ afterPosition: after }),
        ({ event, position, stream, version }) => {
          after = position
          const end = isJobEvent(event) ? ENDS.find((tag) => tag === event._tag) : undefined
          return end === undefined ? Effect.void : tell({ _tag: "Ended", id: stream, version, event: end })
        },
      ),
    // A disk that cannot be read now may be read later.
  ).pipe(Effect.retry(Schedule.spaced(PAUSE_MS)))
})

/** Copies the write-ahead log into the database again and again, in every way that SQLite has. */
const checkpointer = Effect.gen(function* () {
  const { writeLock, writer } = yield* SqliteClient
  writer.exec(`PRAGMA wal_autocheckpoint = ${AUTOCHECKPOINT_PAGES}`)
  const checkpoint = Effect.fnUntraced(function* () {
    yield* Effect.sleep(CHECKPOINT_INTERVAL_MS)
    const how = yield* choose(["PASSIVE", "FULL", "RESTART", "TRUNCATE"])
    yield* tell({ _tag: "Checkpoint" }).pipe(
      Effect.andThen(Effect.try(() => writer.exec(`PRAGMA wal_checkpoint(${how})`))),
      writeLock.withPermit,
      Effect.catch(() => tell({ _tag: "Refused", what: `checkpoint ${how}`, reason: "StoreFailed" })),
    )
  })
  yield* Effect.forever(Effect.suspend(checkpoint))
})

const load = Effect.gen(function* () {
  yield* tell({ _tag: "Ready" })
  yield* Effect.forkScoped(follower)
  if (mode === "checkpoint") yield* Effect.forkScoped(Random.withSeed(checkpointer, seed))
  yield* Effect.forEach(
    Array.from({ length: FIBERS }, (_, fiber) => fiber),
    (fiber) => Random.withSeed(producer(fiber), `${seed}/${fiber}`),
    { concurrency: "unbounded", discard: true },
  )
})

/** Until there is room: the disk may be full at first, and a command that was refused then was not heard. */
const insist = <A, R>(command: Effect.Effect<A, GovernError | CommandError, R>) =>
  command.pipe(
    Effect.retry({
      schedule: Schedule.spaced(PAUSE_MS),
      while: (error) => error._tag === "JournalError" && error.reason._tag === "StoreFull",
    }),
    Effect.ignore,
  )

/** Has every job that has not ended run as soon as it can, and waits until all have ended. */
const drain = Effect.gen(function* () {
  const { reader } = yield* SqliteClient
  const queue = yield* Queue
  const open = reader
    .prepare("SELECT id FROM job_overview WHERE status NOT IN ('completed', 'dead_letter', 'cancelled')")
    .all()
  yield* tell({ _tag: "Ready" })
  yield* insist(queue.resume(GOVERNED))
  const now = yield* Clock.currentTimeMillis
  yield* Effect.forEach(
    open,
    (row) => {
      const id = String(row["id"])
      return Effect.andThen(insist(queue.reschedule(id, now)), queue.await(id))
    },
    { concurrency: "unbounded", discard: true },
  )
})

const system = workLive(folder).pipe(
  Layer.provideMerge(
    RenderOwl.layer({ database: { filename: join(folder, DATABASE), synchronous }, grace: 0 }),
  ),
)

const program = Effect.gen(function* () {
  yield* tell({ _tag: "Opening" })
  yield* Effect.provide(mode === "drain" ? drain : Effect.scoped(load), system)
})

Effect.runFork(program).addObserver((exit) => {
  if (exit._tag === "Failure") console.error(Cause.pretty(exit.cause))
  process.exit(exit._tag === "Success" ? 0 : 1)
})
