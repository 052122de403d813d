/**
 * `kill -9` again and again: under load, while the system starts and recovers from the last one, and in the middle of
 * checkpoints. After each kill everything that anybody was told is held against the journal. `CRASH_CYCLES` says how many
 * kills there are, `CRASH_SEED` what the load does and where it is killed; a failing test names its seed. The operating
 * system's own timing does not follow the seed, so a rerun does the same work and is killed close to the same place.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Random } from "effect"
import { randomInt } from "node:crypto"
import { join } from "node:path"
import { isFinished } from "../../src/jobs/JobState.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import { JournalAudit } from "./JournalAudit.ts"
import { Ledger } from "./Ledger.ts"
import { live } from "./Life.ts"
import { DATABASE, type Mode, type Told } from "./LoadProtocol.ts"

const CYCLES = Number(process.env["CRASH_CYCLES"] ?? 10)
const SEED = process.env["CRASH_SEED"] ?? String(randomInt(2 ** 31))

/** Kills that one database goes through; then it is drained, and another one begins: each is verified from the first event on. */
const CYCLES_PER_DATABASE = 25
/** Far more than a cycle takes on a slow machine. */
const CYCLE_MS_MAX = 10_000

const ACKNOWLEDGEMENTS_MAX = 200
/** Opening the database takes 12 ms, and the first answer comes after 40 ms (measured): recovery lies in between. */
const START_MS_MAX = 25
const CHECKPOINTS_MAX = 12

const ACKNOWLEDGEMENTS: ReadonlySet<Told["_tag"]> = new Set([
  "Accepted",
  "Cancelled",
  "Rescheduled",
  "Reprioritized",
  "Governed",
  "Seen",
])

/** Where a process is killed. */
type Kill =
  | { readonly _tag: "Load"; readonly acknowledgements: number }
  | { readonly _tag: "Start"; readonly ms: number }
  | { readonly _tag: "Checkpoint"; readonly checkpoints: number }

const drawKill: Effect.Effect<Kill> = Effect.gen(function* () {
  const kind = yield* Random.next
  if (kind < 0.5)
    return { _tag: "Load", acknowledgements: yield* Random.nextIntBetween(1, ACKNOWLEDGEMENTS_MAX) }
  if (kind < 0.75) return { _tag: "Start", ms: yield* Random.nextIntBetween(0, START_MS_MAX) }
  return { _tag: "Checkpoint", checkpoints: yield* Random.nextIntBetween(1, CHECKPOINTS_MAX) }
})

/** When a line is told, says whether it is the one. */
const killer = (kill: Kill) => {
  let acknowledgements = 0
  let checkpoints = 0
  return ({ _tag }: Told): number | undefined => {
    if (ACKNOWLEDGEMENTS.has(_tag)) acknowledgements++
    if (_tag === "Checkpoint") checkpoints++
    switch (kill._tag) {
      case "Load":
        return acknowledgements === kill.acknowledgements ? 0 : undefined
      case "Start":
        return _tag === "Opening" ? kill.ms : undefined
      case "Checkpoint":
        return _tag === "Checkpoint" && checkpoints === kill.checkpoints ? 0 : undefined
    }
  }
}

const databases = Array.from({ length: Math.ceil(CYCLES / CYCLES_PER_DATABASE) }, (_, index) => ({
  seed: index === 0 ? SEED : `${SEED}.${index}`,
  cycles: Math.min(CYCLES_PER_DATABASE, CYCLES - index * CYCLES_PER_DATABASE),
}))

describe("a process that is killed while it takes and runs jobs", () => {
  for (const { cycles, seed } of databases) {
    it.live(
      `keeps every promise over ${cycles} kills (CRASH_SEED=${seed} CRASH_CYCLES=${cycles})`,
      () =>
        Effect.gen(function* () {
          const folder = yield* dataFolder
          const database = join(folder, DATABASE)
          const audit = new JournalAudit(database)
          const ledger = new Ledger(folder)
          let early = 0
          for (let cycle = 0; cycle < cycles; cycle++) {
            const kill = yield* Random.withSeed(drawKill, `${seed}-${cycle}`)
            const mode: Mode = kill._tag === "Checkpoint" ? "checkpoint" : "load"
            const { code, signal, stderr, told } = yield* live({
              folder,
              seed: `${seed}-${cycle}`,
              mode,
              killAfter: killer(kill),
            })
            const where = `kill ${cycle}, ${JSON.stringify(kill)}`
            assert.deepStrictEqual(
              [code, signal],
              [null, "SIGKILL"],
              `${where}: it ended by itself, ${stderr}`,
            )
            if (!told.some(({ _tag }) => ACKNOWLEDGEMENTS.has(_tag))) early++
            assert.deepStrictEqual(
              // Some expire within 10 ms: on a busy machine that is before they can be taken.
              told.filter((line) => line._tag === "Refused" && line.reason !== "AlreadyExpired"),
              [],
              where,
            )
            for (const line of told) ledger.take(line)
            // Before anything was promised the database may lack its tables.
            if (ledger.size === 0) continue
            assert.deepStrictEqual(yield* audit.check, [], where)
            assert.deepStrictEqual(ledger.faults(audit), [], where)
          }

          const drained = yield* live({ folder, seed, mode: "drain" })
          assert.strictEqual(drained.code, 0, drained.stderr)
          assert.deepStrictEqual(yield* audit.check, [])
          assert.deepStrictEqual(ledger.faults(audit), [])
          assert.deepStrictEqual(
            [...audit.jobs].filter(([, { state }]) => !isFinished(state)),
            [],
          )
          console.log(
            `${cycles} kills, ${early} of them before a first answer: ${ledger.size} jobs promised, ${audit.jobs.size} there, ${audit.head} events, ${audit.started.size} attempts`,
          )
        }).pipe(Effect.scoped),
      (cycles + 1) * CYCLE_MS_MAX,
    )
  }
})
