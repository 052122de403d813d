/** What every implementation of the journal promises. The layer's catalogue must hold `testEvents`. */
import { describe, expect, it } from "@effect/vitest"
import { Effect, Fiber, type Layer, Stream } from "effect"
import * as fc from "fast-check"
import { Journal, type RecordedEvent, type StreamAppend } from "../../src/journal/Journal.ts"
import { forAll } from "../support/Property.ts"
import { settle } from "../support/Turns.ts"
import { noted } from "./TestEvents.ts"

const AT = 1_700_000_000_000

const append = (stream: string, expectedVersion: number, ...texts: ReadonlyArray<string>): StreamAppend => ({
  stream,
  expectedVersion,
  events: texts.map(noted),
})

const summary = ({ position, stream, version, event }: RecordedEvent) => [
  position,
  stream,
  version,
  (event as { text?: string }).text,
]

const everything = Effect.flatMap(Journal, (journal) => journal.readAll({ afterPosition: 0, limit: 10_000 }))

/** Appends that fibers try at once, some of them on versions that are out of date. */
const attempts = fc.array(
  fc.record({
    stream: fc.constantFrom("a", "b", "c"),
    events: fc.integer({ min: 1, max: 4 }),
    behind: fc.constantFrom(0, 0, 0, 1, -1),
    pause: fc.boolean(),
  }),
  { minLength: 1, maxLength: 30 },
)

export const journalSuite = (name: string, layer: Layer.Layer<Journal>) =>
  describe(`a journal ${name}`, () => {
    it.effect("gives events dense positions, and versions dense in their stream", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        expect(yield* journal.head).toBe(0)
        const first = yield* journal.append([append("a", 0, "1", "2"), append("b", 0, "3")], AT)
        expect(first.map(summary)).toEqual([
          [1, "a", 1, "1"],
          [2, "a", 2, "2"],
          [3, "b", 1, "3"],
        ])
        yield* journal.append([append("a", 2, "4")], AT + 1)
        expect(yield* journal.head).toBe(4)
        expect((yield* everything).map(summary)).toEqual([...first.map(summary), [4, "a", 3, "4"]])
        expect((yield* everything).map(({ recordedAt }) => recordedAt)).toEqual([AT, AT, AT, AT + 1])
      }).pipe(Effect.provide(layer)),
    )

    it.effect(
      "tells of a commit before the one who appended is answered, and only of what was committed",
      () =>
        Effect.gen(function* () {
          const journal = yield* Journal
          const order: Array<string> = []
          yield* Effect.scoped(
            Effect.gen(function* () {
              yield* journal.onCommit((events) => {
                order.push(`told ${events.map((event) => summary(event)[3]).join()}`)
              })
              const appended = (text: string, version: number) =>
                Effect.matchEffect(journal.append([append("a", version, text)], AT), {
                  onSuccess: () => Effect.sync(() => void order.push(`answered ${text}`)),
                  onFailure: () => Effect.sync(() => void order.push(`refused ${text}`)),
                })
              yield* appended("1", 0)
              yield* appended("2", 1)
              yield* appended("x", 7)
            }),
          )
          yield* journal.append([append("a", 2, "3")], AT)
          expect(order).toEqual(["told 1", "answered 1", "told 2", "answered 2", "refused x"])
        }).pipe(Effect.provide(layer)),
    )

    it.effect("keeps who and what caused an event", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const metadata = { principal: "user_1", traceparent: "00-a-b-01" }
        yield* journal.append([{ ...append("a", 0, "1"), metadata }, append("b", 0, "2")], AT)
        yield* journal.append([{ ...append("c", 0, "3"), metadata: {} }], AT)
        expect((yield* everything).map((event) => event.metadata)).toEqual([metadata, undefined, undefined])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("reads one stream after a version, and everything after a position", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.append([append("a", 0, "1", "2", "3"), append("b", 0, "4"), append("a", 3, "5")], AT)
        const texts = (events: ReadonlyArray<RecordedEvent>) => events.map((event) => summary(event)[3])
        expect(texts(yield* journal.readStream("a"))).toEqual(["1", "2", "3", "5"])
        expect(texts(yield* journal.readStream("a", { afterVersion: 2 }))).toEqual(["3", "5"])
        expect(texts(yield* journal.readStream("a", { afterVersion: 1, limit: 2 }))).toEqual(["2", "3"])
        expect(yield* journal.readStream("nobody")).toEqual([])
        expect(texts(yield* journal.readAll({ afterPosition: 1, limit: 3 }))).toEqual(["2", "3", "4"])
        expect(yield* journal.readAll({ afterPosition: 5, limit: 3 })).toEqual([])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("refuses an append to a version that is out of date, with all its streams", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.append([append("a", 0, "1")], AT)
        const error = yield* Effect.flip(journal.append([append("b", 0, "x"), append("a", 0, "x")], AT))
        expect(error.reason).toMatchObject({ _tag: "VersionConflict", stream: "a", expectedVersion: 0 })
        expect((yield* everything).map(summary)).toEqual([[1, "a", 1, "1"]])
        expect(yield* journal.head).toBe(1)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("refuses an append to a version that does not exist yet: streams have no gaps", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.append([append("a", 0, "1")], AT)
        for (const ahead of [append("a", 2, "x"), append("nobody", 1, "x")]) {
          const { reason } = yield* Effect.flip(journal.append([ahead], AT))
          expect(reason).toMatchObject({ _tag: "VersionConflict", expectedVersion: ahead.expectedVersion })
        }
        expect((yield* everything).map(summary)).toEqual([[1, "a", 1, "1"]])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("refuses an append that refers to a stream which is not there", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const to = (stream: string, ...requires: ReadonlyArray<string>) => ({
          ...append(stream, 0, "x"),
          requires,
        })
        yield* journal.append([append("a", 0, "1")], AT)
        yield* journal.append([append("b", 0, "2"), to("c", "a", "b")], AT)
        yield* journal.append([{ ...append("a", 1, "3"), requires: ["a", "c"] }], AT)
        const { reason } = yield* Effect.flip(journal.append([to("d", "a", "nobody")], AT))
        expect(reason).toMatchObject({ _tag: "VersionConflict", stream: "nobody" })
        // Nor one that comes only after it.
        expect(yield* Effect.flip(journal.append([to("e", "f"), append("f", 0, "x")], AT))).toBeDefined()
        expect((yield* everything).map(({ stream }) => stream)).toEqual(["a", "b", "c", "a"])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("fails a conflicting append alone; what was submitted with it succeeds", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        yield* journal.append([append("a", 0, "1")], AT)
        const outcomes = yield* Effect.all(
          [
            journal.append([append("b", 0, "2")], AT),
            journal.append([append("a", 0, "stale")], AT),
            journal.append([append("a", 1, "3")], AT),
            journal.append([append("a", 1, "loser")], AT),
            journal.append([append("a", 5, "ahead")], AT),
            journal.append([append("a", 2, "4"), append("b", 1, "5")], AT),
          ].map((effect) => Effect.match(effect, { onSuccess: () => "ok", onFailure: (e) => e.reason._tag })),
          { concurrency: "unbounded" },
        )
        expect(outcomes).toEqual(["ok", "VersionConflict", "ok", "VersionConflict", "VersionConflict", "ok"])
        expect((yield* everything).map(summary)).toEqual([
          [1, "a", 1, "1"],
          [2, "b", 1, "2"],
          [3, "a", 2, "3"],
          [4, "a", 3, "4"],
          [5, "b", 2, "5"],
        ])
      }).pipe(Effect.provide(layer)),
    )

    it.effect("appends to one stream several times within one append", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const recorded = yield* journal.append([append("a", 0, "1"), append("a", 1, "2", "3")], AT)
        expect(recorded.map(({ version }) => version)).toEqual([1, 2, 3])
        expect(yield* journal.readStream("a")).toEqual(recorded)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("takes an append without events for done", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        expect(yield* journal.append([], AT)).toEqual([])
        expect(yield* journal.append([append("a", 0)], AT)).toEqual([])
        expect(yield* journal.head).toBe(0)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("takes ten thousand events at once", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const texts = Array.from({ length: 10_000 }, (_, i) => String(i))
        const [recorded] = yield* Effect.all(
          [journal.append([append("a", 0, ...texts)], AT), journal.append([append("b", 0, "1")], AT)],
          { concurrency: "unbounded" },
        )
        expect(recorded).toHaveLength(10_000)
        expect(yield* journal.readStream("a")).toEqual(recorded)
        expect(yield* journal.head).toBe(10_001)
      }).pipe(Effect.provide(layer)),
    )

    it.effect("keeps positions and versions dense whatever is submitted at once", () =>
      forAll(
        attempts,
        (tries) =>
          Effect.gen(function* () {
            const journal = yield* Journal
            const versions = new Map<string, number>()
            yield* Effect.forEach(
              tries,
              ({ stream, events, behind, pause }) =>
                Effect.gen(function* () {
                  if (pause) yield* settle
                  const expected = Math.max(0, (versions.get(stream) ?? 0) - behind)
                  versions.set(stream, expected + events)
                  const texts = Array.from({ length: events }, () => "x")
                  const outcome = yield* Effect.exit(journal.append([append(stream, expected, ...texts)], AT))
                  if (outcome._tag === "Failure") {
                    versions.set(stream, (yield* journal.readStream(stream)).length)
                  }
                }),
              { concurrency: 5 },
            )
            const all = yield* everything
            expect(all.map(({ position }) => position)).toEqual(all.map((_, i) => i + 1))
            for (const [, events] of Map.groupBy(all, ({ stream }) => stream)) {
              expect(events.map(({ version }) => version)).toEqual(events.map((_, i) => i + 1))
            }
            expect(yield* journal.head).toBe(all.length)
          }).pipe(Effect.provide(layer)),
        { runs: 20 },
      ),
    )

    it.effect(
      "tells a subscriber every event after its position once and in order, whatever happens meanwhile",
      () =>
        forAll(
          fc.record({
            before: fc.integer({ min: 0, max: 300 }),
            after: fc.integer({ min: 0, max: 40 }),
            from: fc.integer({ min: 0, max: 300 }),
            writers: fc.integer({ min: 1, max: 3 }),
            paused: fc.boolean(),
          }),
          ({ before, after, from, writers, paused }) =>
            Effect.gen(function* () {
              const journal = yield* Journal
              const texts = (count: number) => Array.from({ length: count }, (_, i) => String(i))
              yield* journal.append([append("w0", 0, ...texts(before))], AT)
              const total = before + after * writers
              const start = Math.min(from, before)
              const all = yield* Effect.forkChild(
                Stream.runCollect(Stream.take(journal.subscribe({ afterPosition: start }), total - start)),
              )
              const one = yield* Effect.forkChild(
                Stream.runCollect(
                  Stream.take(journal.subscribeStream("w0", { afterVersion: start }), before + after - start),
                ),
              )
              yield* Effect.forEach(
                texts(writers),
                (_, writer) =>
                  Effect.gen(function* () {
                    const offset = writer === 0 ? before : 0
                    for (let i = 0; i < after; i++) {
                      if (paused && i % 7 === writer) yield* settle
                      yield* journal.append([append(`w${writer}`, offset + i, String(i))], AT)
                    }
                  }),
                { concurrency: "unbounded" },
              )
              const heard = yield* Fiber.join(all)
              expect(heard).toEqual(yield* journal.readAll({ afterPosition: start, limit: 10_000 }))
              expect(heard).toHaveLength(total - start)
              expect(yield* Fiber.join(one)).toEqual(yield* journal.readStream("w0", { afterVersion: start }))
            }).pipe(Effect.provide(layer)),
          { runs: 12 },
        ),
    )

    it.effect("lets every subscriber read at its own pace", () =>
      Effect.gen(function* () {
        const journal = yield* Journal
        const slow = yield* Effect.forkChild(
          journal.subscribe({ afterPosition: 0 }).pipe(
            Stream.tap(() => settle),
            Stream.take(5),
            Stream.runCollect,
          ),
        )
        const quick = yield* Effect.forkChild(Stream.runCollect(Stream.take(journal.subscribeStream("a"), 5)))
        for (let i = 0; i < 5; i++) yield* journal.append([append("a", i, String(i))], AT)
        expect((yield* Fiber.join(quick)).map(({ version }) => version)).toEqual([1, 2, 3, 4, 5])
        expect((yield* Fiber.join(slow)).map(({ position }) => position)).toEqual([1, 2, 3, 4, 5])
      }).pipe(Effect.provide(layer)),
    )
  })
