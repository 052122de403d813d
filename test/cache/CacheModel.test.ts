/**
 * Never stale: whatever the order of reads that take their time, writes, restarts and crashes, nobody who asks after a write
 * was acknowledged sees less than that write.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { copyFileSync, existsSync } from "node:fs"
import { join } from "node:path"
import type { Mark } from "../../src/cache/Answer.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { forAll } from "../support/Property.ts"
import { type Cache, open, texts } from "./CacheFixture.ts"

const THINGS = ["a", "b", "c"]
/** Each question depends on these things. */
const QUESTIONS = [["a"], ["b"], ["a", "b"], ["a", "b", "c"]] as const

type Step =
  | { readonly _tag: "Read"; readonly question: number; readonly turns: number; readonly ttlMs: number }
  | { readonly _tag: "Write"; readonly thing: number }
  | { readonly _tag: "Turns"; readonly count: number }
  | { readonly _tag: "Pass"; readonly ms: number }
  | { readonly _tag: "Leave"; readonly reader: number }
  | { readonly _tag: "Restart" }
  | { readonly _tag: "Crash" }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 16,
    arbitrary: fc.record({
      _tag: fc.constant("Read" as const),
      question: fc.nat(QUESTIONS.length - 1),
      turns: fc.nat(3),
      ttlMs: fc.constantFrom(0, 50, 100_000, 100_000),
    }),
  },
  { weight: 4, arbitrary: fc.record({ _tag: fc.constant("Write" as const), thing: fc.nat(2) }) },
  {
    weight: 5,
    arbitrary: fc.record({ _tag: fc.constant("Turns" as const), count: fc.integer({ min: 1, max: 4 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ _tag: fc.constant("Pass" as const), ms: fc.constantFrom(10, 100, 300) }),
  },
  { weight: 1, arbitrary: fc.record({ _tag: fc.constant("Leave" as const), reader: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.constant({ _tag: "Restart" as const }) },
  { weight: 1, arbitrary: fc.constant({ _tag: "Crash" as const }) },
)

const turn = Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void)))

/** What is written, and its history, which is never lost. */
class World {
  readonly versions = new Map(THINGS.map((thing) => [thing, 0]))
  readonly history: Array<string> = []

  get mark(): Mark {
    return { position: this.history.length, of: String(this.history.at(-1)) }
  }

  /** In the same turn in which it becomes visible, the cache is told. */
  write(thing: string, cache: Cache): void {
    this.versions.set(thing, this.versions.get(thing)! + 1)
    this.history.push(thing)
    cache.invalidate([thing], this.mark)
  }

  /** Looks at one thing after the other, with time in between. */
  look(things: ReadonlyArray<string>, turns: number) {
    return Effect.map(
      Effect.forEach(things, (thing) =>
        Effect.map(Effect.repeat(turn, { times: turns }), () => this.versions.get(thing)!),
      ),
      (seen) => JSON.stringify(seen),
    )
  }
}

const run = Effect.fnUntraced(function* (steps: ReadonlyArray<Step>) {
  const folder = yield* temporaryFolder
  const world = new World()
  let generation = 0
  let filename = join(folder, "cache.db")
  let scope = yield* Scope.make()
  // Small, so that answers move between memory and the file, and some are evicted.
  const start = Effect.suspend(() =>
    Scope.provide(open({ filename, entriesMax: 3, frontBytesMax: 900 }), scope),
  )
  let cache = yield* start
  const readers: Array<Fiber.Fiber<void>> = []
  let hits = 0

  /** As the owner of the cache does at a start: what happened since is applied to what was kept. */
  const catchUp = () => cache.invalidate(world.history.slice(cache.mark().position), world.mark)

  const read = ({ question, ttlMs, turns }: Extract<Step, { readonly _tag: "Read" }>) =>
    Effect.gen(function* () {
      const things = QUESTIONS[question]!
      const acknowledged = things.map((thing) => world.versions.get(thing)!)
      const key = `${question}`
      const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
      const found = cache.get(key, now)
      if (found !== undefined) hits++
      const text =
        found === undefined
          ? yield* cache.share({ key, tags: things, ttlMs }, world.look(things, turns), texts)
          : Buffer.from(found.body).toString()
      const seen = JSON.parse(text) as ReadonlyArray<number>
      for (const [i, version] of seen.entries())
        assert.isAtLeast(version, acknowledged[i]!, `${things[i]} as seen by a reader of ${things.join()}`)
    })

  for (const each of steps) {
    switch (each._tag) {
      case "Read":
        readers.push(yield* Effect.forkChild(read(each)))
        break
      case "Write":
        world.write(THINGS[each.thing]!, cache)
        break
      case "Turns":
        yield* Effect.repeat(turn, { times: each.count })
        break
      case "Pass":
        yield* TestClock.adjust(each.ms)
        break
      case "Leave":
        if (readers[each.reader] !== undefined) yield* Fiber.interrupt(readers[each.reader]!)
        break
      case "Restart":
      case "Crash": {
        yield* Effect.forEach(readers.splice(0), Fiber.await)
        if (each._tag === "Crash") {
          // What is on the disk at this moment is all that is left.
          const copy = join(folder, `cache-${++generation}.db`)
          for (const suffix of ["", "-wal"])
            if (existsSync(filename + suffix)) copyFileSync(filename + suffix, copy + suffix)
          yield* Scope.close(scope, Exit.void)
          filename = copy
        } else yield* Scope.close(scope, Exit.void)
        scope = yield* Scope.make()
        cache = yield* start
        catchUp()
      }
    }
  }
  for (const reader of readers) {
    const exit = yield* Fiber.await(reader)
    // Those who left were interrupted; all others saw what they had to see.
    if (Exit.isFailure(exit) && !Exit.hasInterrupts(exit)) yield* exit
  }
  yield* Scope.close(scope, Exit.void)
  return hits
})

describe("a cached answer", () => {
  it.effect(
    "is never behind what was acknowledged before it was asked for",
    () => {
      let hits = 0
      return forAll(
        fc.array(step, { minLength: 10, maxLength: 80 }),
        (steps) =>
          run(steps).pipe(
            Effect.map((count) => {
              hits += count
            }),
            Effect.scoped,
            Effect.provide(TestClock.layer()),
          ),
        { runs: 150 },
      ).pipe(Effect.andThen(Effect.sync(() => assert.isAbove(hits, 50, "it was a cache"))))
    },
    60_000,
  )
})
