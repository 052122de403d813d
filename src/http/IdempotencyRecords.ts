/**
 * Where requests with an Idempotency-Key are kept, as HTTP needs it. What a request causes is kept together with its record by
 * whoever implements this: the two are one transaction.
 */
import { Context, type Effect, type Fiber, Schema } from "effect"
import type { KeptRequest, KeyedRequest } from "../security/KeyedRequest.ts"

/** The records cannot be read right now. */
export class RecordsUnavailable extends Schema.TaggedError<RecordsUnavailable>()("RecordsUnavailable", {
  cause: Schema.Defect(),
}) {}

export class IdempotencyRecords extends Context.Service<
  IdempotencyRecords,
  {
    /** Fingerprints of the requests under way, by the hash of their keys: one process has them all. */
    readonly running: Map<string, Uint8Array>
    /** The record of a key, unless the request began before `since` (milliseconds). */
    readonly find: (
      key: Uint8Array,
      since: number,
    ) => Effect.Effect<KeptRequest | undefined, RecordsUnavailable>
    /** From here on events that name the request are kept with its record. */
    readonly begin: (request: KeyedRequest) => void
    readonly end: (request: KeyedRequest) => void
    /**
     * Keeps how a request was answered: sealed, or null for an answer that is made again. It never fails: where this could not
     * be written, the request is answered, and would be carried out again.
     */
    readonly keep: (request: KeyedRequest, answer: Uint8Array | null) => Effect.Effect<void>
    /** Runs something to its end, although whoever asked for it may go away. */
    readonly fork: <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<Fiber.Fiber<A, E>, never, R>
  }
>()("renderowl/http/IdempotencyRecords") {}
