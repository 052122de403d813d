/**
 * The signal that the server is stopping. Whoever holds a connection open for long (a live stream, a waiting request)
 * ends politely when it comes; new requests are refused from then on. It may be given before the server closes, but not
 * before readiness has said no for long enough that load balancers have noticed.
 */
import { Context, Effect, Latch, Layer } from "effect"

export class Drain extends Context.Service<
  Drain,
  {
    /** True from the moment the signal was given. Synchronous: it is asked on every request. */
    readonly isDraining: () => boolean
    /** Gives the signal. Giving it twice is the same as once. */
    readonly begin: Effect.Effect<void>
    /** Returns once the signal was given. */
    readonly signal: Effect.Effect<void>
  }
>()("renderowl/http/Drain") {
  static readonly layer = Layer.sync(Drain, () => {
    const latch = Latch.makeUnsafe(false)
    return Drain.of({
      isDraining: () => latch.isOpen(),
      begin: Effect.asVoid(latch.open),
      signal: latch.await,
    })
  })
}
