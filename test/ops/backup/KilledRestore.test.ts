import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import { Journal } from "../../../src/journal/Journal.ts"
import { archiveBeside } from "../../../src/journal/SqliteJournal.ts"
import { takeBackup } from "../../../src/ops/backup/Backup.ts"
import { RESTORING } from "../../../src/ops/backup/DraftNames.ts"
import { verify } from "../../../src/ops/Verify.ts"
import { type Call, injecting, missing } from "../../faults/Strace.ts"
import { dataFolder, run } from "../../support/ServerProcess.ts"
import { archiveJob, journalAt, model, START, withDatabase, writeSample } from "../SampleJournal.ts"

const skipped = missing === undefined ? "" : ` (${missing})`

/** A backup, and the database that it is of, which has gone on since and has more in its archive. */
const gone = Effect.gen(function* () {
  const dataDir = yield* dataFolder
  const filename = join(dataDir, "queue.db")
  const archive = archiveBeside(filename)
  const backup = join(dataDir, "backup")
  yield* writeSample(filename)
  yield* archiveJob(filename)
  yield* Effect.scoped(takeBackup({ filename, archive, folder: backup, model }))
  yield* Effect.flatMap(Journal, (journal) =>
    journal.append([{ stream: "queue/late", expectedVersion: 0, events: [{ _tag: "QueuePaused" }] }], START),
  ).pipe(Effect.provide(journalAt(filename)))
  return { dataDir, filename, archive, backup }
})

const headOf = (filename: string) =>
  withDatabase(filename, (db) =>
    Number(db.prepare("SELECT max(position) AS head FROM events").get()!["head"]),
  )

/** Where the restore ends, and whether the database is the new one by then. */
const PLACES: ReadonlyArray<readonly [Call, "database" | "archive", "old" | "new"]> = [
  ["link", "database", "old"],
  ["rename", "database", "old"],
  ["link", "archive", "new"],
  ["rename", "archive", "new"],
]

describe.skipIf(missing !== undefined)(`a restore that is killed${skipped}`, () => {
  it.live.each(PLACES)(
    "at the %s of the %s leaves the whole %s database, and is finished by the next one",
    ([call, file, left]) =>
      Effect.gen(function* () {
        const { archive, backup, dataDir, filename } = yield* gone
        const env = { ARCHIVE_PATH: archive }
        const target = file === "database" ? filename : archive
        const [old, backedUp] = [headOf(filename), headOf(join(backup, "queue.db"))]
        const faults = Effect.map(verify({ filename, archive, model }), ({ faults }) => faults)
        const killed = yield* run(["db", "restore", backup], {
          dataDir,
          env,
          under: injecting(join(dataDir, "strace.log"), {
            call,
            by: { signal: "SIGKILL" },
            when: "1",
            // What the call names first.
            files: [call === "rename" ? target + RESTORING : target],
          }),
        })
        assert.strictEqual(killed.signal, "SIGKILL", killed.stderr)
        assert.strictEqual(headOf(filename), left === "old" ? old : backedUp)
        assert.deepStrictEqual(yield* faults, [])

        const finished = yield* run(["db", "restore", backup], { dataDir, env })
        assert.strictEqual(finished.code, 0, finished.stderr)
        assert.strictEqual(headOf(filename), backedUp)
        assert.deepStrictEqual(yield* faults, [])
      }).pipe(Effect.scoped),
    60_000,
  )
})
