/** Thousands of runs of the simulation: each with a schedule, a workload and faults of its own, all from one number. */
import { describe, expect, it } from "vitest"
import { run } from "./Run.ts"

/** Which runs: `MODEL_SEED=<seed>` is the first, `MODEL_SEEDS` how many. */
const FIRST = Number((process.env["MODEL_SEED"] ?? "1").split(":")[0])
const SEEDS = Number(process.env["MODEL_SEEDS"] ?? 200)
/** Runs that are made twice. */
const REPEATED = 20
/** The search takes as long as it takes: this is for one that does not end. */
const TIMEOUT_MS = 3_600_000

const attempt = (seed: number) => {
  try {
    const world = run(seed)
    world.close()
    return world.journal
  } catch (cause) {
    const { message } = cause as Error
    throw new Error(`MODEL_SEED=${seed} MODEL_SEEDS=1 finds it again: ${message}`, { cause })
  }
}

describe("the queue, however its fibers take turns", () => {
  it("keeps its promises", { timeout: TIMEOUT_MS }, () => {
    let events = 0
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) events += attempt(seed).length
    expect(events).toBeGreaterThan(SEEDS)
  })

  it("does the same again for the same seed, to the last event", () => {
    for (let seed = FIRST; seed < FIRST + REPEATED; seed++) expect(attempt(seed)).toEqual(attempt(seed))
  })
})
