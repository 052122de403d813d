/**
 * One run of the simulation: clients that submit and command jobs at the same time, an operator who changes the queues under
 * them, a disk that fills up and processes that die in the middle of it all; then quiet, and every job comes to its end. All
 * of it follows from a seed.
 */
import { Effect } from "effect"
import * as fc from "fast-check"
import type { JournalError } from "../../src/journal/Journal.ts"
import { type Answer, orderOf, send } from "./Steps.ts"
import { step, type Step } from "./Workload.ts"
import { Broken, World } from "./World.ts"

/** Who acts at the same time. */
const CLIENTS = 3
const STEPS_MIN = 30
const STEPS_MAX = 90
/** How busy the event loop is: most are not, some longer than a lease lasts. */
const LAGS_MS = [0, 0, 0, 0, 20, 2_000, 40_000]
/** A client that is not done by then never will be. */
const PATIENCE_MS = 86_400_000

/** What a client may be told. Whatever else it hears is a defect. */
const ANSWERS: ReadonlySet<Answer> = new Set([
  "ok",
  "no answer",
  "interrupted",
  "AlreadyExpired",
  "IdempotencyKeyReused",
  "JobConflict",
  // Of a queue that is about to end.
  "MailboxFull",
  "QueueDraining",
  "QueueNotFound",
  "StoreFull",
  "UnknownJobType",
])

const workload = fc.array(step, { minLength: STEPS_MIN, maxLength: STEPS_MAX, size: "max" })

const take = (world: World, next: Step): Effect.Effect<unknown, JournalError> => {
  switch (next.do) {
    case "wait":
      return Effect.sleep(next.ms)
    case "kill":
      return world.kill
    case "restart":
      return world.restart
    case "fill disk":
      return world.fillDisk
    case "free disk":
      return world.freeDisk
    default:
      return Effect.suspend(() => {
        const order = orderOf(world, next)
        return order === undefined
          ? Effect.void
          : Effect.map(send(world, order), (answer) => {
              if (!ANSWERS.has(answer)) world.break(`${JSON.stringify(order)} is answered ${answer}`)
            })
      })
  }
}

/** Whether only one may do it at a time: processes follow each other. */
const isTrouble = ({ do: kind }: Step) => kind === "kill" || kind === "restart" || kind === "fill disk"

/** Trouble comes at moments of its own. A disk fills up once, which takes longer than everything else, and is freed again. */
const troubles = (steps: ReadonlyArray<Step>): ReadonlyArray<Step> => {
  const waits = steps.filter(({ do: kind }) => kind === "wait").values()
  const wait = (): Step => waits.next().value ?? { do: "wait", ms: 1 }
  const full = steps.find(({ do: kind }) => kind === "fill disk")
  return steps.filter(isTrouble).flatMap((trouble): ReadonlyArray<Step> => {
    if (trouble.do !== "fill disk") return [wait(), trouble]
    return trouble === full ? [wait(), trouble, wait(), { do: "free disk" }] : []
  })
}

/** The world after the run of a seed, with all promises kept. The caller closes it. */
export const run = (seed: number): World => {
  const [steps] = fc.sample(workload, { seed, numRuns: 1 }) as [Array<Step>]
  const world = new World(seed)
  const { simulation } = world
  const lag = LAGS_MS[seed % LAGS_MS.length]!
  if (lag > 0) world.lag(lag)
  const requests = steps.filter((next) => !isTrouble(next) && next.do !== "free disk")
  const actors = [troubles(steps)]
  for (let client = 0; client < CLIENTS; client++)
    actors.push(requests.filter((_, i) => i % CLIENTS === client))
  const fibers = actors.map((all) =>
    simulation.fork(Effect.forEach(all, (next) => take(world, next), { discard: true })),
  )
  const deadline = simulation.now + PATIENCE_MS
  while (fibers.some((fiber) => fiber.pollUnsafe() === undefined)) {
    if (simulation.now > deadline) throw new Broken("a client waits for ever")
    simulation.runUntil(simulation.now + 1_000, world.atRest)
  }
  world.quiesce()
  return world
}
