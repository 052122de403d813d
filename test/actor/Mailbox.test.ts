import { describe, expect, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, FiberSet, Latch } from "effect"
import { Mailbox } from "../../src/actor/Mailbox.ts"
import { settle } from "../support/Turns.ts"

const mailboxOf = Effect.fnUntraced(function* (
  capacity: number,
  handle: (batch: ReadonlyArray<number>) => Effect.Effect<void>,
) {
  const fibers = yield* FiberSet.make<void, never>()
  const fork = yield* FiberSet.runtime(fibers)()
  return new Mailbox<number>({ actor: "test", capacity, handle, fork: (effect) => void fork(effect) })
})

describe("a mailbox", () => {
  it.effect("hands over everything that is there in one batch, in order", () =>
    Effect.gen(function* () {
      const batches: Array<ReadonlyArray<number>> = []
      const mailbox = yield* mailboxOf(100, (batch) => Effect.sync(() => void batches.push(batch)))
      for (let i = 0; i < 10; i++) expect(mailbox.offer(i)).toBe(true)
      expect(mailbox.isIdle).toBe(false)
      yield* settle
      expect(batches).toEqual([[0, 1, 2, 3, 4, 5, 6, 7, 8, 9]])
      expect(mailbox.isIdle).toBe(true)
    }),
  )

  it.effect("handles one batch at a time", () =>
    Effect.gen(function* () {
      const gate = yield* Deferred.make<void>()
      const batches: Array<ReadonlyArray<number>> = []
      const mailbox = yield* mailboxOf(100, (batch) => {
        batches.push(batch)
        return Deferred.await(gate)
      })
      mailbox.offer(1)
      yield* settle
      mailbox.offer(2)
      mailbox.offer(3)
      yield* settle
      expect(batches).toEqual([[1]])
      yield* Deferred.succeed(gate, undefined)
      yield* settle
      expect(batches).toEqual([[1], [2, 3]])
    }),
  )

  it.effect("refuses what it cannot hold, and takes more once there is room", () =>
    Effect.gen(function* () {
      let handled = 0
      const mailbox = yield* mailboxOf(3, (batch) => Effect.sync(() => void (handled += batch.length)))
      expect([1, 2, 3, 4, 5].map((n) => mailbox.offer(n))).toEqual([true, true, true, false, false])
      expect(mailbox.size).toBe(3)
      expect(mailbox.full).toMatchObject({ _tag: "MailboxFull", actor: "test", capacity: 3 })
      yield* settle
      expect(handled).toBe(3)
      expect(mailbox.offer(6)).toBe(true)
    }),
  )

  it.effect("splits what is too much for one batch, and loses nothing", () =>
    Effect.gen(function* () {
      const sizes: Array<number> = []
      const seen: Array<number> = []
      const mailbox = yield* mailboxOf(5_000, (batch) =>
        Effect.sync(() => {
          sizes.push(batch.length)
          seen.push(...batch)
        }),
      )
      for (let i = 0; i < 2_500; i++) mailbox.offer(i)
      yield* settle
      expect(sizes).toEqual([1_024, 1_024, 452])
      expect(seen).toEqual(Array.from({ length: 2_500 }, (_, i) => i))
    }),
  )

  it.effect("that is closed takes nothing more, and is closed when all that it took is handled", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const gate = Latch.makeUnsafe(false)
      const mailbox = yield* mailboxOf(10, (batch) =>
        Effect.andThen(
          gate.await,
          Effect.sync(() => void seen.push(...batch)),
        ),
      )
      mailbox.offer(1)
      yield* settle
      mailbox.offer(2)
      const closing = yield* Effect.forkChild(mailbox.close, { startImmediately: true })
      expect(mailbox.offer(3)).toBe(false)
      yield* settle
      expect(closing.pollUnsafe()).toBeUndefined()
      yield* gate.open
      yield* Fiber.join(closing)
      expect(seen).toEqual([1, 2])
      // There is nothing to wait for the second time.
      yield* mailbox.close
    }),
  )

  it.effect("goes on with the next batch after one whose handling broke", () =>
    Effect.gen(function* () {
      const seen: Array<number> = []
      const mailbox = yield* mailboxOf(10, (batch) => {
        if (batch.includes(1)) {
          mailbox.offer(2)
          return Effect.die("broken on purpose")
        }
        return Effect.sync(() => void seen.push(...batch))
      })
      mailbox.offer(1)
      yield* settle
      expect(seen).toEqual([2])
      mailbox.offer(3)
      yield* settle
      expect(seen).toEqual([2, 3])
    }),
  )
})
