/**
 * A process that ends at one exact system call: in the middle of a migration, between two pages of a commit, between a
 * commit's pages and its `fsync`, in a checkpoint. `Load.crash.test.ts` kills at moments; this kills at places, among them
 * those that take microseconds. `FAULT_SEED` draws the places.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { randomInt } from "node:crypto"
import { join } from "node:path"
import { isFinished } from "../../src/jobs/JobState.ts"
import { JournalAudit } from "../crash/JournalAudit.ts"
import { Ledger } from "../crash/Ledger.ts"
import { live } from "../crash/Life.ts"
import { DATABASE } from "../crash/LoadProtocol.ts"
import { choose } from "../crash/Work.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import { injecting, missing } from "./Strace.ts"

const SEED = process.env["FAULT_SEED"] ?? String(randomInt(2 ** 31))
/** Kills in the first steps of a new database … */
const KILLS_OF_MIGRATIONS = 4
/** … and in the load that follows. */
const KILLS_OF_LOAD = 6

/** Calls on the database and its log until the first answer of a new one (measured: 45 writes and 8 syncs). */
const FIRST_WRITES = 60
const FIRST_SYNCS = 8
const WRITES = 1_500
const SYNCS = 40

const skipped = missing === undefined ? "" : ` (${missing})`

const drawPlace = Effect.fnUntraced(function* (isFirst: boolean) {
  const call = yield* choose(["pwrite64", "pwrite64", "fsync"] as const)
  const most = call === "pwrite64" ? (isFirst ? FIRST_WRITES : WRITES) : isFirst ? FIRST_SYNCS : SYNCS
  return { call, when: yield* Random.nextIntBetween(1, most) }
})

describe.skipIf(missing !== undefined)(`a process that ends at a system call${skipped}`, () => {
  it.live(
    `keeps its promises wherever that is (FAULT_SEED=${SEED})`,
    () =>
      Effect.gen(function* () {
        const folder = yield* dataFolder
        const database = join(folder, DATABASE)
        const files = [database, `${database}-wal`, `${database}-journal`, `${database}-shm`]
        const ledger = new Ledger(folder)
        const audit = new JournalAudit(database)
        for (let kill = 0; kill < KILLS_OF_MIGRATIONS + KILLS_OF_LOAD; kill++) {
          const { call, when } = yield* Random.withSeed(
            drawPlace(kill < KILLS_OF_MIGRATIONS),
            `${SEED}/${kill}`,
          )
          const where = `kill ${kill}: ${call} ${when}`
          const { signal, stderr, told } = yield* live({
            folder,
            seed: `${SEED}/${kill}`,
            mode: "checkpoint",
            under: injecting(join(folder, "strace.log"), {
              call,
              by: { signal: "SIGKILL" },
              when: String(when),
              files,
            }),
          })
          assert.strictEqual(signal, "SIGKILL", `${where}: ${stderr}`)
          for (const line of told) ledger.take(line)
          // Before anything was promised the database may lack its tables.
          if (ledger.size === 0) continue
          assert.deepStrictEqual(yield* audit.check, [], where)
          assert.deepStrictEqual(ledger.faults(audit), [], where)
        }
        const drained = yield* live({ folder, seed: SEED, mode: "drain" })
        assert.strictEqual(drained.code, 0, drained.stderr)
        assert.deepStrictEqual(yield* audit.check, [])
        assert.deepStrictEqual(ledger.faults(audit), [])
        assert.deepStrictEqual(
          [...audit.jobs].filter(([, { state }]) => !isFinished(state)),
          [],
        )
        assert.isAbove(ledger.size, 0)
      }).pipe(Effect.scoped),
    120_000,
  )
})
