import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { setTimeout } from "node:timers/promises"
import * as JwkSet from "../../src/security/JwkSet.ts"
import * as JwksServer from "../support/JwksServer.ts"
import * as Tokens from "../support/Tokens.ts"

const first = Tokens.es256("first")
const second = Tokens.es256("second")

/** An issuer with `first`, and whoever takes keys from it; answers the tag of a refusal. */
const opened = Effect.gen(function* () {
  const issuer = yield* JwksServer.start
  issuer.publish(first)
  const signingKey = yield* JwkSet.make(issuer.url)
  const find = ({ alg, kid }: Tokens.IssuerKey) =>
    Effect.match(signingKey({ alg, kid }), { onFailure: ({ _tag }) => _tag, onSuccess: () => "found" })
  return { issuer, find }
})

/** Waits for what happens on real sockets while the test's clock stands still. */
const until = (condition: Effect.Effect<boolean>): Effect.Effect<void> =>
  Effect.flatMap(condition, (holds) =>
    holds
      ? Effect.void
      : Effect.andThen(
          Effect.promise(() => setTimeout(10)),
          until(condition),
        ),
  )

describe("the keys of the issuer", () => {
  it.effect("are fetched when first needed, once for all who wait, and kept", () =>
    Effect.gen(function* () {
      const { find, issuer } = yield* opened
      assert.strictEqual(issuer.asked, 0)
      const found = yield* Effect.all(
        Array.from({ length: 10 }, () => find(first)),
        { concurrency: "unbounded" },
      )
      assert.deepStrictEqual(new Set(found), new Set(["found"]))
      assert.strictEqual(issuer.asked, 1)
    }).pipe(Effect.scoped),
  )

  it.effect("are fetched again for one that is new, at most every half minute", () =>
    Effect.gen(function* () {
      const { find, issuer } = yield* opened
      yield* find(first)
      issuer.publish(first, second)
      for (let n = 0; n < 5; n++) assert.strictEqual(yield* find(second), "InvalidToken")
      assert.strictEqual(issuer.asked, 1)
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(yield* find(second), "found")
      for (let n = 0; n < 5; n++) assert.strictEqual(yield* find(Tokens.es256("made up")), "InvalidToken")
      assert.strictEqual(issuer.asked, 2)
    }).pipe(Effect.scoped),
  )

  it.effect("are renewed every ten minutes, without anybody waiting: one that was withdrawn ends", () =>
    Effect.gen(function* () {
      const { find, issuer } = yield* opened
      yield* find(first)
      issuer.publish(second)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(yield* find(first), "found")
      yield* until(Effect.map(find(first), (found) => found === "InvalidToken"))
      assert.strictEqual(yield* find(second), "found")
    }).pipe(Effect.scoped),
  )

  it.effect("go on for an hour while the issuer is away, and no longer; it is not asked all the time", () =>
    Effect.gen(function* () {
      const { find, issuer } = yield* opened
      yield* find(first)
      issuer.answerWith("", 500)
      yield* TestClock.adjust("59 minutes")
      assert.strictEqual(yield* find(first), "found")
      yield* until(Effect.sync(() => issuer.asked === 2))
      yield* TestClock.adjust("1 minute")
      for (let n = 0; n < 5; n++) assert.strictEqual(yield* find(first), "AuthenticatorUnavailable")
      assert.strictEqual(issuer.asked, 3)
      issuer.publish(first)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(yield* find(first), "found")
    }).pipe(Effect.scoped),
  )

  it.effect("are not taken from an answer that is too long, too many, elsewhere or no JWKS", () =>
    Effect.gen(function* () {
      const { find, issuer } = yield* opened
      const good = JSON.stringify({ keys: [first.jwk] })
      const answers: ReadonlyArray<() => void> = [
        () => issuer.answerWith(good + " ".repeat(300_000)),
        () => issuer.answerWith(JSON.stringify({ keys: Array.from({ length: 101 }, () => first.jwk) })),
        () => issuer.answerWith(good, 404),
        () => issuer.answerWith("<html>"),
        () => issuer.answerWith('{"keys":{}}'),
        () => issuer.answerWith("[]"),
        () => {
          issuer.answer = (response) => response.writeHead(302, { location: issuer.url.href }).end()
        },
        () => {
          issuer.answer = (response) => response.destroy()
        },
      ]
      for (const answer of answers) {
        answer()
        assert.strictEqual(yield* find(first), "AuthenticatorUnavailable")
        yield* TestClock.adjust("5 seconds")
      }
      issuer.answerWith(good)
      assert.strictEqual(yield* find(first), "found")
    }).pipe(Effect.scoped),
  )

  it.effect("are fetched to the end although whoever asked went away", () =>
    Effect.gen(function* () {
      const { find, issuer } = yield* opened
      const asked = Promise.withResolvers<() => void>()
      issuer.answer = (response) => {
        const body = JSON.stringify({ keys: [first.jwk] })
        asked.resolve(() => response.writeHead(200).end(body))
      }
      const waiting = yield* Effect.forkChild(find(first))
      const answer = yield* Effect.promise(() => asked.promise)
      const gone = yield* Effect.forkChild(Fiber.interrupt(waiting))
      answer()
      yield* Fiber.join(gone)
      assert.strictEqual(yield* find(first), "found")
      assert.strictEqual(issuer.asked, 1)
    }).pipe(Effect.scoped),
  )
})
