/**
 * A disk that is really full, under a process that goes on: what does not fit is refused, what was acknowledged stays, and
 * when there is room again no restart and no repair is needed. How handlers and HTTP clients fare is the subject of
 * `DiskFull.test.ts` and `QueueFaults.test.ts`, which limit the database's pages instead.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { rmSync, statfsSync, symlinkSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { isFinished } from "../../src/jobs/JobState.ts"
import { JournalAudit } from "../crash/JournalAudit.ts"
import { Ledger } from "../crash/Ledger.ts"
import { live } from "../crash/Life.ts"
import { DATABASE, RUNS_LOG } from "../crash/LoadProtocol.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import { smallDisk, unmountable } from "./SmallDisk.ts"

/** Less than the log takes before it is first copied to the database. */
const SMALL_KIB = 3_000
const LARGE_KIB = 64_000
/** Refusals after which room is made. */
const REFUSALS = 100
/** Answers after that. */
const ACCEPTED_AFTER = 200
const KIBIBYTE = 1024
const FILLER = "filler"
/** For the note that says who owns the database, but for nothing after it. */
const ROOM_FOR_NOTE = 8 * KIBIBYTE

/** What handlers write down goes elsewhere: it is the test's, and no room of the system's. */
const diskOf = Effect.fnUntraced(function* (kibibytes: number) {
  const outside = yield* dataFolder
  const disk = yield* smallDisk(kibibytes)
  writeFileSync(join(outside, RUNS_LOG), "")
  symlinkSync(join(outside, RUNS_LOG), join(disk.folder, RUNS_LOG))
  return { ...disk, database: join(disk.folder, DATABASE) }
})

const freeBytes = (folder: string): number => {
  const { bavail, bsize } = statfsSync(folder)
  return bavail * bsize
}

/** Takes up all that is left but so many bytes. */
const fillUp = (folder: string, but: number) =>
  writeFileSync(join(folder, FILLER), Buffer.alloc(Math.max(0, freeBytes(folder) - but)))

const skipped = unmountable === undefined ? "" : ` (${unmountable})`

describe.skipIf(unmountable !== undefined)(`a small disk${skipped}`, () => {
  it.live(
    "refuses when it is full, and goes on without a restart when there is room",
    () =>
      Effect.gen(function* () {
        const { database, folder, resize } = yield* diskOf(SMALL_KIB)
        const ledger = new Ledger(folder)
        let refused = 0
        let accepted = 0
        const life = yield* live({
          folder,
          seed: "small",
          mode: "load",
          killAfter: ({ _tag }) => {
            if (_tag === "Refused" && ++refused === REFUSALS) {
              assert.isBelow(freeBytes(folder), 64 * KIBIBYTE)
              resize(LARGE_KIB)
            }
            return _tag === "Accepted" && refused >= REFUSALS && ++accepted === ACCEPTED_AFTER ? 0 : undefined
          },
        })
        assert.strictEqual(life.signal, "SIGKILL", life.stderr)
        const reasons = life.told.flatMap((line) => (line._tag === "Refused" ? [line.reason] : []))
        assert.deepStrictEqual([...new Set(reasons)], ["StoreFull"])
        for (const line of life.told) ledger.take(line)
        const audit = new JournalAudit(database)
        assert.deepStrictEqual(yield* audit.check, [])
        assert.deepStrictEqual(ledger.faults(audit), [])
        const next = yield* live({ folder, seed: "small", mode: "drain" })
        assert.strictEqual(next.code, 0, next.stderr)
        assert.deepStrictEqual(yield* audit.check, [])
        assert.deepStrictEqual(ledger.faults(audit), [])
        assert.deepStrictEqual(
          [...audit.jobs].filter(([, { state }]) => !isFinished(state)),
          [],
        )
      }).pipe(Effect.scoped),
    60_000,
  )

  it.live(
    "without any room ends a start with the reason; with hardly any, it starts and goes on when there is more",
    () =>
      Effect.gen(function* () {
        const { database, folder } = yield* diskOf(LARGE_KIB)
        const ledger = new Ledger(folder)
        let answers = 0
        const before = yield* live({
          folder,
          seed: "before",
          mode: "load",
          killAfter: ({ _tag }) => (_tag === "Accepted" && ++answers === 100 ? 0 : undefined),
        })
        for (const line of before.told) ledger.take(line)
        fillUp(folder, 0)
        const failing = yield* live({ folder, seed: "full", mode: "drain" })
        assert.strictEqual(failing.code, 1, failing.stderr)
        assert.match(failing.stderr, /ENOSPC: no space left on device/)
        rmSync(join(folder, FILLER))

        fillUp(folder, ROOM_FOR_NOTE)
        const next = yield* live({
          folder,
          seed: "next",
          mode: "drain",
          killAfter: ({ _tag }) => {
            if (_tag === "Ready") rmSync(join(folder, FILLER))
            return undefined
          },
        })
        assert.strictEqual(next.code, 0, next.stderr)
        const audit = new JournalAudit(database)
        assert.deepStrictEqual(yield* audit.check, [])
        assert.deepStrictEqual(ledger.faults(audit), [])
      }).pipe(Effect.scoped),
    60_000,
  )
})
