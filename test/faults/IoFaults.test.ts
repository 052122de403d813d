/**
 * A disk that fails under a running process, by real errors of its system calls. Whoever asks meanwhile is refused with a
 * typed error, never answered falsely; what was acknowledged is there afterwards, what was not is there whole or not at all,
 * and neither the process nor the next one needs help.
 *
 * Two limits of the method. SQLite reads much of the database through mapped memory, where a failing disk is a SIGBUS
 * and no error of a call. And a call that is made to fail does nothing at all, while a real `fsync` may have written some
 * of what it failed on: that is what `TornLog.test.ts` is for.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { join } from "node:path"
import { isFinished } from "../../src/jobs/JobState.ts"
import { JournalAudit } from "../crash/JournalAudit.ts"
import { Ledger } from "../crash/Ledger.ts"
import { live, type Life } from "../crash/Life.ts"
import { DATABASE, type Mode, type Told } from "../crash/LoadProtocol.ts"
import type { WorkPayload } from "../crash/Work.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import { type Call, injected, injecting, missing } from "./Strace.ts"

/** Answers after a fault that show that the process goes on. */
const ACCEPTED_AFTER = 100
/** Answers of a life that does not meet its fault: checkpoints come by the clock, and not with each commit. */
const ACCEPTED_MAX = 20_000
/** Answers between two looks at what was injected. */
const LOOK_EVERY = 25
/** Refusals that show that it does not end. */
const REFUSED = 150

interface Fault {
  readonly name: string
  readonly call: Call
  readonly file: "wal" | "database"
  readonly error: "EIO" | "ENOSPC"
  /** Of the calls on the file; the first few belong to the start. */
  readonly from: number
  /** Calls that fail; absent: all from there on. */
  readonly calls?: number
  readonly mode?: Mode
  /** Refusals after which it is killed, where all calls fail; else enough to show that it does not end by itself. */
  readonly refusals?: number
  /** What whoever submits is told. Absent: nobody is refused, for the journal can do without. */
  readonly reason?: "StoreFull" | "StoreFailed"
}

const FAULTS: ReadonlyArray<Fault> = [
  // A group of appends is tried once more, each by itself, so that a single failure may pass unnoticed.
  { name: "one fsync", call: "fsync", file: "wal", error: "EIO", from: 30, calls: 1, reason: "StoreFailed" },
  {
    name: "some fsyncs",
    call: "fsync",
    file: "wal",
    error: "EIO",
    from: 31,
    calls: 5,
    reason: "StoreFailed",
  },
  { name: "every fsync", call: "fsync", file: "wal", error: "EIO", from: 30, reason: "StoreFailed" },
  {
    name: "every fsync, until the first refusal",
    call: "fsync",
    file: "wal",
    error: "EIO",
    from: 32,
    refusals: 1,
    reason: "StoreFailed",
  },
  {
    name: "writes for want of space",
    call: "pwrite64",
    file: "wal",
    error: "ENOSPC",
    from: 1_001,
    calls: 60,
    reason: "StoreFull",
  },
  { name: "every write", call: "pwrite64", file: "wal", error: "EIO", from: 1_004, reason: "StoreFailed" },
  { name: "reads", call: "pread64", file: "wal", error: "EIO", from: 500, calls: 60, reason: "StoreFailed" },
  {
    name: "every write of a checkpoint",
    call: "pwrite64",
    file: "database",
    error: "EIO",
    from: 60,
    mode: "checkpoint",
  },
  {
    name: "a few fsyncs of checkpoints",
    call: "fsync",
    file: "database",
    error: "EIO",
    from: 4,
    // Some are of SQLite's own checkpoints after a commit, of which nobody hears.
    calls: 12,
    mode: "checkpoint",
  },
  {
    name: "cutting back the log",
    call: "ftruncate",
    file: "wal",
    error: "EIO",
    from: 2,
    calls: 3,
    mode: "checkpoint",
  },
]

const isRefusal = (line: Told): line is Extract<Told, { _tag: "Refused" }> => line._tag === "Refused"
const isAnswer = (line: Told): line is Extract<Told, { _tag: "Accepted" }> => line._tag === "Accepted"
const ofCheckpoint = ({ what }: { readonly what: string }) => what.startsWith("checkpoint")

/** Ends a life once it has shown how it takes the fault; `log` is what `strace` writes. */
const whenSeen = ({ calls, reason, refusals = REFUSED }: Fault, log: string) => {
  const isPermanent = reason !== undefined && calls === undefined
  let refused = 0
  let accepted = 0
  /** Known once all calls have failed that should, and somebody has noticed where anybody must. */
  let last: number | undefined
  return (line: Told): number | undefined => {
    if (isRefusal(line)) refused++
    if (isPermanent) return refused === refusals ? 0 : undefined
    if (!isAnswer(line)) return undefined
    accepted++
    const isNoticed = refused > 0 || calls === 1
    if (last === undefined && isNoticed && accepted % LOOK_EVERY === 0 && injected(log) >= (calls ?? 1))
      last = accepted + ACCEPTED_AFTER
    return accepted >= (last ?? ACCEPTED_MAX) ? 0 : undefined
  }
}

/** Submissions that are in the journal although they were refused: single jobs by their tag, batches by their name. */
const storedRefusals = ({ told }: Life, { jobs }: JournalAudit): ReadonlyArray<string> => {
  const stored = new Set<string>()
  for (const { state } of jobs.values()) {
    const { batch, tag } = state.payload as WorkPayload
    stored.add(batch?.name ?? tag)
  }
  // What has a key is submitted again and again, by that name.
  return told
    .filter(isRefusal)
    .flatMap(({ what }) => (!what.startsWith("key-") && stored.has(what) ? [what] : []))
}

describe.skipIf(missing !== undefined)(
  `a disk that fails${missing === undefined ? "" : ` (${missing})`}`,
  () => {
    for (const fault of FAULTS) {
      const { call, calls, error, file, from, mode = "load", name, reason } = fault
      const which = calls === undefined ? "from then on" : "for a while"
      it.live(
        `${name} (${error} of ${call} on the ${file}, ${which}): refusals, nothing lost, no repair`,
        () =>
          Effect.gen(function* () {
            const folder = yield* dataFolder
            const database = join(folder, DATABASE)
            const log = join(folder, "strace.log")
            const ledger = new Ledger(folder)
            const when = calls === undefined ? `${from}+` : `${from}..${from + calls - 1}`
            const files = [file === "wal" ? `${database}-wal` : database]
            // Given a process whose disk fails at some time
            const life = yield* live({
              folder,
              seed: name,
              mode,
              under: injecting(log, { call, by: { error }, when, files }),
              killAfter: whenSeen(fault, log),
            })
            // Then it goes on until it is killed, and says of each submission that it cannot keep it, and why
            assert.deepStrictEqual([life.code, life.signal], [null, "SIGKILL"], life.stderr)
            assert.isAtLeast(injected(log), calls ?? 1)
            const refusals = life.told.filter(isRefusal)
            const reasons = new Set(refusals.filter((one) => !ofCheckpoint(one)).map((one) => one.reason))
            if (calls !== 1 || refusals.length > 0) {
              assert.deepStrictEqual([...reasons], reason === undefined ? [] : [reason])
              assert.isNotEmpty(refusals)
            }
            if (reason !== undefined && calls === undefined) {
              // And answers nothing but what was there before
              const first = life.told.findIndex(isRefusal)
              const idsOf = (lines: ReadonlyArray<Told>) =>
                lines.filter(isAnswer).flatMap(({ jobs }) => jobs.map(({ id }) => id))
              assert.includeMembers(idsOf(life.told.slice(0, first)), idsOf(life.told.slice(first)))
            }

            // And what it leaves behind is what it told
            for (const line of life.told) ledger.take(line)
            const audit = new JournalAudit(database)
            assert.deepStrictEqual(yield* audit.check, [])
            assert.deepStrictEqual(ledger.faults(audit), [])
            // Also where the fsync of a commit failed, which leaves its frames in the log, as whole as any.
            assert.deepStrictEqual(storedRefusals(life, audit), [])

            // And the next process goes on from there by itself
            const next = yield* live({ folder, seed: `${name}, next`, mode: "drain" })
            assert.strictEqual(next.code, 0, next.stderr)
            for (const line of next.told) ledger.take(line)
            assert.deepStrictEqual(yield* audit.check, [])
            assert.deepStrictEqual(ledger.faults(audit), [])
            assert.deepStrictEqual(
              [...audit.jobs].filter(([, { state }]) => !isFinished(state)),
              [],
            )
          }).pipe(Effect.scoped),
        60_000,
      )
    }

    it.live(
      "a first start at which nothing reaches the disk ends with the reason, and the next one is a first",
      () =>
        Effect.gen(function* () {
          const folder = yield* dataFolder
          const log = join(folder, "strace.log")
          const start = (under: ReadonlyArray<string>) => live({ folder, seed: "", mode: "drain", under })
          const failing = yield* start(injecting(log, { call: "fsync", by: { error: "EIO" }, when: "1+" }))
          assert.isAtLeast(injected(log), 1)
          assert.strictEqual(failing.code, 1)
          assert.match(failing.stderr, /disk I\/O error/)
          const next = yield* start([])
          assert.strictEqual(next.code, 0, next.stderr)
        }).pipe(Effect.scoped),
    )

    it.live("a start that cannot read the log ends with the reason, and the next one finds everything", () =>
      Effect.gen(function* () {
        const folder = yield* dataFolder
        const database = join(folder, DATABASE)
        const ledger = new Ledger(folder)
        let answers = 0
        const before = yield* live({
          folder,
          seed: "before",
          mode: "load",
          killAfter: (line) => (isAnswer(line) && ++answers === 50 ? 0 : undefined),
        })
        for (const line of before.told) ledger.take(line)
        const log = join(folder, "strace.log")
        const fault = {
          call: "pread64",
          by: { error: "EIO" },
          when: "1+",
          files: [`${database}-wal`],
        } as const
        const failing = yield* live({ folder, seed: "", mode: "drain", under: injecting(log, fault) })
        assert.isAtLeast(injected(log), 1)
        assert.strictEqual(failing.code, 1)
        assert.match(failing.stderr, /disk I\/O error/)
        const next = yield* live({ folder, seed: "", mode: "drain" })
        assert.strictEqual(next.code, 0, next.stderr)
        const audit = new JournalAudit(database)
        assert.deepStrictEqual(yield* audit.check, [])
        assert.deepStrictEqual(ledger.faults(audit), [])
      }).pipe(Effect.scoped),
    )
  },
)
