import { assert, describe, it } from "@effect/vitest"
import { Cause, Effect, Exit, Fiber } from "effect"
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs"
import { basename, join } from "node:path"
import { JournalArchive } from "../../../src/journal/Archiving.ts"
import type { DomainEvent } from "../../../src/journal/DomainEvent.ts"
import { Journal } from "../../../src/journal/Journal.ts"
import { archiveBeside } from "../../../src/journal/SqliteJournal.ts"
import { type BackupOptions, takeBackup } from "../../../src/ops/backup/Backup.ts"
import { type RestoreOptions, restoreBackup } from "../../../src/ops/backup/Restore.ts"
import { Ownership } from "../../../src/sqlite/Ownership.ts"
import { SqliteClient } from "../../../src/sqlite/SqliteClient.ts"
import { enqueued } from "../../jobs/JobHistories.ts"
import { verify } from "../../../src/ops/Verify.ts"
import { temporaryFolder } from "../../sqlite/TemporaryFolder.ts"
import {
  archiveJob,
  damage,
  JOB,
  journalAt,
  faultsOf,
  model,
  START,
  withDatabase,
  writeSample,
} from "../SampleJournal.ts"

const READ_TO_THE_END = "UPDATE projection_checkpoints SET position = (SELECT max(position) FROM events)"

/** Another job of the sample, of one event, for which nobody waits. */
const SECOND_JOB = "job_01k8w3e5r7fm2vx9q4ztd6yhb3"

/** A database with the sample in it, in a folder with room for backups. */
const sample = Effect.gen(function* () {
  const folder = yield* temporaryFolder
  const filename = join(folder, "sample.db")
  yield* writeSample(filename)
  return { folder, filename, backup: join(folder, "backups", "first") }
})

const backUp = (filename: string, folder: string, options: Partial<BackupOptions> = {}) =>
  takeBackup({ filename, archive: archiveBeside(filename), folder, model, ...options }).pipe(Effect.scoped)

const restore = (folder: string, filename: string, options: Partial<RestoreOptions> = {}) =>
  restoreBackup({
    folder,
    filename,
    archive: archiveBeside(filename),
    cache: `${filename}.cache`,
    model,
    ...options,
  }).pipe(Effect.scoped)

const eventsOf = (filename: string) =>
  withDatabase(filename, (db) => db.prepare("SELECT * FROM events ORDER BY position").all())

const complete = (stream: string, at: number) =>
  Effect.flatMap(Journal, (journal) =>
    journal.append(
      [
        {
          stream,
          expectedVersion: 1,
          events: [
            { _tag: "JobStarted", attempt: 1, worker: "w" } as never,
            { _tag: "JobCompleted", attempt: 1, result: null } as never,
          ],
        },
      ],
      at,
    ),
  )

describe("a backup", () => {
  it.effect("is restored to another place with every event, also those of the archive", () =>
    Effect.gen(function* () {
      const { backup, filename, folder } = yield* sample
      const before = eventsOf(filename)
      yield* archiveJob(filename)
      const taken = yield* backUp(filename, backup)
      assert.deepStrictEqual(readdirSync(backup).sort(), ["archive.db", "manifest.json", "queue.db"])
      assert.deepInclude(taken.manifest, { head: before.length, archived: { streams: 1, events: 5 } })

      const elsewhere = join(folder, "elsewhere", "queue.db")
      const restored = yield* restore(backup, elsewhere)
      assert.deepStrictEqual(restored.setAside, [])
      assert.deepStrictEqual(eventsOf(elsewhere), eventsOf(filename))
      assert.deepStrictEqual(yield* faultsOf(elsewhere), [])
      const archived = yield* Effect.provide(
        Effect.flatMap(Journal, (journal) => journal.readStream(JOB)),
        journalAt(elsewhere),
      )
      assert.strictEqual(archived.length, 5)
    }).pipe(Effect.scoped),
  )

  it.effect("shows the moment of its begin, whatever is written and archived while it is taken", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      yield* Effect.gen(function* () {
        const journal = yield* Journal
        const archive = yield* JournalArchive
        const { writer } = yield* SqliteClient
        // Several thousand pages that are copied one hundred at a time.
        const filler = enqueued({ payload: "x".repeat(100_000) })
        for (let n = 10; n < 60; n++)
          yield* journal.append(
            [{ stream: `job_01k8w3e5r7fm2vx9q4ztd6yh${n}`, expectedVersion: 0, events: [filler] }],
            START,
          )
        yield* archive.move([{ stream: JOB, version: 5 }])
        const head = yield* journal.head

        let steps = 0
        const late: DomainEvent = { _tag: "QueuePaused" }
        const changes: ReadonlyArray<Effect.Effect<unknown, unknown, Journal>> = [
          complete(SECOND_JOB, START),
          // No stream leaves before the async projections have read it.
          Effect.sync(() => writer.exec(READ_TO_THE_END)),
          archive.move([{ stream: SECOND_JOB, version: 3 }]),
          journal.append([{ stream: "queue/late", expectedVersion: 0, events: [late] }], START),
        ]
        const { manifest } = yield* backUp(filename, backup, {
          pagesTogether: 100,
          onProgress: ({ task }) => {
            if (!task.startsWith("copying pages of the database")) return
            const next = changes[steps++]
            if (next !== undefined) Effect.runFork(Effect.provideService(next, Journal, journal))
          },
        })
        assert.isAbove(steps, changes.length)
        assert.strictEqual(manifest.head, head)
        assert.isAbove(yield* journal.head, head)
        assert.deepInclude(yield* archive.totals, { streams: 2 })
      }).pipe(Effect.provide(journalAt(filename)))

      const copy = join(backup, "queue.db")
      const stored = withDatabase(copy, (db) =>
        db.prepare("SELECT count(*) AS events FROM events WHERE stream = ?").get(SECOND_JOB),
      )
      assert.deepEqual({ ...stored }, { events: 1 })
      assert.deepStrictEqual(
        (yield* verify({ filename: copy, archive: join(backup, "archive.db"), model })).faults,
        [],
      )
    }).pipe(Effect.scoped),
  )

  it.effect("of a database that is not what its journal says is refused, and nothing is left of it", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      damage(filename, "DELETE FROM job_tags")
      const refusal = yield* Effect.flip(backUp(filename, backup))
      assert.strictEqual(refusal._tag, "CopyFaulty")
      assert.match(refusal.message, /job_tags: lacks tag/)
      assert.deepStrictEqual(readdirSync(join(backup, "..")), [])

      const { manifest } = yield* backUp(filename, backup, { unproven: true })
      assert.strictEqual(manifest.proof, "none")
      yield* restore(backup, `${filename}.again`)
    }).pipe(Effect.scoped),
  )

  it.effect("that is stopped, while it copies or while it proves, leaves nothing", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      for (const stage of [/^copying/, /^folding/]) {
        let stop = () => {}
        const taking = yield* Effect.forkChild(
          backUp(filename, backup, {
            pagesTogether: 1,
            onProgress: ({ task }) => {
              if (stage.test(task)) stop()
            },
          }),
        )
        stop = () => taking.interruptUnsafe()
        const exit = yield* Fiber.await(taking)
        assert.isTrue(Exit.isFailure(exit) && Cause.hasInterruptsOnly(exit.cause), String(stage))
        assert.deepStrictEqual(readdirSync(join(backup, "..")), [])
      }
    }).pipe(Effect.scoped),
  )

  it.effect("overwrites nothing, needs a database, and needs the archive that the journal has given to", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      mkdirSync(backup, { recursive: true })
      assert.strictEqual((yield* Effect.flip(backUp(filename, backup)))._tag, "BackupExists")
      const other = `${backup}-2`
      assert.strictEqual((yield* Effect.flip(backUp(`${filename}.no`, other)))._tag, "NoDatabase")
      yield* archiveJob(filename)
      rmSync(archiveBeside(filename))
      const refusal = yield* Effect.flip(backUp(filename, other))
      assert.match(
        refusal.message,
        /archive .* cannot be used: the file with 1 archived streams is not there/,
      )
      assert.deepStrictEqual(readdirSync(join(backup, "..")), [basename(backup)])
    }).pipe(Effect.scoped),
  )
})

describe("a restore", () => {
  it.effect("keeps the files that were there, with everything in them, and drops cached answers", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      yield* backUp(filename, backup)
      yield* archiveJob(filename)
      writeFileSync(`${filename}.cache`, "of the other database")
      chmodSync(filename, 0o640)
      const [events, archive] = [eventsOf(filename), readFileSync(archiveBeside(filename))]

      const { setAside } = yield* restore(backup, filename)
      assert.strictEqual(setAside.length, 2)
      const [database, archiveAside] = setAside
      assert.deepStrictEqual(eventsOf(database!), events)
      assert.isTrue(archive.equals(readFileSync(archiveAside!)))
      assert.isFalse(existsSync(archiveBeside(filename)))
      assert.strictEqual(statSync(filename).mode & 0o777, 0o640)
      assert.isFalse(existsSync(`${filename}.cache`))
      assert.isAbove(eventsOf(filename).length, events.length)
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("is refused while somebody owns the database, and changes nothing when it is only tried", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      yield* backUp(filename, backup)
      damage(filename, "DELETE FROM job_tags")
      const before = readFileSync(filename)
      yield* Effect.scoped(
        Effect.gen(function* () {
          yield* Ownership.acquire(filename)
          const refusal = yield* Effect.flip(restore(backup, filename))
          assert.match(refusal.message, new RegExp(`in use by process ${process.pid}`))
          assert.strictEqual(
            (yield* Effect.flip(restore(backup, filename, { dryRun: true })))._tag,
            "DatabaseOwned",
          )
        }),
      )
      assert.deepStrictEqual((yield* restore(backup, filename, { dryRun: true })).setAside, [])
      assert.isTrue(before.equals(readFileSync(filename)))
      const nowhere = join(backup, "..", "nowhere", "queue.db")
      yield* restore(backup, nowhere, { dryRun: true })
      assert.isFalse(existsSync(join(nowhere, "..")))
    }).pipe(Effect.scoped),
  )

  it.effect("takes the place of a database that cannot even be opened, and its log goes with it", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      yield* backUp(filename, backup)
      writeFileSync(filename, "this is no database")
      writeFileSync(`${filename}-wal`, "and this is no log")
      const { setAside } = yield* restore(backup, filename)
      assert.deepStrictEqual(
        setAside.map((path) => readFileSync(path, "utf8")),
        ["this is no database", "and this is no log"],
      )
      assert.deepStrictEqual(yield* faultsOf(filename), [])
    }).pipe(Effect.scoped),
  )

  it.effect("of a backup that was damaged, is incomplete, or is of a later release, is refused", () =>
    Effect.gen(function* () {
      const { backup, filename } = yield* sample
      yield* archiveJob(filename)
      yield* backUp(filename, backup)
      const before = readFileSync(filename)
      const refusal = Effect.map(Effect.flip(restore(backup, filename)), ({ message }) => message)

      for (const file of ["queue.db", "archive.db"]) {
        const path = join(backup, file)
        const bytes = readFileSync(path)
        flip(path, bytes.length - 100)
        assert.match(
          yield* refusal,
          new RegExp(`damaged, and nothing was restored: .*${file} is not what was written`),
        )
        writeFileSync(path, bytes.subarray(1))
        assert.match(
          yield* refusal,
          new RegExp(`${file} has ${bytes.length - 1} bytes instead of ${bytes.length}`),
        )
        writeFileSync(path, bytes)
      }

      const manifest = join(backup, "manifest.json")
      const text = readFileSync(manifest, "utf8")
      writeFileSync(manifest, text.replace('"format": 1', '"format": 2'))
      assert.match(yield* refusal, /it has the format 2, and this release reads 1/)
      writeFileSync(manifest, "{}")
      assert.match(yield* refusal, /its manifest.json is not understood/)
      rmSync(manifest)
      assert.match(yield* refusal, /is not a backup: it has no manifest.json/)
      assert.isTrue(before.equals(readFileSync(filename)))

      damage(filename, "INSERT INTO schema_migrations VALUES (99, 'later', 'x', 0, 0)")
      const later = `${backup}-later`
      assert.strictEqual((yield* backUp(filename, later)).manifest.proof, "file")
      const tooNew = yield* Effect.flip(restore(later, filename))
      assert.match(tooNew.message, /does not know its migration 0099_later.sql/)
    }).pipe(Effect.scoped),
  )
})

const flip = (path: string, place: number): void => {
  const file = openSync(path, "r+")
  try {
    writeSync(file, Buffer.from([0x5a]), 0, 1, place)
  } finally {
    closeSync(file)
  }
}
