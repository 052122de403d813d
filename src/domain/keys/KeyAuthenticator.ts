/**
 * Recognising callers: by their API key here, by a token where one is taken for that. A key that was recognised before costs
 * a hash and a few comparisons.
 */
import { Effect, Layer, Redacted, Result } from "effect"
import * as ApiKeyFormat from "../../security/ApiKeyFormat.ts"
import {
  Authenticator,
  AuthenticatorUnavailable,
  InvalidApiKey,
  IpRestricted,
  OriginRestricted,
  type Presentation,
} from "../../security/Authenticator.ts"
import { Principal } from "../../security/Principal.ts"
import { TokenVerifier } from "../../security/TokenVerifier.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import { ApiKey, type ApiKeyState } from "./ApiKey.ts"
import { KeyUses } from "./KeyUses.ts"
import { RecognisedKey, RecognisedKeys } from "./RecognisedKeys.ts"

/** Index: the primary key. */
const SELECT_BY_HASH = "SELECT stream FROM api_keys WHERE hash = ?"

/** An `Authenticator` for API keys and tokens. */
export const authenticatorLayer = Layer.effect(
  Authenticator,
  Effect.gen(function* () {
    const { reader } = yield* SqliteClient
    const apiKey = yield* ApiKey.client
    const recognised = yield* RecognisedKeys
    const tokens = yield* TokenVerifier
    const uses = yield* KeyUses

    const lookUp = Effect.fnUntraced(function* (hash: string) {
      const generation = recognised.generation()
      const row = yield* Effect.try({
        try: () => reader.prepare(SELECT_BY_HASH).get(hash),
        catch: () => new AuthenticatorUnavailable(),
      })
      if (row === undefined) return yield* new InvalidApiKey()
      const id = row["stream"] as string
      const state = yield* Effect.mapError(apiKey(id).Get(), () => new AuthenticatorUnavailable())
      const goodUntil = goodUntilOf(state, hash)
      if (goodUntil === undefined) return yield* new InvalidApiKey()
      const { allowed_ips: networks, allowed_origins: origins, owner, scopes, tier } = state
      const principal = new Principal({ id, kind: "api_key", owner, scopes, tier })
      const key = new RecognisedKey({ principal, goodUntil, networks, origins })
      recognised.remember(hash, key, generation)
      return key
    })

    const admit = (key: RecognisedKey, presentation: Presentation) => {
      const admitted = check(key, presentation)
      if (Result.isSuccess(admitted)) uses.mark(key.principal.id, presentation.now)
      return Effect.fromResult(admitted)
    }

    return Authenticator.of({
      authenticate: (credential, presentation) => {
        const text = Redacted.value(credential)
        if (text.includes(TOKEN_SEPARATOR)) return tokens.verify(credential, presentation.now)
        const hash = hashOf(credential)
        const known = recognised.get(hash)
        if (known !== undefined) return admit(known, presentation)
        return ApiKeyFormat.isWellFormed(text)
          ? Effect.flatMap(lookUp(hash), (key) => admit(key, presentation))
          : Effect.fail(new InvalidApiKey())
      },
    })
  }),
)

/** Of credentials that come again and again over their connection: a hash takes longer than all the rest. */
const hashes = new WeakMap<Redacted.Redacted<string>, string>()

const hashOf = (credential: Redacted.Redacted<string>): string => {
  let hash = hashes.get(credential)
  if (hash === undefined) {
    hash = ApiKeyFormat.hash(credential)
    hashes.set(credential, hash)
  }
  return hash
}

/** Between the parts of a token; in no key. */
const TOKEN_SEPARATOR = "."

/**
 * Until when the secret of this hash is good; undefined when it is not. The index has found the key by the hash; the
 * comparison that decides takes the same time wherever they differ.
 */
const goodUntilOf = (
  { expires_at, hash: current, previous, status }: ApiKeyState,
  hash: string,
): number | undefined => {
  if (status !== "active") return undefined
  const expiry = expires_at ?? Infinity
  if (ApiKeyFormat.equalHashes(current, hash)) return expiry
  return previous !== null && ApiKeyFormat.equalHashes(previous.hash, hash)
    ? Math.min(previous.until, expiry)
    : undefined
}

const check = (
  key: RecognisedKey,
  { address, now, origin }: Presentation,
): Result.Result<Principal, InvalidApiKey | IpRestricted | OriginRestricted> => {
  if (now >= key.goodUntil) return Result.fail(new InvalidApiKey())
  if (!key.admitsAddress(address)) return Result.fail(new IpRestricted())
  if (!key.admitsOrigin(origin)) return Result.fail(new OriginRestricted())
  return Result.succeed(key.principal)
}
