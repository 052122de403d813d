/**
 * Keys that were recognised, by hash, so that the next request with the same key needs no look-up (a point read costs
 * 42 µs, measured). The projection of keys empties it within the very commit that revokes or rotates one, so no secret
 * outlives its end; what was being looked up meanwhile is not remembered.
 */
import { Context, Layer } from "effect"
import { AllowedNetworks } from "../../security/AllowedNetworks.ts"
import type { Principal } from "../../security/Principal.ts"

/** Callers remembered at most. */
const PRINCIPALS_MAX = 10_000

/** A key that is there, and what has to be looked at with each request. */
export class RecognisedKey {
  readonly principal: Principal
  /** The first moment at which this secret is no longer good, in milliseconds; `Infinity` when there is none. */
  readonly goodUntil: number
  readonly #networks: AllowedNetworks | undefined
  readonly #origins: ReadonlySet<string> | undefined

  constructor(options: {
    readonly principal: Principal
    readonly goodUntil: number
    readonly networks: ReadonlyArray<string>
    readonly origins: ReadonlyArray<string>
  }) {
    const { goodUntil, networks, origins, principal } = options
    this.principal = principal
    this.goodUntil = goodUntil
    this.#networks = networks.length === 0 ? undefined : new AllowedNetworks(networks)
    this.#origins = origins.length === 0 ? undefined : new Set(origins)
  }

  admitsAddress(address: string | undefined): boolean {
    return this.#networks === undefined || this.#networks.admits(address)
  }

  /** A list of origins is for browsers, which always say theirs to another site: without one there is no entry. */
  admitsOrigin(origin: string | undefined): boolean {
    return this.#origins === undefined || (origin !== undefined && this.#origins.has(origin))
  }
}

export class RecognisedKeys extends Context.Service<
  RecognisedKeys,
  {
    readonly get: (hash: string) => RecognisedKey | undefined
    /** Counts the times at which all was forgotten: taken before a look-up, given with what it found. */
    readonly generation: () => number
    /** Nothing, when all was forgotten since `generation`: what was found may be out of date. */
    readonly remember: (hash: string, key: RecognisedKey, generation: number) => void
    readonly forgetAll: () => void
  }
>()("renderowl/domain/keys/RecognisedKeys") {
  static readonly layer = Layer.sync(RecognisedKeys, () => {
    const keys = new Map<string, RecognisedKey>()
    let generation = 0
    return RecognisedKeys.of({
      get: (hash) => keys.get(hash),
      generation: () => generation,
      remember: (hash, key, found) => {
        if (found !== generation) return
        if (keys.size >= PRINCIPALS_MAX) keys.clear()
        keys.set(hash, key)
      },
      forgetAll: () => {
        generation++
        keys.clear()
      },
    })
  })
}
