/**
 * API keys as their owners manage them: made, shown, rotated and revoked. Whoever is no administrator sees the keys of its
 * own owner alone, and touches none that could do more than itself. The secret leaves in the answer to the command that
 * made it, and is nowhere afterwards.
 */
import { Clock, Context, Effect, Layer, type Redacted, Schema, Semaphore } from "effect"
import type { ActorError } from "../../actor/ActorSystem.ts"
import type { EventMetadata, JournalError } from "../../journal/Journal.ts"
import * as ApiKeyFormat from "../../security/ApiKeyFormat.ts"
import { hasActedBefore, secretBytes } from "../../security/KeyedRequest.ts"
import type { Principal } from "../../security/Principal.ts"
import * as TypeId from "../../security/TypeId.ts"
import { ApiKey, type ApiKeyEnded, ApiKeyNotFound, type ApiKeyState } from "./ApiKey.ts"
import { ApiKeyList, type ListedKey } from "./ApiKeyList.ts"
import { excess, type Grant, GrantExceeded, type ScopesNotHeld } from "./KeyGrant.ts"

/** Keys of one owner that are not revoked. */
export const KEYS_PER_OWNER_MAX = 1_000

/** A key that is wanted; what is left out is as its maker has it. */
export interface NewApiKey extends Partial<Omit<Grant, "scopes">> {
  readonly name: string
  readonly scopes: Grant["scopes"]
}

/** A key as it stands. */
export interface ApiKeySnapshot {
  readonly id: string
  readonly state: ApiKeyState
}

/** A key with its secret. */
export interface IssuedApiKey extends ApiKeySnapshot {
  readonly secret: Redacted.Redacted<string>
}

/** The owner has as many keys as it may have. */
export class TooManyApiKeys extends Schema.TaggedError<TooManyApiKeys>()("TooManyApiKeys", {
  max: Schema.Int,
}) {}

/** The key would have ended before it began. */
export class ExpiryPassed extends Schema.TaggedError<ExpiryPassed>()("ExpiryPassed", {}) {}

type Beyond = ScopesNotHeld | GrantExceeded

export class ApiKeys extends Context.Service<
  ApiKeys,
  {
    readonly create: (
      by: Principal,
      wanted: NewApiKey,
      metadata?: EventMetadata,
    ) => Effect.Effect<IssuedApiKey, Beyond | TooManyApiKeys | ExpiryPassed | ActorError>
    /** The key, if `by` may see it. */
    readonly get: (by: Principal, id: string) => Effect.Effect<ApiKeySnapshot, ApiKeyNotFound | ActorError>
    /** The keys that `by` may see, newest first, without revoked ones. */
    readonly page: (
      by: Principal,
      page: { readonly before: number; readonly limit: number },
    ) => Effect.Effect<ReadonlyArray<ListedKey>, JournalError>
    /** Gives the key another secret; the one before goes on for `overlapMs`, and one before that ends. */
    readonly rotate: (
      by: Principal,
      id: string,
      overlapMs: number,
      metadata?: EventMetadata,
    ) => Effect.Effect<IssuedApiKey, Beyond | ApiKeyNotFound | ApiKeyEnded | ActorError>
    /** Ends the key at once; again is no error. */
    readonly revoke: (
      by: Principal,
      id: string,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, Beyond | ApiKeyNotFound | ActorError>
  }
>()("renderowl/domain/keys/ApiKeys") {
  static readonly layer = Layer.effect(
    ApiKeys,
    Effect.gen(function* () {
      const apiKey = yield* ApiKey.client
      const list = yield* ApiKeyList
      // One at a time, so that counting and adding are not torn apart.
      const creating = yield* Semaphore.make(1)

      /** What the caller has to give. A user's token limits how long the user is known, not what it may make. */
      const grantOf = Effect.fnUntraced(function* ({ id, kind, owner, scopes, tier }: Principal) {
        const own = { owner, scopes, tier, expires_at: null, allowed_ips: [], allowed_origins: [] }
        if (kind !== "api_key" || scopes.includes("admin")) return own
        // Revoked a moment ago, it has nothing to give any more.
        const state = yield* Effect.catchTag(apiKey(id).Get(), "ApiKeyNotFound", Effect.die)
        return state.status === "active" ? state : { ...state, scopes: [] }
      })

      const within = Effect.fnUntraced(function* (by: Principal, wanted: (own: Grant) => Grant) {
        const own: Grant = yield* grantOf(by)
        const grant = wanted(own)
        const beyond = excess(own, grant)
        return beyond === undefined ? grant : yield* Effect.fail(beyond)
      })

      const get = Effect.fnUntraced(function* (by: Principal, id: string) {
        const state = yield* apiKey(id).Get()
        const isVisible = by.scopes.includes("admin") || state.owner === by.owner
        return isVisible ? { id, state } : yield* new ApiKeyNotFound({ id })
      })

      const newSecret = Effect.map(secretBytes(ApiKeyFormat.RANDOM_BYTES), (bytes) => {
        const secret = ApiKeyFormat.generate(bytes)
        return { secret, prefix: ApiKeyFormat.prefixOf(secret), hash: ApiKeyFormat.hash(secret) }
      })

      return ApiKeys.of({
        get,

        page: (by, page) => list.page({ ...page, owner: by.scopes.includes("admin") ? undefined : by.owner }),

        create: (by, { name, ...wanted }, metadata) =>
          Effect.gen(function* () {
            const { allowed_ips, allowed_origins, expires_at, owner, scopes, tier } = yield* within(
              by,
              (own) => ({ ...own, ...wanted }),
            )
            if (expires_at !== null && expires_at <= (yield* Clock.currentTimeMillis))
              return yield* new ExpiryPassed()
            const isFull = !(yield* hasActedBefore) && (yield* list.count(owner)) >= KEYS_PER_OWNER_MAX
            if (isFull) return yield* new TooManyApiKeys({ max: KEYS_PER_OWNER_MAX })
            const id = yield* TypeId.make("key")
            const { secret, ...stored } = yield* newSecret
            const key = { name, owner, scopes, tier, expires_at, allowed_ips, allowed_origins }
            const state = yield* apiKey(id).Create({ ...key, ...stored }, metadata)
            return { id, state, secret }
          }).pipe(creating.withPermit),

        rotate: Effect.fnUntraced(function* (by, id, overlapMs, metadata) {
          const { state: key } = yield* get(by, id)
          yield* within(by, () => key)
          const previous_until = (yield* Clock.currentTimeMillis) + overlapMs
          const { secret, ...stored } = yield* newSecret
          const state = yield* apiKey(id).Rotate({ ...stored, previous_until }, metadata)
          return { id, state, secret }
        }),

        revoke: Effect.fnUntraced(function* (by, id, metadata) {
          const { state: key } = yield* get(by, id)
          yield* within(by, () => key)
          yield* apiKey(id).Revoke(undefined, metadata)
        }),
      })
    }),
  )
}
