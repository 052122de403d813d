import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { KEY_LIFETIME_MS } from "../../src/http/Idempotency.ts"
import { IdempotencyRecords } from "../../src/http/IdempotencyRecords.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { KeyedRequests, SWEEP_MAX } from "../../src/journal/KeyedRequests.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import type { KeyedRequest } from "../../src/security/KeyedRequest.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { fillDisk, filler, freeDisk } from "../support/FullDisk.ts"
import { as, firstRequest, keyOf, requestAgain } from "../support/KeyedRequest.ts"
import { onFile } from "../support/TestDatabase.ts"
import { advance, settle } from "../support/Turns.ts"
import { AT, move, notes, rowsOf } from "./ArchiveFixture.ts"
import { noted, testEvents } from "./TestEvents.ts"

const store = Layer.unwrap(
  Effect.map(KeyedRequests, ({ projection }) =>
    SqliteJournal.layer({ events: [...testEvents, filler], projections: [notes(), projection] }),
  ),
).pipe(
  Layer.provideMerge(KeyedRequests.layer),
  Layer.provideMerge(onFile),
  Layer.provideMerge(Layer.effectDiscard(TestClock.setTime(AT))),
)

/** Appends notes to streams, as a request does. */
const append = (request: KeyedRequest, ...streams: ReadonlyArray<string>) =>
  Effect.flatMap(Journal, (journal) =>
    journal.append(
      streams.map((stream) => ({
        stream,
        expectedVersion: 0,
        events: [noted("one"), noted("two")],
        metadata: { principal: "key_1", keyed_request: request.id },
      })),
      AT,
    ),
  ).pipe(as(request))

const appendWithout = (stream: string) =>
  Effect.flatMap(Journal, (journal) =>
    journal.append(
      [{ stream, expectedVersion: 0, events: [noted("other")], metadata: { principal: "key_1" } }],
      AT,
    ),
  )

const find = (text: string) =>
  Effect.gen(function* () {
    const since = (yield* Clock.currentTimeMillis) - KEY_LIFETIME_MS
    return yield* (yield* IdempotencyRecords).find(keyOf(text), since)
  })

const keep = (request: KeyedRequest, answer: string | null) =>
  Effect.flatMap(IdempotencyRecords, ({ keep }) =>
    keep(request, answer === null ? null : request.sealAnswer(Buffer.from(answer))),
  )

const count = (where = "true") =>
  Effect.map(
    rowsOf(`SELECT count(*) AS n FROM keyed_requests WHERE ${where}`),
    ([row]) => row!["n"] as number,
  )

describe("the record of a request", () => {
  it.effect("commits with its events, and knows all of them", () =>
    Effect.gen(function* () {
      yield* appendWithout("other_1")
      const request = firstRequest("k", AT)
      yield* append(request, "note_1", "note_2")
      assert.deepInclude(yield* find("k"), {
        id: request.id,
        startedAt: AT,
        positions: { first: 2, last: 5, events: 4 },
      })
      yield* appendWithout("other_2")
      yield* append(request, "note_3")
      assert.deepStrictEqual((yield* find("k"))!.positions, { first: 2, last: 8, events: 6 })
      assert.strictEqual(yield* count(), 1)
    }).pipe(Effect.provide(store)),
  )

  it.effect("is not there when they are not: a conflict, a full disk", () =>
    Effect.gen(function* () {
      yield* appendWithout("taken")
      const refused = yield* Effect.flip(append(firstRequest("k", AT), "fresh", "taken"))
      assert.strictEqual(refused.reason._tag, "VersionConflict")
      assert.isUndefined(yield* find("k"))
      yield* fillDisk
      const full = yield* Effect.flip(append(firstRequest("k", AT), "fresh"))
      assert.strictEqual(full.reason._tag, "StoreFull")
      yield* freeDisk
      assert.isUndefined(yield* find("k"))
      assert.strictEqual((yield* append(firstRequest("k", AT), "fresh")).length, 2)
      assert.isDefined(yield* find("k"))
    }).pipe(Effect.provide(store)),
  )

  it.effect("is apart from those of other requests in the same commit, and from events without one", () =>
    Effect.gen(function* () {
      const [one, two] = [firstRequest("1", AT), firstRequest("2", AT)]
      yield* Effect.all([append(one, "a_1"), appendWithout("b_1"), append(two, "c_1"), append(one, "d_1")], {
        concurrency: "unbounded",
      })
      const first = (yield* find("1"))!.positions!
      const second = (yield* find("2"))!.positions!
      assert.deepStrictEqual([first.events, second.events], [4, 2])
      assert.strictEqual(yield* count(), 2)
    }).pipe(Effect.provide(store)),
  )

  it.effect("keeps the answer instead of what it takes to carry the request out again", () =>
    Effect.gen(function* () {
      const request = firstRequest("k", AT)
      yield* append(request, "note_1")
      assert.strictEqual((yield* find("k"))!.sealed._tag, "Seed")
      yield* keep(request, "the answer")
      const kept = (yield* find("k"))!
      assert.strictEqual(kept.sealed._tag, "Answer")
      assert.deepStrictEqual(kept.positions, { first: 1, last: 2, events: 2 })
      assert.strictEqual(yield* count("seed IS NULL"), 1)
      const none = firstRequest("none", AT)
      yield* keep(none, "no events")
      assert.deepInclude(yield* find("none"), { id: none.id, positions: null })
      const large = firstRequest("large", AT)
      yield* keep(large, null)
      assert.strictEqual((yield* find("large"))!.sealed._tag, "Seed")
    }).pipe(Effect.provide(store)),
  )

  it.effect(
    "counts for 24 hours; then the key is free, and nothing of the old request is left in the new one's",
    () =>
      Effect.gen(function* () {
        const request = firstRequest("k", AT)
        yield* append(request, "note_1")
        yield* keep(request, "old")
        yield* TestClock.adjust(KEY_LIFETIME_MS - 1)
        assert.isDefined(yield* find("k"))
        yield* TestClock.adjust(1)
        assert.isUndefined(yield* find("k"))
        const next = firstRequest("k", AT + KEY_LIFETIME_MS)
        yield* append(next, "note_2")
        const kept = (yield* find("k"))!
        assert.deepInclude(kept, { id: next.id, positions: { first: 3, last: 4, events: 2 } })
        assert.strictEqual(kept.sealed._tag, "Seed")
        assert.deepStrictEqual((yield* requestAgain("k")).randomBytes(8), next.randomBytes(8))
        assert.strictEqual(yield* count(), 1)
      }).pipe(Effect.provide(store)),
  )

  it.effect("goes after 24 hours, a portion a transaction, and younger ones stay", () =>
    Effect.gen(function* () {
      const { writer } = yield* SqliteClient
      const insert = (prefix: string, rows: number, at: number) =>
        writer.exec(`WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${rows})
          INSERT INTO keyed_requests (key, id, fingerprint, started_at, events)
            SELECT CAST('${prefix}' || i AS BLOB), '${prefix}' || i, x'', ${at}, 0 FROM n`)
      insert("old", 2 * SWEEP_MAX + 10, AT)
      insert("young", 10, AT + 60_000)
      yield* TestClock.adjust(KEY_LIFETIME_MS - 1)
      yield* settle
      assert.strictEqual(yield* count(), 2 * SWEEP_MAX + 20, "nothing goes too soon")
      const portions: Array<number> = []
      // Each portion leaves the lock to others for a moment.
      for (let left = 2 * SWEEP_MAX + 10; left > 0;) {
        yield* advance(1)
        const now = yield* count(`started_at = ${AT}`)
        if (now < left) portions.push(left - now)
        left = now
      }
      assert.deepStrictEqual(portions, [SWEEP_MAX, SWEEP_MAX, 10])
      assert.strictEqual(yield* count(), 10)
    }).pipe(Effect.provide(store)),
  )

  it.effect("keeps the streams of a request that may be carried out again from leaving for the archive", () =>
    Effect.gen(function* () {
      const request = firstRequest("k", AT)
      yield* append(request, "note_1")
      yield* appendWithout("note_2")
      assert.deepInclude(yield* move("note_1", "note_2"), { streams: 1, stayed: 1 })
      yield* keep(request, "the answer")
      assert.deepInclude(yield* move("note_1"), { streams: 1, stayed: 0 })
    }).pipe(Effect.provide(store)),
  )

  it.effect("takes an answer along with an append, and keeps it when that append is refused", () =>
    Effect.gen(function* () {
      yield* appendWithout("taken")
      const [answered, other] = [firstRequest("answered", AT), firstRequest("other", AT)]
      const [, refused] = yield* Effect.all(
        [keep(answered, "one"), Effect.flip(appendWithout("taken")), append(other, "fresh")],
        { concurrency: "unbounded" },
      )
      assert.strictEqual(refused.reason._tag, "VersionConflict")
      assert.strictEqual((yield* find("answered"))!.sealed._tag, "Answer")
      assert.deepInclude(yield* find("other"), { positions: { first: 2, last: 3, events: 2 } })
    }).pipe(Effect.provide(store)),
  )

  it.effect("is not written, and its request is answered all the same, when the disk is full", () =>
    Effect.gen(function* () {
      const request = firstRequest("k", AT)
      yield* append(request, "note_1")
      yield* fillDisk
      yield* keep(request, "x".repeat(60_000))
      yield* freeDisk
      assert.strictEqual((yield* find("k"))!.sealed._tag, "Seed")
    }).pipe(Effect.provide(store)),
  )
})
