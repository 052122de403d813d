import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { Observer } from "../../src/telemetry/Observer.ts"

const job = (type: string) => ({ queue: "videos", type })

const immediate = Effect.promise(() => new Promise((resolve) => setImmediate(resolve)))

describe("a listener", () => {
  it.effect("hears once the code that tells has run, of all that it told, in its order", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      const heard: Array<string> = []
      for (const who of ["one", "other"])
        yield* observer.on("enqueued", ({ type }) => heard.push(`${who} ${type}`))
      observer.tell("enqueued", job("a"))
      observer.tell("enqueued", job("b"))
      assert.deepStrictEqual(heard, [])
      yield* immediate
      assert.deepStrictEqual(heard, ["one a", "one b", "other a", "other b"])
      observer.tell("enqueued", job("c"))
      yield* immediate
      assert.deepStrictEqual(heard.slice(4), ["one c", "other c"])
    }),
  )

  it.effect("hears when it was told", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      const times: Array<number> = []
      yield* observer.on("enqueued", (_, toldAt) => times.push(toldAt))
      const before = performance.now()
      observer.tell("enqueued", job("a"))
      const after = performance.now()
      yield* immediate
      const [toldAt] = times as [number]
      assert.isAtLeast(toldAt, before)
      assert.isAtMost(toldAt, after)
    }),
  )

  it.effect("hears sooner where somebody asks for it, and nothing twice", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      const heard: Array<string> = []
      yield* observer.on("enqueued", ({ type }) => heard.push(type))
      observer.tell("enqueued", job("a"))
      observer.deliver()
      assert.deepStrictEqual(heard, ["a"])
      yield* immediate
      assert.deepStrictEqual(heard, ["a"])
    }),
  )

  it.effect("may tell of something itself", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      let spans = 0
      yield* observer.on("enqueued", () => observer.tell("spans", { spans: 1, ok: false }))
      yield* observer.on("spans", (exported) => (spans += exported.spans))
      observer.tell("enqueued", job("a"))
      observer.tell("enqueued", job("b"))
      yield* immediate
      yield* immediate
      assert.strictEqual(spans, 2)
    }),
  )

  it.effect("hears what was told while it listened, and nothing else", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      const heard: Array<string> = []
      yield* observer.on("enqueued", ({ type }) => heard.push(`always ${type}`))
      const scope = yield* Scope.make()
      observer.tell("enqueued", job("before"))
      yield* Scope.provide(
        observer.on("enqueued", ({ type }) => heard.push(type)),
        scope,
      )
      observer.tell("enqueued", job("within"))
      yield* Scope.close(scope, Exit.void)
      observer.tell("enqueued", job("after"))
      yield* immediate
      assert.deepStrictEqual(heard, ["always before", "always within", "within", "always after"])
    }),
  )

  it.effect("hears at once when there is too much to keep all of it", () =>
    Effect.gen(function* () {
      const observer = new Observer()
      let heard = 0
      let keptMax = 0
      yield* observer.on("enqueued", () => heard++)
      for (let told = 1; told <= 10_000; told++) {
        observer.tell("enqueued", job("a"))
        keptMax = Math.max(keptMax, told - heard)
      }
      assert.isBelow(keptMax, 1_000)
      yield* immediate
      assert.strictEqual(heard, 10_000)
    }),
  )
})
