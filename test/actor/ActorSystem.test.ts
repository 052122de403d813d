import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import {
  ACTOR_MAILBOX_CAPACITY,
  ActorSystem,
  DEFECT_WINDOW_MS,
  DEFECTS_MAX,
  PASSIVATE_AFTER_MS,
  QUARANTINE_MS,
} from "../../src/actor/ActorSystem.ts"
import { SnapshotStore } from "../../src/actor/SnapshotStore.ts"
import { Journal } from "../../src/journal/Journal.ts"
import { SqliteClient } from "../../src/sqlite/SqliteClient.ts"
import { fillDisk, freeDisk } from "../support/FullDisk.ts"
import { forAll } from "../support/Property.ts"
import { inMemory, onFile } from "../support/TestDatabase.ts"
import { advance, settle } from "../support/Turns.ts"
import { account, accountJournal, accounts, added, CreditBehavior } from "./CreditAccount.ts"

const live = accounts().pipe(Layer.provideMerge(accountJournal(onFile)))
const inMemoryJournal = accountJournal(inMemory)

const streamOf = (id: string) => Effect.flatMap(Journal, (journal) => journal.readStream(id))

const outcomeOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, {
    onSuccess: (answer): unknown => answer,
    onFailure: (error) =>
      error._tag === "JournalError"
        ? (error as unknown as { reason: { _tag: string } }).reason._tag
        : error._tag,
  })

/** Fails unexpectedly, and swallows it. */
const breakOnce = (id: string) =>
  Effect.gen(function* () {
    const exit = yield* Effect.exit((yield* account(id)).Break())
    return Exit.isFailure(exit) ? String(exit.cause) : "ok"
  })

describe("an actor", () => {
  it.effect("answers once what it decided is in the journal", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      expect(yield* one.Add({ amount: 10 }, { principal: "user_1" })).toBe(10)
      expect(yield* one.Deduct({ amount: 4, reference: "r1" })).toBe(6)
      const events = yield* streamOf("acc_1")
      expect(events.map(({ version, event }) => [version, event])).toEqual([
        [1, added(10)],
        [2, { _tag: "CreditsDeducted", amount: 4, reference: "r1" }],
      ])
      expect(events[0]!.metadata).toEqual({ principal: "user_1" })
    }).pipe(Effect.provide(live)),
  )

  it.effect("appends what concurrent commands decide in their order, and once", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      const answers = yield* Effect.forEach(
        Array.from({ length: 200 }, (_, i) => i + 1),
        (amount) => one.Add({ amount }),
        { concurrency: "unbounded" },
      )
      let sum = 0
      expect(answers).toEqual(Array.from({ length: 200 }, (_, i) => (sum += i + 1)))
      const events = yield* streamOf("acc_1")
      expect(events.map(({ event }) => event)).toEqual(Array.from({ length: 200 }, (_, i) => added(i + 1)))
      expect(events.map(({ version }) => version)).toEqual(events.map((_, i) => i + 1))
    }).pipe(Effect.provide(live)),
  )

  it.effect("never spends twice what it has, however many try at once", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      yield* one.Add({ amount: 10 })
      const outcomes = yield* Effect.forEach(
        Array.from({ length: 50 }, (_, i) => `r${i}`),
        (reference) => outcomeOf(one.Deduct({ amount: 1, reference })),
        { concurrency: "unbounded" },
      )
      expect(outcomes.filter((outcome) => outcome === "InsufficientCredits")).toHaveLength(40)
      expect((yield* one.Get()).balance).toBe(0)
    }).pipe(Effect.provide(live)),
  )

  it.effect("appends nothing for a refused command", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      expect(yield* Effect.flip(one.Deduct({ amount: 1, reference: "r" }))).toMatchObject({
        _tag: "InsufficientCredits",
        balance: 0,
      })
      expect(yield* streamOf("acc_1")).toEqual([])
    }).pipe(Effect.provide(live)),
  )

  it.effect("keeps its neighbours' streams apart", () =>
    Effect.gen(function* () {
      const ids = Array.from({ length: 20 }, (_, i) => `acc_${i}`)
      yield* Effect.forEach(ids, (id, i) => Effect.flatMap(account(id), (one) => one.Add({ amount: i })), {
        concurrency: "unbounded",
      })
      const balances = yield* Effect.forEach(ids, (id) => Effect.flatMap(account(id), (one) => one.Get()))
      expect(balances.map(({ balance }) => balance)).toEqual(ids.map((_, i) => i))
    }).pipe(Effect.provide(live)),
  )

  it.effect("says so when its mailbox is full, and handles everything it took", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      const outcomes = yield* Effect.forEach(
        Array.from({ length: ACTOR_MAILBOX_CAPACITY + 500 }),
        () => outcomeOf(one.Add({ amount: 1 })),
        { concurrency: "unbounded" },
      )
      const refused = outcomes.filter((outcome) => outcome === "MailboxFull").length
      expect(refused).toBeGreaterThan(0)
      const taken = outcomes.length - refused
      expect(taken).toBeGreaterThanOrEqual(ACTOR_MAILBOX_CAPACITY)
      expect((yield* one.Get()).balance).toBe(taken)
      expect(yield* streamOf("acc_1")).toHaveLength(taken)
    }).pipe(Effect.provide(live)),
  )

  it.effect("forgets what a failed append has decided", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      yield* one.Add({ amount: 1 })
      yield* fillDisk
      expect(yield* outcomeOf(one.Add({ amount: 100 }))).toBe("StoreFull")
      expect((yield* one.Get()).balance).toBe(1)
      expect(yield* outcomeOf(one.Deduct({ amount: 50, reference: "r" }))).toBe("InsufficientCredits")
      yield* freeDisk
      expect(yield* outcomeOf(one.Add({ amount: 10 }))).toBe(11)
      expect((yield* streamOf("acc_1")).map(({ version }) => version)).toEqual([1, 2])
    }).pipe(Effect.provide(live)),
  )

  it.effect("refuses nobody because of something that was not stored", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      yield* one.Add({ amount: 1 })
      yield* fillDisk
      const outcomes = yield* Effect.all(
        [
          outcomeOf(one.Deduct({ amount: 5, reference: "too much anyway" })),
          outcomeOf(one.Close()),
          outcomeOf(one.Add({ amount: 1 })),
          outcomeOf(one.Get()),
        ],
        { concurrency: "unbounded" },
      )
      expect(outcomes).toEqual(["InsufficientCredits", "StoreFull", "StoreFull", "StoreFull"])
      yield* freeDisk
      expect(yield* outcomeOf(one.Add({ amount: 1 }))).toBe(2)
    }).pipe(Effect.provide(live)),
  )

  it.effect(
    "starts anew from the journal after a defect, and the others of the batch are none the wiser",
    () =>
      Effect.gen(function* () {
        const one = yield* account("acc_1")
        const outcomes = yield* Effect.all(
          [outcomeOf(one.Add({ amount: 1 })), breakOnce("acc_1"), outcomeOf(one.Add({ amount: 2 }))],
          { concurrency: "unbounded" },
        )
        expect(outcomes[0]).toBe(1)
        expect(outcomes[1]).toContain("broken on purpose")
        expect(outcomes[2]).toBe(3)
        expect((yield* streamOf("acc_1")).map(({ event }) => event)).toEqual([added(1), added(2)])
      }).pipe(Effect.provide(live)),
  )

  it.effect("goes into quarantine after repeated defects, alone, and comes out again", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      yield* one.Add({ amount: 1 })
      for (let i = 0; i < DEFECTS_MAX; i++) expect(yield* breakOnce("acc_1")).toContain("broken on purpose")
      expect(yield* outcomeOf(one.Get())).toBe("Quarantined")
      expect(yield* outcomeOf((yield* account("acc_2")).Add({ amount: 1 }))).toBe(1)
      yield* advance(QUARANTINE_MS - 1)
      expect(yield* outcomeOf(one.Get())).toBe("Quarantined")
      yield* advance(1)
      expect(yield* outcomeOf(one.Add({ amount: 1 }))).toBe(2)
    }).pipe(Effect.provide(live)),
  )

  it.effect("bears defects that are far apart", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 2 * DEFECTS_MAX; i++) {
        yield* breakOnce("acc_1")
        yield* advance(DEFECT_WINDOW_MS)
      }
      expect(yield* outcomeOf((yield* account("acc_1")).Add({ amount: 1 }))).toBe(1)
    }).pipe(Effect.provide(live)),
  )

  it.effect("that cannot be loaded goes into quarantine too", () =>
    Effect.gen(function* () {
      const journal = yield* Journal
      yield* journal.append(
        [{ stream: "acc_1", expectedVersion: 0, events: [{ _tag: "AccountPoisoned" }] }],
        0,
      )
      const one = yield* account("acc_1")
      for (let i = 0; i < DEFECTS_MAX; i++) {
        expect(String(yield* Effect.exit(one.Get()))).toContain("poisoned on purpose")
      }
      expect(yield* outcomeOf(one.Get())).toBe("Quarantined")
    }).pipe(Effect.provide(live)),
  )

  it.effect("decides a command whose sender has gone", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      yield* Fiber.interrupt(yield* Effect.forkChild(one.Add({ amount: 1 }), { startImmediately: true }))
      expect(yield* one.Add({ amount: 1 })).toBe(2)
    }).pipe(Effect.provide(live)),
  )

  it.effect("answers what it was asked before the end, and nobody waits for ever", () =>
    Effect.gen(function* () {
      const scope = yield* Scope.make()
      const context = yield* Layer.buildWithScope(live, scope)
      const one = yield* Effect.provide(account("acc_1"), context)
      const asked = yield* Effect.forkChild(one.Add({ amount: 1 }), { startImmediately: true })
      yield* Scope.close(scope, Exit.void)
      expect(yield* Fiber.join(asked)).toBe(1)
      expect(Exit.hasInterrupts(yield* Effect.exit(one.Add({ amount: 1 })))).toBe(true)
    }),
  )
})

describe("snapshots", () => {
  const snapshots = Effect.map(SqliteClient, ({ writer }) =>
    writer
      .prepareUncached("SELECT version, revision FROM snapshots")
      .all()
      .map((row) => [row["version"], row["revision"]]),
  )
  const execute = (sql: string) => Effect.map(SqliteClient, ({ writer }) => writer.exec(sql))

  it.effect("are kept every so many events", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      for (let i = 0; i < 9; i++) yield* one.Add({ amount: 1 })
      yield* settle
      expect(yield* snapshots).toEqual([])
      yield* one.Add({ amount: 1 })
      yield* settle
      expect(yield* snapshots).toEqual([[10, 1]])
    }).pipe(Effect.provide(accounts(10).pipe(Layer.provideMerge(accountJournal(onFile))))),
  )

  it.effect("save reading the events before them", () =>
    Effect.gen(function* () {
      yield* Effect.gen(function* () {
        const one = yield* account("acc_1")
        for (let i = 0; i < 4; i++) yield* one.Add({ amount: 1 })
      }).pipe(Effect.provide(accounts(4)))
      // A forged one shows that it is what the state is loaded from.
      yield* execute(
        `UPDATE snapshots SET state = '{"balance":1000,"closed":false,"references":[],"changedAt":0}'`,
      )
      const balance = Effect.gen(function* () {
        return yield* (yield* account("acc_1")).Add({ amount: 1 })
      }).pipe(Effect.provide(accounts(4)))
      expect(yield* balance).toBe(1_001)
      yield* execute("DELETE FROM snapshots")
      expect(yield* balance).toBe(6)
    }).pipe(Effect.provide(inMemoryJournal)),
  )

  it.effect.each([
    ["of another shape", "UPDATE snapshots SET revision = 2"],
    ["that is no JSON", "UPDATE snapshots SET state = '{'"],
    ["that does not fit the schema", `UPDATE snapshots SET state = '{"balance":"much"}'`],
    ["that is gone", "DELETE FROM snapshots"],
  ] as const)("one %s is left aside", ([, damage]) =>
    Effect.gen(function* () {
      const addTwo = Effect.gen(function* () {
        const one = yield* account("acc_1")
        yield* one.Add({ amount: 1 })
        return yield* one.Add({ amount: 1 })
      }).pipe(Effect.provide(accounts(2)))
      yield* addTwo
      expect(yield* snapshots).toEqual([[2, 1]])
      yield* execute(damage)
      expect(yield* addTwo).toBe(4)
    }).pipe(Effect.provide(inMemoryJournal)),
  )

  it.effect("wait for a transaction of the SqlClient instead of holding up the process", () =>
    Effect.gen(function* () {
      const sql = yield* SqlClient.SqlClient
      const store = yield* SnapshotStore
      const inside = yield* Deferred.make<void>()
      const finish = yield* Deferred.make<void>()
      const transaction = yield* Effect.forkChild(
        sql.withTransaction(
          sql`CREATE TABLE other (n INTEGER) STRICT`.pipe(
            Effect.andThen(Deferred.succeed(inside, undefined)),
            Effect.andThen(Deferred.await(finish)),
          ),
        ),
      )
      yield* Deferred.await(inside)
      const saved = yield* Effect.forkChild(store.save("acc_1", 1, { version: 2, state: {} }))
      yield* settle
      expect(saved.pollUnsafe()).toBeUndefined()
      yield* Deferred.succeed(finish, undefined)
      yield* Fiber.join(transaction)
      yield* Fiber.join(saved)
      expect(yield* store.load("acc_1", 1)).toEqual({ version: 2, state: {} })
      expect(yield* store.load("acc_1", 2)).toBeUndefined()
    }).pipe(Effect.provide(SnapshotStore.layer.pipe(Layer.provideMerge(onFile)))),
  )

  const step = fc.oneof(
    {
      weight: 8,
      arbitrary: fc.record({ do: fc.constant("add" as const), amount: fc.integer({ min: 0, max: 50 }) }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("deduct" as const),
        amount: fc.integer({ min: 0, max: 50 }),
        reference: fc.constantFrom("r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"),
      }),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("break" as const) }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("forget snapshots" as const) }) },
  )

  const isBearable = (steps: ReadonlyArray<{ readonly do: string }>) =>
    steps.filter((next) => next.do === "break").length < DEFECTS_MAX

  it.effect("snapshot and tail give the same state as a full replay, whenever snapshots vanish", () =>
    forAll(
      fc.record({
        every: fc.integer({ min: 1, max: 7 }),
        lives: fc.array(fc.array(step, { maxLength: 25 }).filter(isBearable), { minLength: 1, maxLength: 4 }),
      }),
      ({ every, lives }) =>
        Effect.gen(function* () {
          const journal = yield* Journal
          for (const steps of lives) {
            const state = yield* Effect.gen(function* () {
              const one = yield* account("acc_1")
              for (const next of steps) {
                if (next.do === "add") yield* one.Add({ amount: next.amount })
                else if (next.do === "deduct") yield* Effect.exit(one.Deduct(next))
                else if (next.do === "break") yield* breakOnce("acc_1")
                else yield* execute("DELETE FROM snapshots")
              }
              return yield* one.Get()
            }).pipe(Effect.provide(accounts(every)))
            let replayed = CreditBehavior.initial
            for (const { event, recordedAt } of yield* journal.readStream("acc_1")) {
              replayed = CreditBehavior.evolve(replayed, event as ReturnType<typeof added>, recordedAt)
            }
            expect(state).toEqual(replayed)
          }
        }).pipe(Effect.provide(inMemoryJournal)),
      { runs: 60 },
    ),
  )
})

describe("passivation", () => {
  const resident = Effect.flatMap(ActorSystem, (system) => system.resident)

  it.effect("an actor that nobody asks leaves memory, and comes back as it was", () =>
    Effect.gen(function* () {
      const one = yield* account("acc_1")
      yield* one.Add({ amount: 7 })
      yield* advance(PASSIVATE_AFTER_MS - 1)
      expect(yield* resident).toBe(1)
      yield* advance(PASSIVATE_AFTER_MS)
      expect(yield* resident).toBe(0)
      expect(yield* one.Add({ amount: 1 })).toBe(8)
      expect(yield* resident).toBe(1)
    }).pipe(Effect.provide(live)),
  )

  it.effect("one that is asked now and then stays", () =>
    Effect.gen(function* () {
      const busy = yield* account("acc_busy")
      const idle = yield* account("acc_idle")
      yield* idle.Add({ amount: 1 })
      for (let i = 0; i < 5; i++) {
        yield* busy.Add({ amount: 1 })
        yield* advance(PASSIVATE_AFTER_MS / 2)
      }
      expect(yield* resident).toBe(1)
      expect(yield* busy.Add({ amount: 1 })).toBe(6)
    }).pipe(Effect.provide(live)),
  )

  it.effect("one in quarantine is kept until that is over", () =>
    Effect.gen(function* () {
      yield* TestClock.adjust("1 hour")
      for (let i = 0; i < DEFECTS_MAX; i++) yield* breakOnce("acc_1")
      const one = yield* account("acc_1")
      yield* advance(QUARANTINE_MS - 1)
      expect(yield* outcomeOf(one.Get())).toBe("Quarantined")
      yield* advance(2 * PASSIVATE_AFTER_MS)
      expect(yield* resident).toBe(0)
    }).pipe(Effect.provide(live)),
  )
})
