import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { streamsChangedBefore } from "../../src/actor/Recall.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { KeyedRequests } from "../../src/journal/KeyedRequests.ts"
import * as SqliteJournal from "../../src/journal/SqliteJournal.ts"
import type { KeyedRequest } from "../../src/security/KeyedRequest.ts"
import { as, firstRequest, requestAgain } from "../support/KeyedRequest.ts"
import { onFile } from "../support/TestDatabase.ts"
import { account, accounts, CreditAccount } from "./CreditAccount.ts"

const START = 1_700_000_000_000

const live = accounts().pipe(
  Layer.provideMerge(
    Layer.unwrap(
      Effect.map(KeyedRequests, ({ projection }) =>
        SqliteJournal.layer({ events: CreditAccount.events, projections: [projection] }),
      ),
    ),
  ),
  Layer.provideMerge(KeyedRequests.layer),
  Layer.provideMerge(onFile),
  Layer.provideMerge(Layer.effectDiscard(TestClock.setTime(START))),
)

const metadataOf = (request: KeyedRequest) => ({ principal: "key_1", keyed_request: request.id })

const add = (request: KeyedRequest, id: string, amount: number) =>
  Effect.flatMap(account(id), (one) => one.Add({ amount }, metadataOf(request)))

const deduct = (request: KeyedRequest, id: string, amount: number, reference: string) =>
  Effect.flatMap(account(id), (one) => one.Deduct({ amount, reference }, metadataOf(request)))

const balance = (id: string) =>
  Effect.flatMap(account(id), (one) => Effect.map(one.Get(), (state) => state.balance))

const outcome = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onSuccess: (answer): unknown => answer, onFailure: ({ _tag }) => _tag })

const versions = Effect.flatMap(Journal, (journal) => journal.head)

describe("a request that is carried out again", () => {
  it.effect("is answered as it was, at the moment of then, and appends nothing", () =>
    Effect.gen(function* () {
      const request = firstRequest("k", START)
      const work = (request: KeyedRequest) =>
        Effect.all([
          add(request, "acc_1", 10),
          deduct(request, "acc_1", 4, "r"),
          add(request, "acc_2", 1),
          add(request, "acc_1", 5),
          outcome(deduct(request, "acc_2", 9, "r")),
        ]).pipe(as(request))
      const answers = yield* work(request)
      assert.deepStrictEqual(answers, [10, 6, 1, 11, "InsufficientCredits"])
      const head = yield* versions
      yield* TestClock.adjust("1 hour")
      yield* Effect.flatMap(account("acc_1"), (one) => one.Add({ amount: 100 }))
      yield* Effect.flatMap(account("acc_2"), (one) => one.Close())
      assert.deepStrictEqual((yield* work(yield* requestAgain("k"))).slice(0, 4), [10, 6, 1, 11])
      assert.strictEqual(yield* versions, head + 2)
      assert.strictEqual(yield* balance("acc_1"), 111)
    }).pipe(Effect.provide(live)),
  )

  it.effect("does what it had not come to, once", () =>
    Effect.gen(function* () {
      const request = firstRequest("k", START)
      yield* as(request)(add(request, "acc_1", 10))
      for (let i = 0; i < 3; i++) {
        const again = yield* requestAgain("k")
        const work = Effect.all([add(again, "acc_1", 10), add(again, "acc_1", 3), add(again, "acc_2", 7)])
        assert.deepStrictEqual(yield* as(again)(work), [10, 13, 7])
      }
      assert.deepStrictEqual([yield* balance("acc_1"), yield* balance("acc_2")], [13, 7])
    }).pipe(Effect.provide(live)),
  )

  it.effect("reads and is refused as it was before it acted, and afterwards as everybody", () =>
    Effect.gen(function* () {
      yield* Effect.flatMap(account("acc_1"), (one) => one.Add({ amount: 10 }))
      const request = firstRequest("k", START)
      const work = (request: KeyedRequest) =>
        Effect.all([
          balance("acc_1"),
          outcome(deduct(request, "acc_1", 50, "much")),
          add(request, "acc_2", 1),
          balance("acc_1"),
        ]).pipe(as(request))
      assert.deepStrictEqual(yield* work(request), [10, "InsufficientCredits", 1, 10])
      yield* Effect.flatMap(account("acc_1"), (one) => one.Add({ amount: 90 }))
      assert.deepStrictEqual(yield* work(yield* requestAgain("k")), [10, "InsufficientCredits", 1, 100])
      assert.strictEqual(yield* balance("acc_1"), 100)
    }).pipe(Effect.provide(live)),
  )

  it.effect("that would do something else fails, and does nothing", () =>
    Effect.gen(function* () {
      const request = firstRequest("k", START)
      yield* as(request)(add(request, "acc_1", 10))
      const head = yield* versions
      const again = yield* requestAgain("k")
      const exit = yield* Effect.exit(as(again)(add(again, "acc_1", 11)))
      assert.isTrue(
        Exit.isFailure(exit) && exit.cause.reasons.every(({ _tag }) => _tag === "Die"),
        String(exit),
      )
      assert.strictEqual(yield* versions, head)
    }).pipe(Effect.provide(live)),
  )

  it.effect("knows which streams it had changed, in their order, however many events lie in between", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      const request = firstRequest("k", START)
      const others = Effect.forEach(
        Array.from({ length: 1_200 }, (_, i) => i),
        (i) => Effect.flatMap(account(`acc_other${i}`), (one) => one.Add({ amount: 1 })),
        { concurrency: "unbounded", discard: true },
      )
      yield* as(request)(add(request, "acc_b", 1))
      yield* others
      yield* as(request)(Effect.all([add(request, "acc_a", 1), add(request, "acc_b", 1)]))
      const again = yield* requestAgain("k")
      assert.deepStrictEqual(yield* as(again)(streamsChangedBefore(journal)), ["acc_b", "acc_a"])
      const fresh = firstRequest("f", START)
      assert.deepStrictEqual(yield* as(fresh)(streamsChangedBefore(journal)), [])
    }).pipe(Effect.provide(live)),
  )
})
