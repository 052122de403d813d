/**
 * Random steps, one after the other, against the real queue on a real database and against the reference: what every step is
 * answered, what it stores, and that the world keeps its promises after it.
 */
import { describe, it } from "vitest"
import { Exit } from "effect"
import * as fc from "fast-check"
import { expectationOf, type Order, orderOf, send } from "./Steps.ts"
import { step, type Step } from "./Workload.ts"
import { Broken, World } from "./World.ts"

/** How many lists of steps, and which: `MODEL_SEED=<seed>` or `<seed>:<path>`, as a failure prints them. */
const RUNS = Number(process.env["MODEL_RUNS"] ?? 150)
const [SEED, ...PATH] = (process.env["MODEL_SEED"] ?? "").split(":")
const REPLAY = SEED === "" ? {} : { seed: Number(SEED), ...(PATH.length > 0 && { path: PATH.join(":") }) }
const STEPS_MAX = 40
/** A process that has not ended by then never will. */
const PATIENCE_MS = 86_400_000
/** The search takes as long as it takes: this is for one that does not end. */
const TIMEOUT_MS = 3_600_000

const take = (world: World, next: Step): void => {
  const { simulation } = world
  switch (next.do) {
    case "wait":
      return simulation.runUntil(simulation.now + next.ms, world.atRest)
    case "kill":
      return void simulation.run(world.kill)
    case "restart": {
      // It waits for those who take their time to end.
      const end = simulation.fork(world.restart)
      const deadline = simulation.now + PATIENCE_MS
      simulation.rest()
      while (end.pollUnsafe() === undefined) {
        if (simulation.nextAt > deadline) throw new Broken("a process does not end")
        simulation.runUntil(simulation.nextAt, world.atRest)
      }
      return
    }
    case "fill disk":
      return void simulation.run(world.fillDisk)
    case "free disk":
      return void simulation.run(world.freeDisk)
    default: {
      const order = orderOf(world, next)
      if (order !== undefined) ask(world, order)
    }
  }
}

const ask = (world: World, order: Order): void => {
  const expected = expectationOf(world.reference, order, world.simulation.now)
  const before = world.journal.length
  const exit = world.simulation.run(send(world, order))
  world.look()
  // After trouble it catches up first: what it answers depends on what it finds.
  if (!world.isWell && !world.isFull) return
  const answer = Exit.isSuccess(exit) ? exit.value : String(exit.cause)
  const told = `${JSON.stringify(order)} is answered ${answer}`
  if (!expected.answers.includes(answer) && !(world.isFull && answer === "StoreFull"))
    throw new Broken(`${told}, not ${expected.answers.join(" or ")}`)
  const first = world.journal.slice(before).find(({ stream }) => stream === expected.stream)?.event._tag
  if (answer === "ok" && expected.event !== undefined && first !== expected.event)
    throw new Broken(`${told} and stored as ${first}, not ${expected.event}`)
}

describe("the queue and its reference", () => {
  it("agree after every step, whatever the steps are", { timeout: TIMEOUT_MS }, () => {
    const steps = fc.array(step, { maxLength: STEPS_MAX, size: "max" })
    const schedule = fc.nat({ max: 1_000_000 })
    const property = fc.property(steps, schedule, (all, seed) => {
      const world = new World(seed)
      try {
        for (const next of all) {
          take(world, next)
          world.atRest()
          world.compareTables()
        }
        world.quiesce()
      } finally {
        world.close()
      }
    })
    fc.assert(property, { numRuns: RUNS, ...REPLAY })
  })
})
