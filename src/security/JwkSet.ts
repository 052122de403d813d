/**
 * The public keys of the issuer of tokens, from its JWKS URL: kept for ten minutes, fetched again for a key that is not
 * among them, and never more often than every half minute whatever callers send. While the issuer does not answer, the
 * keys that are known go on for an hour. What it sends is bounded in size, number and time, and only public signature
 * keys are taken from it.
 */
import { Clock, Effect, Schema, type Scope, Semaphore } from "effect"
import { createLocalJWKSet, type CryptoKey, errors, type JSONWebKeySet, type JWSHeaderParameters } from "jose"
import { AuthenticatorUnavailable, InvalidToken } from "./Authenticator.ts"

const FRESH_MS = 10 * 60_000
const STALE_MS = 60 * 60_000
const COOL_DOWN_MS = 30_000
const COOL_DOWN_AFTER_FAILURE_MS = 5_000
const FETCH_TIMEOUT_MS = 5_000
const BODY_BYTES_MAX = 256 * 1_024
const KEYS_MAX = 100
/** A shared secret among public keys would be one for everybody. */
const KEY_TYPES: ReadonlySet<unknown> = new Set(["RSA", "EC", "OKP"])

const Document = Schema.Struct({
  keys: Schema.Array(Schema.Record(Schema.String, Schema.Unknown)).pipe(
    Schema.check(Schema.isMaxLength(KEYS_MAX)),
  ),
})
const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Document))

type FindKey = ReturnType<typeof createLocalJWKSet>

interface Known {
  readonly find: FindKey
  readonly fetchedAt: number
}

/** The key that signed a token of this header. */
export type SigningKey = (
  header: JWSHeaderParameters,
) => Effect.Effect<CryptoKey, InvalidToken | AuthenticatorUnavailable>

/** The keys at a URL, for as long as the scope is open. */
export const make = (url: URL): Effect.Effect<SigningKey, never, Scope.Scope> =>
  Effect.gen(function* () {
    const scope = yield* Effect.scope
    const fetching = yield* Semaphore.make(1)
    let known: Known | undefined
    let lastTry: { readonly at: number; readonly failed: boolean } | undefined

    const mayFetch = (now: number): boolean => {
      if (lastTry === undefined) return true
      const since = now - lastTry.at
      // A clock that was put back must not end all fetching.
      return since < 0 || since >= (lastTry.failed ? COOL_DOWN_AFTER_FAILURE_MS : COOL_DOWN_MS)
    }

    /** Whoever comes while one fetches waits for that; nobody's going away stops it. */
    const refresh = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      if (!mayFetch(now)) return
      lastTry = { at: now, failed: true }
      known = { find: yield* fetchKeys(url), fetchedAt: now }
      lastTry = { at: now, failed: false }
    }).pipe(
      Effect.catch((error) =>
        Effect.logWarning("The keys of the token issuer could not be fetched", error).pipe(
          Effect.annotateLogs({ "url.full": url.href }),
        ),
      ),
      fetching.withPermit,
      Effect.uninterruptible,
    )

    const ageAt = (now: number) => {
      const age = known === undefined ? Infinity : now - known.fetchedAt
      return age < 0 ? Infinity : age
    }

    const findIn = (header: JWSHeaderParameters): Effect.Effect<CryptoKey, NotFound | InvalidToken> =>
      Effect.tryPromise({
        try: () => known!.find(header),
        catch: (error) => (error instanceof errors.JWKSNoMatchingKey ? new NotFound() : new InvalidToken()),
      })

    return Effect.fnUntraced(function* (header) {
      const now = yield* Clock.currentTimeMillis
      const age = ageAt(now)
      if (age >= STALE_MS) {
        yield* refresh
        if (ageAt(yield* Clock.currentTimeMillis) >= STALE_MS) return yield* new AuthenticatorUnavailable()
      } else if (age >= FRESH_MS && mayFetch(now)) yield* Effect.forkIn(refresh, scope)
      return yield* findIn(header).pipe(
        Effect.catchTag("NotFound", () => Effect.andThen(refresh, findIn(header))),
        Effect.catchTag("NotFound", () => Effect.fail(new InvalidToken())),
      )
    })
  })

/** None of the keys fits the header. */
class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {}

/** The answer was none, or not one that keys are taken from. */
class KeysNotFetched extends Schema.TaggedError<KeysNotFetched>()("KeysNotFetched", {
  cause: Schema.Defect(),
}) {}

const fetchKeys = (url: URL): Effect.Effect<FindKey, KeysNotFetched> =>
  Effect.tryPromise({
    try: async () => {
      // A redirect could lead from https to anywhere.
      const response = await fetch(url, {
        redirect: "error",
        signal: AbortSignal.timeout(FETCH_TIMEOUT_MS),
        headers: { accept: "application/jwk-set+json, application/json" },
      })
      if (!response.ok) throw new Error(`it answered ${response.status}`)
      const { keys } = decode(await boundedText(response))
      return createLocalJWKSet({
        keys: keys.filter(({ kty }) => KEY_TYPES.has(kty)),
      } as unknown as JSONWebKeySet)
    },
    catch: (cause) => new KeysNotFetched({ cause }),
  })

const boundedText = async (response: Response): Promise<string> => {
  const chunks: Array<Uint8Array> = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.length
    if (bytes > BODY_BYTES_MAX) throw new Error(`it answered more than ${BODY_BYTES_MAX} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}
