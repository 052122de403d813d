import { describe, expect, expectTypeOf, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Job from "../../src/jobs/Job.ts"
import { Queue } from "../../src/jobs/Queue.ts"
import { Retention } from "../../src/jobs/Retention.ts"
import * as RenderOwl from "../../src/RenderOwl.ts"

class OutOfStock extends Schema.TaggedError<OutOfStock>()("OutOfStock", {
  item: Schema.String,
  since: Schema.DateFromString,
  retryable: Schema.optionalKey(Schema.Boolean),
}) {}

const SINCE = new Date("2026-01-02T03:04:05.000Z")

/** Its payload says what becomes of it. */
const Order = Job.make("shop:order", {
  payload: Schema.Struct({
    outcome: Schema.Literals(["shipped", "out_of_stock", "discontinued", "throws", "hangs"]),
  }),
  success: Schema.Struct({ shipped_at: Schema.DateFromString }),
  error: OutOfStock,
  retry: { maxAttempts: 2, base: "1 second", jitter: false },
  timeout: "1 minute",
})

const OrderLive = Order.toLayer(({ outcome }) => {
  switch (outcome) {
    case "shipped":
      return Effect.succeed({ shipped_at: SINCE })
    case "out_of_stock":
      return Effect.fail(new OutOfStock({ item: "owl", since: SINCE }))
    case "discontinued":
      return Effect.fail(new OutOfStock({ item: "dodo", since: SINCE, retryable: false }))
    case "throws":
      return Effect.die(new TypeError("not a function"))
    case "hangs":
      return Effect.never
  }
})

/** The same type, as a later release has it. */
const LaterOrder = Job.make("shop:order", {
  success: Schema.Struct({ parcel: Schema.String }),
  error: Schema.Struct({ code: Schema.Int }),
})
const Refund = Job.make("shop:refund", {})

const shop = Layer.mergeAll(
  OrderLive,
  Refund.toLayer(() => Effect.void),
).pipe(Layer.provideMerge(RenderOwl.layerTest()))

/** Submits an order and lets it come to its end. */
const ordered = Effect.fnUntraced(function* (
  outcome: (typeof Order.payload.Type)["outcome"],
  options: Parameters<typeof Queue.enqueue>[2] = {},
) {
  const { id } = yield* Queue.enqueue(Order, { outcome }, options)
  yield* TestClock.adjust("10 minutes")
  return id
})

describe("awaiting a job", () => {
  it.effect("answers the value of its handler, as its type says it", () =>
    Effect.gen(function* () {
      const id = yield* ordered("shipped")
      const value = yield* Queue.await(Order, id)
      expectTypeOf(value).toEqualTypeOf<{ readonly shipped_at: Date }>()
      expect(value).toEqual({ shipped_at: SINCE })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("fails with the handler's own error when the job died of one", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(Queue.await(Order, yield* ordered("out_of_stock")))
      expect(error).toBeInstanceOf(OutOfStock)
      expect(error).toMatchObject({ item: "owl", since: SINCE })
      const final = yield* Effect.flip(Queue.await(Order, yield* ordered("discontinued")))
      expect(final).toMatchObject({ _tag: "OutOfStock", item: "dodo" })
      // By its tag, as every typed error.
      const caught = Queue.await(Order, yield* ordered("out_of_stock")).pipe(
        Effect.catchTag("OutOfStock", ({ item }) => Effect.succeed(item)),
      )
      expect(yield* caught).toBe("owl")
    }).pipe(Effect.provide(shop)),
  )

  it.effect("fails with how the job died when that was no error of its type", () =>
    Effect.gen(function* () {
      const thrown = yield* ordered("throws")
      expect(yield* Effect.flip(Queue.await(Order, thrown))).toMatchObject({
        _tag: "JobDied",
        id: thrown,
        reason: "attempts_used_up",
        attempts: 2,
        error: { name: "TypeError", message: "not a function" },
      })
      const late = yield* ordered("hangs", { maxAttempts: 1 })
      const error = yield* Effect.flip(Queue.await(Order, late))
      expect(error).toMatchObject({ _tag: "JobDied", attempts: 1, error: { name: "TimedOut" } })
      expect(error.message).toBe(
        `${late} died after 1 attempts (attempts_used_up): TimedOut: took longer than 60000 ms`,
      )
      // There was no time for the second attempt.
      const expired = yield* ordered("out_of_stock", { expiresIn: "500 millis" })
      expect(yield* Effect.flip(Queue.await(Order, expired))).toMatchObject({
        _tag: "JobDied",
        reason: "expired",
        error: { name: "OutOfStock" },
      })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("tells a job that was cancelled from one that was too late or lost what it depends on", () =>
    Effect.gen(function* () {
      const queue = yield* Queue
      const wanted = yield* Queue.enqueue(Order, { outcome: "hangs" })
      yield* queue.cancel(wanted.id, "changed my mind")
      const late = yield* ordered("shipped", { delay: "20 minutes" })
      yield* queue.pause("default")
      const expired = yield* ordered("shipped", { expiresIn: "1 minute" })
      yield* queue.resume("default")
      const dead = yield* ordered("throws")
      const orphan = yield* ordered("shipped", { dependsOn: [dead] })
      expect(yield* Effect.flip(Queue.await(Order, wanted.id))).toMatchObject({
        _tag: "JobWasCancelled",
        cause: null,
        reason: "changed my mind",
      })
      expect(yield* Effect.flip(Queue.await(Order, expired))).toMatchObject({ cause: "expired" })
      expect(yield* Effect.flip(Queue.await(Order, orphan))).toMatchObject({
        cause: "dependency_failed",
        reason: `${dead} ended as dead_letter`,
      })
      expect(yield* Queue.await(Order, late)).toEqual({ shipped_at: SINCE })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("is refused for a job that is not there, or is of another type", () =>
    Effect.gen(function* () {
      const none = "job_01h455vb4pex5vsknk084sn02q"
      expect(yield* Effect.flip(Queue.await(Order, none))).toMatchObject({ _tag: "JobNotFound", id: none })
      const { id } = yield* Queue.enqueue(Order, { outcome: "hangs" })
      expect(yield* Effect.flip(Queue.await(Refund, id))).toMatchObject({
        _tag: "WrongJobType",
        expected: "shop:refund",
        actual: "shop:order",
      })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("ends when its time is up, and the job goes on", () =>
    Effect.gen(function* () {
      const { id } = yield* Queue.enqueue(Order, { outcome: "shipped" }, { delay: "1 hour" })
      const impatient = yield* Effect.forkChild(
        Effect.flip(Queue.await(Order, id, { timeout: "30 minutes" })),
      )
      const patient = yield* Effect.forkChild(Queue.await(Order, id, { timeout: "2 hours" }))
      yield* TestClock.adjust("30 minutes")
      expect(yield* Fiber.join(impatient)).toMatchObject({ _tag: "JobStillRunning", id, waitedMs: 1_800_000 })
      yield* TestClock.adjust("30 minutes")
      expect(yield* Fiber.join(patient)).toEqual({ shipped_at: SINCE })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("says so when a later release cannot read what an earlier one has left", () =>
    Effect.gen(function* () {
      const shipped = yield* ordered("shipped")
      expect(yield* Effect.flip(Queue.await(LaterOrder, shipped))).toMatchObject({
        _tag: "ResultUnreadable",
        id: shipped,
      })
      const dead = yield* ordered("out_of_stock")
      expect(yield* Effect.flip(Queue.await(LaterOrder, dead))).toMatchObject({
        _tag: "JobDied",
        error: { name: "OutOfStock", data: { item: "owl" } },
      })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("answers what has become of a job that is in the archive", () =>
    Effect.gen(function* () {
      const shipped = yield* ordered("shipped")
      const late = yield* ordered("shipped", { delay: "1 day" })
      yield* (yield* Queue).cancel(late, "too late")
      yield* TestClock.adjust("1 hour")
      expect(yield* (yield* Retention).run({ olderThan: "1 minute" })).toMatchObject({ streams: 2 })
      expect(yield* Queue.await(Order, shipped)).toEqual({ shipped_at: SINCE })
      expect(yield* Effect.flip(Queue.await(Order, late))).toMatchObject({
        _tag: "JobWasCancelled",
        reason: "too late",
      })
    }).pipe(Effect.provide(OrderLive.pipe(Layer.provideMerge(RenderOwl.layerTest({ folder: true }))))),
  )

  it.effect("waits for the end after a redrive", () => {
    let isStocked = false
    const live = Order.toLayer(() =>
      isStocked
        ? Effect.succeed({ shipped_at: SINCE })
        : Effect.fail(new OutOfStock({ item: "owl", since: SINCE })),
    )
    return Effect.gen(function* () {
      const id = yield* ordered("shipped")
      expect(yield* Effect.flip(Queue.await(Order, id))).toMatchObject({ _tag: "OutOfStock" })
      isStocked = true
      yield* (yield* Queue).retry(id)
      expect(yield* Queue.await(Order, id)).toEqual({ shipped_at: SINCE })
    }).pipe(Effect.provide(Layer.provideMerge(live, RenderOwl.layerTest())))
  })
})

describe("nothing", () => {
  const Cleanup = Job.make("cleanup", {})
  const Find = Job.make("find", {
    payload: Schema.UndefinedOr(Schema.String),
    success: Schema.UndefinedOr(Schema.Int),
  })
  const Pick = Job.make("pick", { payload: Schema.NullOr(Schema.String), success: Schema.NullOr(Schema.Int) })
  const given: Array<unknown> = []
  const live = Layer.mergeAll(
    Cleanup.toLayer((payload) => Effect.sync(() => void given.push(payload))),
    Find.toLayer((what) => Effect.sync(() => (given.push(what), what?.length))),
    Pick.toLayer((what) => Effect.sync(() => (given.push(what), what === null ? null : what.length))),
  ).pipe(Layer.provideMerge(RenderOwl.layerTest()))

  it.effect("that a job is given or answers stays nothing, although JSON has none; and null stays null", () =>
    Effect.gen(function* () {
      expect(yield* Queue.run(Cleanup, undefined)).toBeUndefined()
      expect(yield* Queue.run(Find, undefined)).toBeUndefined()
      expect(yield* Queue.run(Find, "owl")).toBe(3)
      expect(yield* Queue.run(Pick, null)).toBeNull()
      // As clients say it over HTTP.
      const { id } = yield* (yield* Queue).submit({ type: "find", payload: null })
      expect(yield* Queue.await(Find, id)).toBeUndefined()
      expect(given).toEqual([undefined, undefined, "owl", null, undefined])
    }).pipe(Effect.provide(live)),
  )
})

describe("running a job", () => {
  it.effect("submits it and answers its value, or fails with whatever came in between", () =>
    Effect.gen(function* () {
      expect(yield* Queue.run(Order, { outcome: "shipped" })).toEqual({ shipped_at: SINCE })
      expect(yield* Effect.flip(Queue.run(Order, { outcome: "discontinued" }))).toMatchObject({
        item: "dodo",
      })
      yield* (yield* Queue).drain("default")
      expect(yield* Effect.flip(Queue.run(Order, { outcome: "shipped" }))).toMatchObject({
        _tag: "QueueDraining",
      })
    }).pipe(Effect.provide(shop)),
  )

  it.effect("leaves it alone when the caller goes away", () =>
    Effect.gen(function* () {
      const caller = yield* Effect.forkChild(
        Queue.run(Order, { outcome: "shipped" }, { id: "job_01h455vb4pex5vsknk084sn02q", delay: "1 hour" }),
      )
      yield* TestClock.adjust("1 minute")
      yield* Fiber.interrupt(caller)
      yield* TestClock.adjust("1 hour")
      expect(yield* Queue.await(Order, "job_01h455vb4pex5vsknk084sn02q")).toEqual({ shipped_at: SINCE })
    }).pipe(Effect.provide(shop)),
  )
})
