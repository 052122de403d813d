import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch, Layer, References } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import { renameSync } from "node:fs"
import { Archive } from "../../src/journal/Archive.ts"
import type { AsyncProjection } from "../../src/journal/AsyncProjection.ts"
import {
  AsyncProjector,
  FOLLOWED_EVENTS_MAX,
  type ProjectionStatus,
} from "../../src/journal/AsyncProjector.ts"
import { EVENT_COLUMNS, type EventRow } from "../../src/journal/EventRows.ts"
import type { RecordedEvent } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { temporaryFolder } from "../sqlite/TemporaryFolder.ts"
import { advance, settle } from "../support/Turns.ts"
import { AT, filesIn, journalIn, move, note, rowsOf } from "./ArchiveFixture.ts"
import type { noted } from "./TestEvents.ts"

/** How often each text was noted: wrong at once if an event is lost or taken twice. */
const tally = (
  options: {
    readonly name?: string
    readonly onTake?: (event: RecordedEvent) => void
    readonly onSave?: () => void
    readonly rowsAtOnce?: number
  } = {},
): AsyncProjection => {
  const { name = "tally", onSave = () => {}, onTake = () => {} } = options
  let taken = new Map<string, number>()
  return {
    name,
    tables: [name],
    eventTypes: new Set(["Noted"]),
    take: (events) => {
      for (const recorded of events) {
        onTake(recorded)
        const { text } = recorded.event as ReturnType<typeof noted>
        taken.set(text, (taken.get(text) ?? 0) + 1)
      }
    },
    pending: () => taken.size * (options.rowsAtOnce ?? 1),
    save: (db) => {
      db.exec(`CREATE TABLE IF NOT EXISTS ${name} (text TEXT PRIMARY KEY, times INTEGER NOT NULL) STRICT`)
      for (const [text, times] of taken)
        db.prepare(
          `INSERT INTO ${name} VALUES (?, ?) ON CONFLICT (text) DO UPDATE SET times = times + excluded.times`,
        ).run(text, times)
      taken.clear()
      onSave()
    },
    forget: () => {
      taken = new Map()
    },
  }
}

const projecting = (...projections: ReadonlyArray<AsyncProjection>) =>
  AsyncProjector.layer(projections).pipe(Layer.fresh)

const statusOf = Effect.flatMap(AsyncProjector, ({ status }) => status)

const until = (
  isSo: (all: ReadonlyArray<ProjectionStatus>) => boolean,
): Effect.Effect<void, never, AsyncProjector> =>
  Effect.flatMap(Effect.andThen(advance("1 second"), statusOf), (all) =>
    isSo(all) ? Effect.void : until(isSo),
  )

const caughtUp = until((all) => all.every(({ lag }) => lag === 0))

const tallied = (name = "tally") => rowsOf(`SELECT text, times FROM ${name} ORDER BY text`)

const row = (text: string, times: number) => Object.assign(Object.create(null), { text, times }) as object

const inFolder = <A, E>(
  body: (folder: string) => Effect.Effect<A, E, Layer.Success<ReturnType<typeof journalIn>>>,
) =>
  Effect.flatMap(temporaryFolder, (folder) => Effect.provide(body(folder), journalIn(folder))).pipe(
    Effect.scoped,
  )

describe("an async projection", () => {
  it.effect("sees what was there and what comes, and says how far it is behind", () =>
    inFolder(() =>
      Effect.gen(function* () {
        yield* note("one", 0, "a", "b", "a")
        yield* Effect.gen(function* () {
          const [before] = yield* statusOf
          assert.deepStrictEqual(before, { name: "tally", position: 0, lag: 3, failures: 0 })
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 2), row("b", 1)])
          yield* note("two", 0, "b")
          const [behind] = yield* statusOf
          assert.deepInclude(behind, { position: 3, lag: 1 })
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 2), row("b", 2)])
        }).pipe(Effect.provide(projecting(tally())))
      }),
    ),
  )

  it.effect("goes on at the next start where the last one ended, and takes nothing twice", () =>
    inFolder(() =>
      Effect.gen(function* () {
        const seen: Array<number> = []
        const life = Effect.provide(
          caughtUp,
          Layer.suspend(() => projecting(tally({ onTake: ({ position }) => seen.push(position) }))),
        )
        yield* note("one", 0, "a", "b")
        yield* life
        yield* note("one", 2, "a")
        yield* life
        yield* life
        assert.deepStrictEqual(seen, [1, 2, 3])
        assert.deepStrictEqual(yield* tallied(), [row("a", 2), row("b", 1)])
      }),
    ),
  )

  it.effect("writes rows and checkpoint together or not at all, and tries again after a while", () =>
    inFolder(() =>
      Effect.gen(function* () {
        let saves = 0
        // The first two times it fails after it has written, so that the transaction is undone.
        const onSave = () => {
          if (++saves <= 2) throw new Error("not yet")
        }
        yield* note("one", 0, "a", "a")
        yield* Effect.gen(function* () {
          yield* until(([one]) => one!.failures === 1)
          yield* note("one", 2, "a")
          yield* until(([one]) => one!.failures === 2)
          assert.strictEqual((yield* statusOf)[0]!.position, 0)
          yield* caughtUp
          assert.strictEqual((yield* statusOf)[0]!.failures, 0)
          assert.deepStrictEqual(yield* tallied(), [row("a", 3)])
        }).pipe(Effect.provide(projecting(tally({ onSave }))))
      }),
    ),
  )

  it.effect("waits longer after each failure, up to a minute, and holds nobody else up", () =>
    inFolder(() =>
      Effect.gen(function* () {
        const failing = tally({
          name: "failing",
          onTake: () => {
            throw new Error("never")
          },
        })
        yield* note("one", 0, "a")
        yield* Effect.gen(function* () {
          yield* advance("1 hour")
          const [broken, well] = yield* statusOf
          // 1, 2, 4 … 32 seconds, and then one a minute.
          assert.isAtLeast(broken!.failures, 50)
          assert.isAtMost(broken!.failures, 70)
          assert.strictEqual(well!.lag, 0)
        }).pipe(Effect.provide(projecting(failing, tally())))
        assert.deepStrictEqual(yield* tallied(), [row("a", 1)])
      }),
    ),
  )

  it.effect("takes what is left at the stop, so that it can leave for the archive", () =>
    inFolder(() =>
      Effect.gen(function* () {
        yield* Effect.provide(note("one", 0, "a", "b"), projecting(tally()))
        assert.deepStrictEqual(yield* tallied(), [row("a", 1), row("b", 1)])
        assert.deepInclude(yield* move("one"), { streams: 1, stayed: 0 })
      }),
    ),
  )

  it.effect("that is stopped while it waits after a failure takes nothing twice", () =>
    inFolder(() =>
      Effect.gen(function* () {
        let isBroken = true
        const half = tally({
          onTake: ({ position }) => {
            if (position === 2 && isBroken) throw new Error("half of them were taken")
          },
        })
        yield* note("one", 0, "a", "a", "a")
        yield* Effect.gen(function* () {
          yield* until(([one]) => one!.failures === 1)
          isBroken = false
        }).pipe(Effect.provide(projecting(half)))
        yield* Effect.provide(caughtUp, projecting(half))
        assert.deepStrictEqual(yield* tallied(), [row("a", 3)])
      }),
    ),
  )

  it.effect("saves early when what it took would be many rows", () =>
    inFolder(() =>
      Effect.gen(function* () {
        let saves = 0
        for (let n = 0; n < 10; n++)
          yield* note(`stream ${n}`, 0, ...Array.from({ length: 128 }, (_, i) => `text ${i}`))
        const counting = tally({ onSave: () => void saves++, rowsAtOnce: 2 })
        yield* Effect.provide(caughtUp, projecting(counting))
        assert.isAtLeast(saves, 10)
        assert.deepStrictEqual((yield* tallied()).length, 128)
        assert.isTrue((yield* tallied()).every(({ times }) => times === 10))
      }),
    ),
  )
})

describe("an async projection that has caught up", () => {
  it.effect("takes a commit as it is, and waits to save it until others share the transaction", () =>
    inFolder(() =>
      Effect.gen(function* () {
        const seen: Array<number> = []
        yield* note("one", 0, "a")
        yield* Effect.gen(function* () {
          yield* caughtUp
          yield* note("one", 1, "a", "b")
          assert.deepStrictEqual(seen, [1, 2, 3])
          assert.deepInclude((yield* statusOf)[0]!, { position: 1, lag: 2 })
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 2), row("b", 1)])
        }).pipe(Effect.provide(projecting(tally({ onTake: ({ position }) => seen.push(position) }))))
      }),
    ),
  )

  it.effect("leaves a commit that is large to be read in portions", () =>
    inFolder(() =>
      Effect.gen(function* () {
        let taken = 0
        yield* note("one", 0, "a")
        yield* Effect.gen(function* () {
          yield* caughtUp
          yield* note("two", 0, ...Array.from({ length: FOLLOWED_EVENTS_MAX + 1 }, () => "b"))
          yield* note("one", 1, "a")
          assert.strictEqual(taken, 1)
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 2), row("b", FOLLOWED_EVENTS_MAX + 1)])
        }).pipe(Effect.provide(projecting(tally({ onTake: () => taken++ }))))
      }),
    ),
  )

  it.effect("takes a commit anew that it could take in part only, and fails nobody's append", () =>
    inFolder(() =>
      Effect.gen(function* () {
        let isBroken = true
        const half = tally({
          onTake: ({ position }) => {
            if (position !== 3 || !isBroken) return
            isBroken = false
            throw new Error("half of them were taken")
          },
        })
        yield* note("one", 0, "a")
        yield* Effect.gen(function* () {
          yield* caughtUp
          yield* note("one", 1, "a", "a", "a")
          yield* note("one", 4, "a")
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 5)])
        }).pipe(Effect.provide(projecting(half)))
      }),
    ),
  )

  it.effect("saves what is committed while it waits for its transaction, and does not count it again", () =>
    inFolder(() =>
      Effect.gen(function* () {
        const { writeLock } = yield* SqliteClient
        yield* note("one", 0, "a")
        yield* Effect.gen(function* () {
          yield* caughtUp
          yield* note("one", 1, "a")
          const lock = yield* Latch.make()
          const holder = yield* Effect.forkChild(writeLock.withPermit(lock.await))
          yield* settle
          // Both wait for the lock now, the commit before the save.
          const commit = yield* Effect.forkChild(note("one", 2, "a"))
          yield* advance("1 second")
          yield* lock.open
          yield* Fiber.join(holder)
          yield* Fiber.join(commit)
          yield* settle
          assert.deepInclude((yield* statusOf)[0]!, { position: 3, lag: 0 })
        }).pipe(Effect.provide(projecting(tally())))
        yield* Effect.provide(caughtUp, projecting(tally()))
        assert.deepStrictEqual(yield* tallied(), [row("a", 3)])
      }),
    ),
  )

  it.effect("leaves what is committed after a failure to be read, also where it had missed nothing", () =>
    inFolder(() =>
      Effect.gen(function* () {
        const { writer } = yield* SqliteClient
        yield* note("one", 0, "a")
        yield* Effect.provide(caughtUp, projecting(tally()))
        yield* Effect.gen(function* () {
          // What it reads first, to see how far the journal is.
          writer.exec("ALTER TABLE archived RENAME TO away")
          yield* until(([one]) => one!.failures === 1)
          yield* note("one", 1, "b")
          writer.exec("ALTER TABLE away RENAME TO archived")
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 1), row("b", 1)])
        }).pipe(Effect.provide(projecting(tally())))
      }),
    ),
  )

  it.effect("makes commits wait for few look-ups, and reads where there would be many", () =>
    inFolder(() =>
      Effect.gen(function* () {
        const seen: Array<number> = []
        const forgetful = tally({ onTake: ({ position }) => seen.push(position) })
        const looking: AsyncProjection = {
          ...forgetful,
          take: (events, earlier) => {
            for (const { stream, version } of events) for (let n = 0; n < 40; n++) earlier(stream, version)
            forgetful.take(events, earlier)
          },
        }
        yield* note("one", 0, "a")
        yield* Effect.gen(function* () {
          yield* caughtUp
          yield* note("one", 1, "a")
          yield* note("one", 2, "a")
          yield* note("one", 3, "a")
          assert.deepStrictEqual(seen, [1, 2])
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 4)])
        }).pipe(Effect.provide(projecting(looking)))
      }),
    ),
  )

  it.effect("counts everything once, whatever fails and whenever it is stopped", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 40 }), (steps) =>
          Effect.runPromise(
            inFolder(() => countsAll(steps)).pipe(
              Effect.provide(TestClock.layer()),
              Effect.provideService(References.MinimumLogLevel, "None"),
            ),
          ),
        ),
        { numRuns: 40 },
      ),
    ),
  )
})

type Step =
  | { readonly do: "note"; readonly texts: ReadonlyArray<string> }
  | { readonly do: "wait" | "restart" | "failTake" | "failSave" }

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      do: fc.constant("note" as const),
      texts: fc.array(fc.constantFrom("a", "b", "c"), { minLength: 1, maxLength: 3 }),
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constantFrom("wait" as const, "restart" as const, "failTake" as const, "failSave" as const),
    }),
  },
)

/** Goes through the steps, the projector starting anew at each restart, and compares its rows with what was noted. */
const countsAll = (steps: ReadonlyArray<Step>) =>
  Effect.gen(function* () {
    const expected = new Map<string, number>()
    let version = 0
    /** Events from now on until one cannot be taken. */
    let takesLeft = Number.POSITIVE_INFINITY
    let failsToSave = false
    const projection = () =>
      tally({
        onTake: () => {
          if (--takesLeft > 0) return
          takesLeft = Number.POSITIVE_INFINITY
          throw new Error("not taken")
        },
        onSave: () => {
          if (!failsToSave) return
          failsToSave = false
          throw new Error("not saved")
        },
      })
    const go = Effect.fnUntraced(function* (each: Step) {
      if (each.do === "wait") yield* advance("1 second")
      else if (each.do === "failTake") takesLeft = 2
      else if (each.do === "failSave") failsToSave = true
      else if (each.do === "note") {
        yield* note("one", version, ...each.texts)
        version += each.texts.length
        for (const text of each.texts) expected.set(text, (expected.get(text) ?? 0) + 1)
      }
    })
    for (const life of livesOf(steps))
      yield* Effect.forEach(life, go, { discard: true }).pipe(Effect.provide(projecting(projection())))
    takesLeft = Number.POSITIVE_INFINITY
    failsToSave = false
    yield* note("one", version, "end")
    yield* Effect.provide(caughtUp, projecting(projection()))
    const wanted = [...expected, ["end", 1] as const].map(([text, times]) => row(text, times))
    assert.sameDeepMembers(yield* tallied(), wanted)
  })

const livesOf = (steps: ReadonlyArray<Step>): ReadonlyArray<ReadonlyArray<Step>> => {
  const lives: Array<Array<Step>> = [[]]
  for (const each of steps)
    if (each.do === "restart") lives.push([])
    else lives.at(-1)!.push(each)
  return lives
}

describe("an async projection and the archive", () => {
  it.effect("nothing leaves before it has been seen, and what has left stays counted", () =>
    inFolder(() =>
      Effect.gen(function* () {
        yield* note("one", 0, "a", "b")
        yield* Effect.gen(function* () {
          const early = yield* move("one")
          assert.deepInclude(early, { streams: 0, stayed: 1, compressedBytes: 0 })
          yield* caughtUp
          assert.deepInclude(yield* move("one"), { streams: 1, stayed: 0 })
          yield* note("two", 0, "a")
          yield* caughtUp
          assert.deepStrictEqual(yield* tallied(), [row("a", 2), row("b", 1)])
        }).pipe(Effect.provide(projecting(tally())))
      }),
    ),
  )

  it.effect("one that begins late takes what has left first, and a stream once that is in both files", () =>
    inFolder((folder) =>
      Effect.gen(function* () {
        yield* note("one", 0, "a", "b")
        yield* note("two", 0, "b")
        yield* note("three", 0, "c")
        yield* move("one", "three")
        // A move that a crash has left undone: the archive has a copy of what the journal still has.
        const { reader } = yield* SqliteClient
        const events = reader
          .prepare(`SELECT ${EVENT_COLUMNS.join(", ")} FROM events WHERE stream = 'two'`)
          .all() as Array<EventRow>
        const archive = new Archive(filesIn(folder).archive)
        archive.add(
          { streams: 2, events: 3, lastPosition: 4, lastStream: "two" },
          [{ stream: "two", events }],
          AT,
        )
        archive.close()
        yield* Effect.provide(caughtUp, projecting(tally()))
        assert.deepStrictEqual(yield* tallied(), [row("a", 1), row("b", 2), row("c", 1)])
        assert.deepInclude(yield* move("two"), { streams: 1 })
        yield* note("four", 0, "d")
        yield* Effect.provide(caughtUp, projecting(tally()))
        assert.deepStrictEqual(yield* tallied(), [row("a", 1), row("b", 2), row("c", 1), row("d", 1)])
      }),
    ),
  )

  it.effect("waits for an archive that is not there, instead of counting without it", () =>
    Effect.gen(function* () {
      const folder = yield* temporaryFolder
      const { archive } = filesIn(folder)
      yield* Effect.gen(function* () {
        yield* note("one", 0, "a")
        yield* note("two", 0, "b")
        yield* move("one")
      }).pipe(Effect.provide(journalIn(folder)))
      // As if the disk with it were not mounted.
      renameSync(archive, `${archive}.away`)
      yield* Effect.gen(function* () {
        yield* until(([one]) => one!.failures > 0)
        assert.strictEqual((yield* statusOf)[0]!.position, 0)
        renameSync(`${archive}.away`, archive)
        yield* caughtUp
        assert.deepStrictEqual(yield* tallied(), [row("a", 1), row("b", 1)])
      }).pipe(Effect.provide(projecting(tally())), Effect.provide(journalIn(folder)))
    }).pipe(Effect.scoped),
  )

  it.effect("a database on which none ever ran archives as before", () =>
    inFolder(() =>
      Effect.gen(function* () {
        yield* note("one", 0, "a")
        assert.deepInclude(yield* move("one"), { streams: 1, stayed: 0 })
      }),
    ),
  )
})
