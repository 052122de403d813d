/**
 * Remembers what was accepted, for as long as it could come again: a signed message may be replayed until its timestamp is
 * out of tolerance, and until then its id opens nothing a second time. In memory and bounded: when there is no room, new
 * messages are refused, since forgetting an id early would let it in again. What has to be done exactly once over restarts
 * needs the id in the same transaction as its effect; this is the guard before that.
 */
import { Clock, Context, Effect, Exit, Layer, Schema } from "effect"

/** Ids that are remembered at a time: 83 messages a second for 10 minutes, in some 20 MB (measured). */
export const REPLAY_IDS_MAX = 50_000
/** Looking for ids that are over costs a walk through all of them: 2 to 8 ms (measured), at most once in this time. */
const SWEEP_INTERVAL_MS = 1_000

/** This message was accepted before, or is being worked on. A sender that asks again may be told that it has arrived. */
export class Replayed extends Schema.TaggedError<Replayed>()("Replayed", { id: Schema.String }) {
  override get message(): string {
    return `the message ${this.id} was received before`
  }
}

/** More messages than can be remembered: to be sent again later. */
export class ReplayGuardFull extends Schema.TaggedError<ReplayGuardFull>()("ReplayGuardFull", {
  ids_max: Schema.Int,
}) {
  override get message(): string {
    return `${this.ids_max} messages are remembered already`
  }
}

export class ReplayGuard extends Context.Service<
  ReplayGuard,
  {
    /**
     * Runs the effect unless its id is known, and keeps the id until `until` (milliseconds since 1970). When the effect
     * fails the id is forgotten, so that the sender's next try is heard.
     */
    readonly once: <A, E, R>(
      id: string,
      until: number,
      effect: Effect.Effect<A, E, R>,
    ) => Effect.Effect<A, E | Replayed | ReplayGuardFull, R>
  }
>()("renderowl/security/ReplayGuard") {
  static readonly layerWith = (idsMax: number): Layer.Layer<ReplayGuard> =>
    Layer.sync(ReplayGuard, () => {
      const known = new KnownIds(idsMax)
      return ReplayGuard.of({
        once: (id, until, effect) =>
          Effect.acquireUseRelease(
            Effect.flatMap(Clock.currentTimeMillis, (now) => known.claim(id, until, now)),
            () => effect,
            (_, exit) => Effect.sync(() => Exit.isFailure(exit) && known.forget(id)),
          ),
      })
    })

  static readonly layer = ReplayGuard.layerWith(REPLAY_IDS_MAX)
}

/** Each id and when it is over. */
class KnownIds {
  readonly #until = new Map<string, number>()
  readonly #max: number
  #swept = -Infinity

  constructor(max: number) {
    this.#max = max
  }

  claim(id: string, until: number, now: number): Effect.Effect<void, Replayed | ReplayGuardFull> {
    const known = this.#until.get(id)
    if (known !== undefined && known >= now) {
      // A copy with a later timestamp lives longer: the id has to be known for as long.
      this.#until.set(id, Math.max(known, until))
      return Effect.fail(new Replayed({ id }))
    }
    this.#sweep(now)
    if (known === undefined && this.#until.size >= this.#max) {
      return Effect.fail(new ReplayGuardFull({ ids_max: this.#max }))
    }
    this.#until.set(id, until)
    return Effect.void
  }

  forget(id: string): void {
    this.#until.delete(id)
  }

  #sweep(now: number): void {
    // A clock that was set back must not keep the next sweep waiting.
    if (Math.abs(now - this.#swept) < SWEEP_INTERVAL_MS) return
    this.#swept = now
    for (const [id, until] of this.#until) if (until < now) this.#until.delete(id)
  }
}
