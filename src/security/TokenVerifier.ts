/**
 * Recognising users by a JSON Web Token: signed by the one issuer that the settings name, for this service, and not out of
 * its time. Which algorithms count is a matter of the settings and never of the token, so a token can neither do without
 * a signature nor turn a public key into a secret.
 *
 * @source RFC 7519, RFC 8725 (JSON Web Token Best Current Practices)
 */
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import { type CryptoKey, errors, type JWSHeaderParameters, jwtVerify } from "jose"
import { type AuthenticatorUnavailable, ExpiredToken, InvalidToken } from "./Authenticator.ts"
import * as CompactToken from "./CompactToken.ts"
import * as JwkSet from "./JwkSet.ts"
import { Principal, Tier } from "./Principal.ts"
import { Scope } from "./Scope.ts"

/** By how much the clocks of issuer and service may differ. */
const CLOCK_SKEW_SECONDS = 30
/** RFC 7518 §3.2: a key at least as long as the hash. */
export const SECRET_BYTES_MIN = 32
const SCOPES_CHARACTERS_MAX = 2_000

/** With whose keys tokens are checked, and whom they must name. */
export interface TokenSettings {
  readonly issuer: string
  readonly audience: string
  readonly keys:
    | { readonly _tag: "Secret"; readonly secret: Redacted.Redacted<string> }
    | { readonly _tag: "JwkSet"; readonly url: URL }
}

const SECRET_ALGORITHMS = ["HS256"]
const PUBLIC_ALGORITHMS = ["RS256", "ES256", "EdDSA"]

/** Visible characters: it goes into logs and the journal. */
const Subject = Schema.String.pipe(Schema.check(Schema.isPattern(/^[!-~]{1,128}$/)))
/** Seconds since 1970, up to the year 9999. */
const NumericDate = Schema.Finite.pipe(
  Schema.check(Schema.isBetween({ minimum: 0, maximum: 253_402_300_799 })),
)
const ScopeText = Schema.String.pipe(Schema.check(Schema.isMaxLength(SCOPES_CHARACTERS_MAX)))

const Claims = Schema.Struct({
  sub: Subject,
  exp: NumericDate,
  nbf: Schema.optionalKey(NumericDate),
  iat: Schema.optionalKey(NumericDate),
  /** OAuth 2.0 writes one string (RFC 8693 §4.2), others a list. */
  scope: Schema.optionalKey(Schema.Union([ScopeText, Schema.Array(ScopeText)])),
  scopes: Schema.optionalKey(Schema.Union([ScopeText, Schema.Array(ScopeText)])),
  tier: Schema.optionalKey(Schema.String),
})
const decodeClaims = Schema.decodeUnknownEffect(Claims)

/** The ids of RenderOwl's own users. */
const OWN_USER = /^user_[0-7][0-9a-hjkmnp-tv-z]{25}$/

export class TokenVerifier extends Context.Service<
  TokenVerifier,
  {
    /** The user behind a token, at `now` (milliseconds). */
    readonly verify: (
      token: Redacted.Redacted<string>,
      now: number,
    ) => Effect.Effect<Principal, InvalidToken | ExpiredToken | AuthenticatorUnavailable>
  }
>()("renderowl/security/TokenVerifier") {
  /** Without settings, no token is valid. */
  static readonly layer = (settings: TokenSettings | undefined): Layer.Layer<TokenVerifier> =>
    settings === undefined
      ? Layer.succeed(TokenVerifier, { verify: () => Effect.fail(new InvalidToken()) })
      : Layer.effect(TokenVerifier, make(settings))
}

const make = Effect.fnUntraced(function* ({ audience, issuer, keys }: TokenSettings) {
  const algorithms = keys._tag === "Secret" ? SECRET_ALGORITHMS : PUBLIC_ALGORITHMS
  const signingKey = keys._tag === "Secret" ? yield* secretKey(keys.secret) : yield* JwkSet.make(keys.url)

  const verify = Effect.fnUntraced(function* (redacted: Redacted.Redacted<string>, now: number) {
    const token = Redacted.value(redacted)
    const read = CompactToken.read(token)
    if (read === undefined || !algorithms.includes(read.header["alg"] as string))
      return yield* new InvalidToken()
    const { exp, scope, scopes, sub, tier } = yield* Effect.mapError(
      decodeClaims(read.claims),
      () => new InvalidToken(),
    )
    const key = yield* signingKey(read.header as JWSHeaderParameters)
    yield* Effect.tryPromise({
      try: () =>
        jwtVerify(token, key, {
          algorithms,
          issuer,
          audience,
          clockTolerance: CLOCK_SKEW_SECONDS,
          currentDate: new Date(now),
        }),
      catch: (error) =>
        error instanceof errors.JWTExpired
          ? new ExpiredToken({ expiredAt: exp * 1_000 })
          : new InvalidToken(),
    })
    const id = OWN_USER.test(sub) ? sub : `user:${sub}`
    return new Principal({
      id,
      kind: "user",
      owner: id,
      scopes: knownScopes(scope, scopes),
      tier: isTier(tier) ? tier : "free",
    })
  })
  return TokenVerifier.of({ verify })
})

const secretKey = (secret: Redacted.Redacted<string>) =>
  Effect.map(
    Effect.promise(() =>
      crypto.subtle.importKey(
        "raw",
        Buffer.from(Redacted.value(secret)),
        { name: "HMAC", hash: "SHA-256" },
        false,
        ["verify"],
      ),
    ),
    (key) => (): Effect.Effect<CryptoKey> => Effect.succeed(key),
  )

const isTier = Schema.is(Tier)

/** What the token grants of the scopes there are; what it grants of others is for other services. */
const knownScopes = (
  ...claims: ReadonlyArray<string | ReadonlyArray<string> | undefined>
): ReadonlyArray<Scope> => {
  const granted = new Set(
    claims.flatMap((claim) => (typeof claim === "string" ? claim.split(" ") : (claim ?? []))),
  )
  return Scope.literals.filter((scope) => granted.has(scope))
}
