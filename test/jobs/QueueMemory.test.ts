import { describe, expect, it } from "@effect/vitest"
import { Effect } from "effect"
import { Attempts } from "../../src/jobs/Attempts.ts"
import { JobStore } from "../../src/jobs/JobStore.ts"
import { LiveProgress } from "../../src/jobs/LiveProgress.ts"
import { QueueMemory } from "../../src/jobs/QueueMemory.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { enqueued } from "./JobHistories.ts"
import { START, store } from "./QueueFixture.ts"

type Store = JobStore["Service"]

/** A memory that is told of a new job right after one of its looks at the tables has seen them without it. */
const interrupted = Effect.fnUntraced(function* (
  options: Parameters<typeof enqueued>[0],
  looks: (real: Store, meanwhile: Effect.Effect<void>) => Partial<Store>,
) {
  const journal = yield* Journal
  const real = yield* JobStore
  const attempts = new Attempts({
    registrations: new Map(),
    live: new LiveProgress(),
    commands: {} as never,
    fork: Effect.runFork,
    onOrphan: () => {},
    onRoom: () => {},
  })
  let isThere = false
  const add = Effect.suspend(() => {
    if (isThere) return Effect.void
    isThere = true
    const append = { stream: "job_1", expectedVersion: 0, events: [enqueued(options)] }
    return Effect.map(Effect.orDie(journal.append([append], START)), () => memory.notice())
  })
  const memory = new QueueMemory({
    name: "default",
    journal,
    attempts,
    store: { ...real, ...looks(real, add) },
  })
  memory.window.addType("test")
  return memory
})

describe("a job that somebody else adds while a queue looks at its tables", () => {
  it.effect("is ready after the next look", () =>
    Effect.gen(function* () {
      const memory = yield* interrupted({ priority: "urgent" }, (real, meanwhile) => ({
        ready: (...lane) => Effect.tap(real.ready(...lane), meanwhile),
      }))
      yield* memory.prepare(START)
      yield* memory.prepare(START)
      const all = () => true
      expect(memory.window.pop(all, all)?.id).toBe("job_1")
    }).pipe(Effect.provide(store)),
  )

  it.effect("expires in time", () =>
    Effect.gen(function* () {
      const memory = yield* interrupted({ expires_at: START + 500 }, (real, meanwhile) => ({
        nextExpiry: (...queue) => Effect.tap(real.nextExpiry(...queue), meanwhile),
      }))
      yield* memory.prepare(START)
      yield* memory.prepare(START)
      expect(memory.nextAt(START)).toBe(START + 500)
    }).pipe(Effect.provide(store)),
  )
})
