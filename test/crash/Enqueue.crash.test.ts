import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { randomInt } from "node:crypto"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import { isFinished } from "../../src/jobs/JobState.ts"
import { dataFolder } from "../support/ServerProcess.ts"
import { type Acknowledgement, DATABASE, type Promised, RUNS_LOG } from "./EnqueueProtocol.ts"
import { JournalAudit } from "./JournalAudit.ts"

const PROGRAM = fileURLToPath(new URL("./EnqueueProcess.ts", import.meta.url))
const CYCLES = 8
/** A process is killed after so many acknowledgements, chosen at random. */
const ACKNOWLEDGEMENTS_MIN = 1
const ACKNOWLEDGEMENTS_MAX = 250

/** Starts the program, kills it when it has said enough, and answers all that it said by then. */
const live = (folder: string, seed: string, mode: "load" | "drain", killAfter: number) =>
  Effect.callback<{ readonly said: ReadonlyArray<Acknowledgement>; readonly code: number | null }>(
    (resume) => {
      const child = spawn(process.execPath, [PROGRAM, folder, seed, mode], {
        stdio: ["ignore", "ignore", "inherit", "pipe"],
      })
      const said: Array<Acknowledgement> = []
      const lines = createInterface(child.stdio[3] as Readable)
      lines.on("line", (line) => {
        said.push(JSON.parse(line) as Acknowledgement)
        if (said.length === killAfter) child.kill("SIGKILL")
      })
      child.once("close", (code) => resume(Effect.succeed({ said, code })))
      return Effect.sync(() => child.kill("SIGKILL"))
    },
  )

/** Everything that was ever promised, and whether the journal keeps it. */
class Promises {
  readonly #jobs = new Map<string, Promised>()
  readonly #keys = new Map<string, string>()
  readonly #cancelled = new Set<string>()

  get size(): number {
    return this.#jobs.size
  }

  take({ cancelled, jobs }: Acknowledgement): void {
    for (const job of jobs) {
      this.#jobs.set(job.id, job)
      if (job.key === undefined) continue
      const holder = this.#keys.get(job.key) ?? job.id
      assert.strictEqual(holder, job.id, `${job.key} stands for two jobs`)
      this.#keys.set(job.key, job.id)
    }
    if (cancelled !== undefined) this.#cancelled.add(cancelled)
  }

  faults({ jobs }: JournalAudit): ReadonlyArray<string> {
    const faults: Array<string> = []
    const holders = new Map<string, string>()
    const batches = new Map<string, { readonly size: number; found: number }>()
    for (const [id, { state }] of jobs) {
      const key = state.idempotencyKey
      if (key !== undefined && holders.has(key))
        faults.push(`${key} belongs to ${id} and ${holders.get(key)}`)
      if (key !== undefined) holders.set(key, id)
      const { batch, size } = state.payload as { readonly batch: string | null; readonly size: number }
      if (batch === null) continue
      const seen = batches.get(batch) ?? { size, found: 0 }
      seen.found++
      batches.set(batch, seen)
    }
    for (const [batch, { found, size }] of batches)
      if (found !== size) faults.push(`${found} of the ${size} jobs of the batch ${batch} are there`)
    for (const { id, key, tag } of this.#jobs.values()) {
      const state = jobs.get(id)?.state
      if (state === undefined) faults.push(`${id} was acknowledged and is gone`)
      else if ((state.payload as { readonly tag: string }).tag !== tag || state.idempotencyKey !== key)
        faults.push(`${id} is another job than the one acknowledged`)
    }
    for (const id of this.#cancelled)
      if (jobs.get(id)?.state.status !== "cancelled") faults.push(`${id} was cancelled and is not`)
    return faults
  }
}

/** Runs of handlers: none may come twice under one token, and none before its start was durable. */
const runFaults = (folder: string, { started }: JournalAudit): ReadonlyArray<string> => {
  const runs = readFileSync(join(folder, RUNS_LOG), "utf8").trim().split("\n")
  const seen = new Set<string>()
  const faults: Array<string> = []
  for (const run of runs) {
    if (seen.has(run)) faults.push(`ran twice: ${run}`)
    if (!started.has(run)) faults.push(`ran without a lease: ${run}`)
    seen.add(run)
  }
  return faults
}

describe("a process that is killed while it enqueues and runs jobs", () => {
  const seed = process.env["CRASH_SEED"] ?? String(randomInt(2 ** 31))

  it.live(
    `keeps every promise over ${CYCLES} kills (CRASH_SEED=${seed})`,
    () =>
      Effect.gen(function* () {
        const folder = yield* dataFolder
        const database = join(folder, DATABASE)
        const audit = new JournalAudit(database)
        const promises = new Promises()
        for (let cycle = 0; cycle < CYCLES; cycle++) {
          const span = ACKNOWLEDGEMENTS_MAX - ACKNOWLEDGEMENTS_MIN
          const killAfter = ACKNOWLEDGEMENTS_MIN + ((Number(seed) * (cycle + 1) * 7_919) % span)
          const { code, said } = yield* live(folder, `${seed}-${cycle}`, "load", killAfter)
          assert.isNull(code, "it ended by itself")
          for (const acknowledgement of said) promises.take(acknowledgement)
          assert.deepStrictEqual(yield* audit.check, [])
          assert.deepStrictEqual(promises.faults(audit), [])
          assert.deepStrictEqual(runFaults(folder, audit), [])
        }
        assert.isAbove(promises.size, CYCLES)

        const { code } = yield* live(folder, seed, "drain", Number.POSITIVE_INFINITY)
        assert.strictEqual(code, 0)
        const whole = new JournalAudit(database)
        assert.deepStrictEqual(yield* whole.check, [])
        assert.deepStrictEqual(promises.faults(whole), [])
        assert.deepStrictEqual(runFaults(folder, whole), [])
        const unfinished = [...whole.jobs].filter(
          ([, { state }]) => !isFinished(state) && state.dueAt === state.enqueuedAt,
        )
        assert.deepStrictEqual(unfinished, [])
      }).pipe(Effect.scoped),
    90_000,
  )
})
