/** Requests with keys, without the HTTP around them. */
import { Effect } from "effect"
import { IdempotencyRecords } from "../../src/http/IdempotencyRecords.ts"
import { KeyedRequest, keyHash } from "../../src/security/KeyedRequest.ts"

export const keyOf = (text: string) =>
  keyHash({ principal: "key_1", method: "POST", path: "/v1/things" }, text)

const fingerprint = Buffer.alloc(32, 7)

/** A request that comes for the first time. */
export const firstRequest = (text: string, startedAt: number) =>
  KeyedRequest.first({ text, key: keyOf(text), fingerprint, startedAt })

/** The request as whoever carries it out again has it: from its record. */
export const requestAgain = (text: string) =>
  Effect.gen(function* () {
    const { find } = yield* IdempotencyRecords
    const kept = (yield* find(keyOf(text), 0))!
    if (kept.sealed._tag === "Answer") throw new Error("it was answered")
    return KeyedRequest.again(text, keyOf(text), kept, kept.sealed.seed)
  })

/** Does something as this request. */
export const as =
  (request: KeyedRequest) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R | IdempotencyRecords> =>
    Effect.gen(function* () {
      const { begin, end } = yield* IdempotencyRecords
      begin(request)
      return yield* Effect.ensuring(
        request.carryOut(effect),
        Effect.sync(() => end(request)),
      )
    })
