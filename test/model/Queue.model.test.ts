import { describe, it } from "vitest"
import * as fc from "fast-check"
import { Exit } from "effect"
import { expectationOf, orderOf, send } from "./Steps.ts"
import { step, type Step } from "./Workload.ts"
import { Broken, World } from "./World.ts"

const take = (world: World, next: Step): void => {
  switch (next.do) {
    case "wait":
      return world.simulation.runUntil(world.simulation.now + next.ms, world.atRest)
    case "kill":
      return void world.simulation.run(world.kill)
    case "restart":
      return void world.simulation.run(world.restart)
    case "fill disk":
      return void world.simulation.run(world.fillDisk)
    case "free disk":
      return void world.simulation.run(world.freeDisk)
  }
  const order = orderOf(world, next)
  if (order === undefined) return
  const { now } = world.simulation
  const expected = expectationOf(world.reference, order, now)
  const before = world.journal.length
  const exit = world.simulation.run(send(world, order))
  world.look()
  // It catches up first: what it answers depends on what it finds.
  if (!world.isWell && !world.isFull) return
  const answer = Exit.isSuccess(exit) ? exit.value : String(exit.cause)
  if (
    answer !== expected.answer &&
    !(world.isFull && answer === "StoreFull") &&
    !(expected.answer === "QueueNotFound" && answer === "ok")
  )
    throw new Broken(`${JSON.stringify(order)} is answered ${answer}, not ${expected.answer}`)
  const first = world.journal.slice(before).find(({ stream }) => stream === expected.stream)?.event._tag
  if (answer === "ok" && expected.event !== undefined && first !== expected.event)
    throw new Broken(`${JSON.stringify(order)} is stored as ${first}, not ${expected.event}`)
}

describe("the queue", () => {
  it("keeps its promises", { timeout: 300_000 }, () => {
    let worst = 0
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 30, size: "max" }),
        fc.nat({ max: 1_000_000 }),
        (steps, seed) => {
          const t = performance.now()
          const world = new World(seed)
          try {
            for (const next of steps) {
              take(world, next)
              world.atRest()
              world.compareTables()
            }
            world.quiesce()
          } finally {
            world.close()
          }
          worst = Math.max(worst, performance.now() - t)
        },
      ),
      {
        numRuns: Number(process.env.MODEL_RUNS ?? 100),
        ...(process.env.MODEL_SEED ? { seed: Number(process.env.MODEL_SEED) } : {}),
      },
    )
    console.log("worst", worst)
  })
})
