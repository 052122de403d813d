/**
 * Write-ahead logs that are torn: cut, zeroed, flipped, mixed up. What each image stands for, honestly:
 *
 * With `synchronous=FULL` a transaction is acknowledged after the `fsync` of its last frame, and a disk that keeps its word
 * never tears what it has synced. Power loss therefore damages only what lies behind the last acknowledged transaction:
 * any part of it may be missing, in any order. Damage before that point is a disk that lied, or bits that rotted, and no
 * database can give back what they took. What is asked of both is the same: of the history a dense prefix of whole
 * transactions is left, up to the damage and no less, the tables say what those events say, and the system goes on.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Random } from "effect"
import { execFileSync } from "node:child_process"
import { randomInt } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { Queue } from "../../src/jobs/Queue.ts"
import { Journal } from "../../src/journal/Journal.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { JournalAudit } from "../crash/JournalAudit.ts"
import { Ledger } from "../crash/Ledger.ts"
import { DATABASE, type Promised } from "../crash/LoadProtocol.ts"
import { asBatch, choose, type Draft, promise, submission, Work, workLive } from "../crash/Work.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import {
  cut,
  type Damage,
  type Frame,
  flipped,
  LogImage,
  saltedOtherwise,
  swapped,
  zeroed,
} from "./LogImage.ts"

const SEED = process.env["FAULT_SEED"] ?? String(randomInt(2 ** 31))

/** Submissions before the checkpoint, and after it: fewer, so that the old log shows behind the new one. */
const FIRST_SUBMISSIONS = 40
const LATER_SUBMISSIONS = 12
const BATCH_SIZE = 7
/** Damages of each kind, for each of the two logs. */
const SAMPLES = 3
const BITS = 8

interface Acknowledged {
  readonly jobs: ReadonlyArray<Promised>
  /** The end of the log at that moment; 0: it is in the database. */
  readonly end: number
  /** Events in the journal at that moment. */
  readonly head: number
}

/** A database as it lay on the disk at one moment. */
interface Image {
  readonly name: string
  readonly database: string
  readonly log: LogImage
  /** What was acknowledged, in order. */
  readonly promised: ReadonlyArray<Acknowledged>
  /** The whole journal, a line an event. */
  readonly events: ReadonlyArray<string>
}

const system = (folder: string) =>
  workLive(folder).pipe(
    Layer.provideMerge(RenderOwl.layer({ database: { filename: join(folder, DATABASE) }, grace: 0 })),
  )

/** Whether the journal's migration is there. */
const HAS_EVENTS = "SELECT 1 FROM sqlite_schema WHERE name = 'events'"

/** The events of a database that nobody has open. */
const eventsIn = (database: string): ReadonlyArray<string> => {
  const connection = new DatabaseSync(database, { readOnly: true })
  try {
    if (connection.prepare(HAS_EVENTS).get() === undefined) return []
    return connection
      .prepare("SELECT * FROM events ORDER BY position")
      .all()
      .map((row) => JSON.stringify(row))
  } finally {
    connection.close()
  }
}

/** A copy of the database without its log. By another process: closing it in this one would drop its locks. */
const copyDatabase = (database: string, to: string) => execFileSync("cp", [database, to])

/** Lives a while, and takes an image before anything was copied to the database and one after. */
const history = Effect.gen(function* () {
  const folder = yield* dataFolder
  const database = join(folder, DATABASE)
  const logNow = () => new LogImage(readFileSync(`${database}-wal`))
  const images: Array<Image> = []
  const takeImage = (name: string, promised: Image["promised"]) => {
    const copy = join(folder, `${name}.db`)
    copyDatabase(database, copy)
    const log = logNow()
    writeFileSync(`${copy}-wal`, log.bytes)
    images.push({ name, database: copy, log, promised, events: eventsIn(copy) })
  }
  yield* Effect.gen(function* () {
    const queue = yield* Queue
    const { writeLock, writer } = yield* SqliteClient
    const journal = yield* Journal
    // How many frames there are depends on which commits fell together; SQLite begins to copy after a thousand.
    writer.exec("PRAGMA wal_autocheckpoint=0")
    const acknowledged = (jobs: ReadonlyArray<Promised>) =>
      Effect.map(journal.head, (head): Acknowledged => ({ jobs, end: logNow().end, head }))
    const submit = Effect.fnUntraced(function* (name: string) {
      if ((yield* Random.next) < 0.7) {
        const draft = yield* submission(name)
        const { id } = yield* queue.submit(draft)
        return yield* acknowledged([promise(id, draft)])
      }
      const drafts: Array<Draft> = []
      for (let i = 0; i < BATCH_SIZE; i++) drafts.push(yield* submission(`${name}.${i}`))
      const batch = asBatch(name, drafts, undefined)
      const enqueued = yield* queue.submitBatch(batch)
      return yield* acknowledged(enqueued.map(({ id }, i) => promise(id, batch[i]!)))
    })
    const first: Array<Acknowledged> = []
    for (let i = 0; i < FIRST_SUBMISSIONS; i++) first.push(yield* submit(`first ${i}`))
    takeImage("first", first)

    yield* writeLock.withPermit(Effect.sync(() => writer.exec("PRAGMA wal_checkpoint(RESTART)")))
    const later = first.map(({ head, jobs }): Acknowledged => ({ jobs, head, end: 0 }))
    for (let i = 0; i < LATER_SUBMISSIONS; i++) later.push(yield* submit(`later ${i}`))
    takeImage("later", later)
  }).pipe(Random.withSeed(SEED), Effect.provide(system(folder)))
  return images
})

/** A sample of everything that can become of a log. */
const damages = Effect.fnUntraced(function* ({ bytes, end, frames }: LogImage) {
  const all: Array<Damage> = [
    cut(bytes.length),
    // What is behind the last frame is not part of the log.
    cut(end),
    zeroed(end),
    cut(0),
    cut(31),
    flipped(yield* within(0, 31), 3),
  ]
  const commits = frames.filter(({ isCommit }) => isCommit)
  const inner = frames.filter(({ isCommit }) => !isCommit)
  const tail = frames.slice(-frames.length / 4)
  for (let i = 0; i < SAMPLES; i++) {
    const commit = yield* choose(commits)
    const torn = yield* choose(inner)
    const rotten = yield* choose(tail)
    const lost = yield* choose(frames)
    const last = frames.at(-1 - i)!
    all.push(
      cut(commit.end),
      cut(torn.end),
      cut(yield* within(torn.start + 1, torn.start + 23)),
      cut(yield* within(torn.start + 24, torn.end - 1)),
      cut(yield* within(last.start, last.end - 1)),
      zeroed(commit.end),
      zeroed(yield* within(torn.start, torn.end - 1)),
      // A block that was not written, although later ones were.
      zeroed(lost.start, lost.end),
      flipped(yield* within(rotten.start, rotten.end - 1), yield* within(0, BITS - 1)),
      flipped(yield* within(last.start, last.start + 23), yield* within(0, BITS - 1)),
      saltedOtherwise(yield* choose(frames)),
      swapped(torn, yield* choose(frames.filter(({ start }) => start > torn.start) as [Frame, ...Frame[]])),
    )
  }
  return all
})

const within = (from: number, to: number) => Random.nextIntBetween(from, to)

describe("a write-ahead log that is torn", () => {
  it.live(
    `leaves whole transactions up to the tear, and the system goes on (FAULT_SEED=${SEED})`,
    () =>
      Effect.gen(function* () {
        const images = yield* history
        const [first, later] = images
        assert.isFalse(first!.log.hasStaleTail)
        assert.isTrue(later!.log.hasStaleTail)
        for (const { database, events, log, name, promised } of images) {
          for (const damage of yield* Random.withSeed(damages(log), `${SEED}/${name}`)) {
            const where = `${name} log of ${log.frames.length} frames, ${damage.name}`
            yield* Effect.gen(function* () {
              // Given the database with such a log
              const folder = yield* dataFolder
              const image = join(folder, DATABASE)
              const damaged = damage.of(log.bytes)
              copyDatabase(database, image)
              writeFileSync(`${image}-wal`, damaged)
              const survivingEnd = log.survivingEnd(damaged)
              const ledger = new Ledger(folder)
              const kept = promised.filter(({ end }) => end <= survivingEnd)
              for (const { jobs } of kept) ledger.take({ _tag: "Accepted", jobs })
              const missing = promised.find(({ end }) => end > survivingEnd)

              // Then it holds the beginning of the history, as far as the tear, and not one event of what is behind it
              const look = join(folder, "look.db")
              copyDatabase(database, look)
              writeFileSync(`${look}-wal`, damaged)
              const left = eventsIn(look)
              assert.deepStrictEqual(left, events.slice(0, left.length), where)
              assert.isAtLeast(left.length, kept.at(-1)?.head ?? 0, where)
              assert.isBelow(left.length, missing?.head ?? events.length + 1, where)

              // When the system runs on it, with a job more
              const { id } = yield* Effect.gen(function* () {
                const queue = yield* Queue
                const enqueued = yield* Queue.enqueue(Work, {
                  tag: "more",
                  steps: 1,
                  ms: 0,
                  failures: 0,
                  fatal: false,
                  batch: null,
                })
                yield* queue.await(enqueued.id)
                return enqueued
              }).pipe(Effect.provide(system(folder)))

              // Then nothing of that is lost, and it goes on from there
              const audit = new JournalAudit(image)
              assert.deepStrictEqual(yield* audit.check, [], where)
              assert.deepStrictEqual(ledger.faults(audit), [], where)
              assert.strictEqual(audit.jobs.get(id)?.state.status, "completed", where)
              assert.deepStrictEqual(eventsIn(image).slice(0, left.length), left, where)
            }).pipe(Effect.scoped)
          }
        }
      }).pipe(Effect.scoped),
    120_000,
  )
})
