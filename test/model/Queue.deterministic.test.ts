import { describe, expect, it } from "vitest"
import { run } from "./Run.ts"

const FIRST = Number(process.env["MODEL_SEED"] ?? 1)
const SEEDS = Number(process.env["MODEL_SEEDS"] ?? 1_000)

describe("the queue under a seeded scheduler", () => {
  it("keeps its promises for every seed", { timeout: 3_600_000 }, () => {
    let jobs = 0,
      events = 0
    for (let seed = FIRST; seed < FIRST + SEEDS; seed++) {
      try {
        const world = run(seed)
        jobs += world.reference.jobs.size
        events += world.journal.length
        world.close()
      } catch (cause) {
        throw new Error(`seed ${seed}: ${(cause as Error).message}`, { cause })
      }
    }
    console.log({ jobs: jobs / SEEDS, events: events / SEEDS })
  })

  it("does the same again for the same seed, to the last event", () => {
    for (let seed = 0; seed < 20; seed++) expect(run(seed).journal).toEqual(run(seed).journal)
  })
})
