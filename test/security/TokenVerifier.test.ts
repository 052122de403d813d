import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Redacted } from "effect"
import { TokenVerifier, type TokenSettings } from "../../src/security/TokenVerifier.ts"
import * as JwksServer from "../support/JwksServer.ts"
import * as Tokens from "../support/Tokens.ts"

const ISSUER = "https://id.example.com"
const AUDIENCE = "renderowl"
/** Milliseconds and seconds of the same moment. */
const NOW_MS = Date.UTC(2026, 10, 22, 6)
const NOW = NOW_MS / 1_000
const HOUR = 3_600
const SKEW = 30

const HEADER = { alg: "HS256", typ: "JWT" }
const CLAIMS = { iss: ISSUER, aud: AUDIENCE, sub: "ada", exp: NOW + HOUR, scope: "jobs:read" }

const withKeys = (keys: TokenSettings["keys"]) =>
  TokenVerifier.layer({ issuer: ISSUER, audience: AUDIENCE, keys })

/** The principal, or the tag of the refusal. */
const verify = (token: string, now = NOW_MS) =>
  TokenVerifier.pipe(
    Effect.flatMap((verifier) => verifier.verify(Redacted.make(token), now)),
    Effect.catch((error) => Effect.succeed(error._tag)),
  )

const secret = Tokens.secret()
const bySecret = withKeys({ _tag: "Secret", secret: Redacted.make(secret) })
const sign = Tokens.hs256(secret)
const signed = (claims: object | string, header: object | string = HEADER) =>
  Tokens.token(header, claims, sign)

describe("a token signed with the shared secret", () => {
  it.effect("is its subject, with those of its scopes that there are", () =>
    Effect.gen(function* () {
      const user = "user_01k8w3e5r7fm2vx9q4ztd6yhbn"
      for (const [claims, expected] of [
        [{}, { id: "user:ada", owner: "user:ada", kind: "user", scopes: ["jobs:read"], tier: "free" }],
        [{ sub: user }, { id: user, owner: user }],
        // A subject is never taken for a key, whatever it is called.
        [{ sub: "key_01k8w3e5r7fm2vx9q4ztd6yhbn" }, { id: "user:key_01k8w3e5r7fm2vx9q4ztd6yhbn" }],
        [{ scope: "openid jobs:write  profile jobs:read" }, { scopes: ["jobs:read", "jobs:write"] }],
        [{ scope: undefined, scopes: ["admin", "root"] }, { scopes: ["admin"] }],
        [{ scopes: "renders:read renders:read" }, { scopes: ["jobs:read", "renders:read"] }],
        [{ scope: undefined }, { scopes: [] }],
        [{ tier: "pro" }, { tier: "pro" }],
        [{ tier: "platinum" }, { tier: "free" }],
        [{ aud: ["other", AUDIENCE] }, { id: "user:ada" }],
      ] as const) {
        assert.deepInclude(yield* verify(signed({ ...CLAIMS, ...claims })), expected as object)
      }
      for (const typ of [undefined, "at+jwt", "application/at+jwt"])
        assert.deepInclude(yield* verify(signed(CLAIMS, { alg: "HS256", typ })), { id: "user:ada" })
    }).pipe(Effect.provide(bySecret)),
  )

  it.effect("counts within its time, give or take the skew of clocks", () =>
    Effect.gen(function* () {
      for (const [times, expected] of [
        [{ exp: NOW - SKEW + 1 }, "ok"],
        [{ exp: NOW - SKEW }, "ExpiredToken"],
        [{ exp: 0 }, "ExpiredToken"],
        [{ nbf: NOW + SKEW }, "ok"],
        [{ nbf: NOW + SKEW + 1 }, "InvalidToken"],
        [{ nbf: NOW - HOUR, iat: NOW - HOUR }, "ok"],
      ] as const) {
        const answer = yield* verify(signed({ ...CLAIMS, ...times }))
        assert.strictEqual(typeof answer === "string" ? answer : "ok", expected, JSON.stringify(times))
      }
    }).pipe(Effect.provide(bySecret)),
  )

  const json = JSON.stringify
  const none = { ...HEADER, alg: "none" }
  const [head = "", body = "", signature = ""] = signed(CLAIMS).split(".")
  const hostile: ReadonlyArray<readonly [string, string]> = [
    ["with no algorithm", Tokens.token(none, CLAIMS, Tokens.unsigned)],
    ["with no algorithm, and signed", signed(CLAIMS, none)],
    ["with None, in other letters", Tokens.token({ alg: "NoNe" }, CLAIMS, Tokens.unsigned)],
    ["with no algorithm named", signed(CLAIMS, { typ: "JWT" })],
    ["with a list of algorithms", signed(CLAIMS, { alg: ["HS256"] })],
    ["with another hash", signed(CLAIMS, { alg: "HS512" })],
    [
      "by a public key that it brings along",
      Tokens.token({ ...HEADER, alg: "RS256", jwk: Tokens.rs256("x").jwk }, CLAIMS, Tokens.rs256("x").sign),
    ],
    ["without a signature", `${head}.${body}.`],
    ["with another signature", `${head}.${body}.${Buffer.alloc(32).toString("base64url")}`],
    ["with a signature cut short", `${head}.${body}.${signature.slice(0, -4)}`],
    ["by another secret", Tokens.token(HEADER, CLAIMS, Tokens.hs256(Tokens.secret()))],
    ["by the empty secret", Tokens.token(HEADER, CLAIMS, Tokens.hs256(""))],
    [
      "with other claims under a good signature",
      `${head}.${Buffer.from(json({ ...CLAIMS, sub: "eve" })).toString("base64url")}.${signature}`,
    ],
    ["with an extension that must be understood", signed(CLAIMS, { ...HEADER, crit: ["x"], x: 1 })],
    ["with an unencoded payload", signed(CLAIMS, { ...HEADER, crit: ["b64"], b64: false })],
    ["that is another kind of document", signed(CLAIMS, { ...HEADER, typ: "dpop+jwt" })],
    ["of another issuer", signed({ ...CLAIMS, iss: "https://evil.example" })],
    ["of several issuers", signed({ ...CLAIMS, iss: [ISSUER] })],
    ["without an issuer", signed({ ...CLAIMS, iss: undefined })],
    ["for another service", signed({ ...CLAIMS, aud: "other" })],
    ["for no service", signed({ ...CLAIMS, aud: undefined })],
    ["for a service whose name begins like ours", signed({ ...CLAIMS, aud: `${AUDIENCE}.evil` })],
    ["without an end", signed({ ...CLAIMS, exp: undefined })],
    ["with an end in words", signed({ ...CLAIMS, exp: String(NOW + HOUR) })],
    ["with an end beyond all numbers", signed(json(CLAIMS).replace(String(CLAIMS.exp), "1e999"))],
    ["with an end before all times", signed({ ...CLAIMS, exp: -1e300 })],
    ["with a beginning in words", signed({ ...CLAIMS, nbf: "now" })],
    ["without a subject", signed({ ...CLAIMS, sub: undefined })],
    ["with an empty subject", signed({ ...CLAIMS, sub: "" })],
    ["with a subject of several lines", signed({ ...CLAIMS, sub: "ada\nadmin" })],
    ["with a subject that is too long", signed({ ...CLAIMS, sub: "a".repeat(129) })],
    ["with a subject that is a number", signed({ ...CLAIMS, sub: 7 })],
    ["with a scope that is a number", signed({ ...CLAIMS, scope: 7 })],
    ["with scopes that are objects", signed({ ...CLAIMS, scopes: [{ admin: true }] })],
    ["with two subjects", signed(json(CLAIMS).replace("{", '{"sub":"eve",'))],
    [
      "with two subjects, one of them spelled otherwise",
      signed(json(CLAIMS).replace("{", '{"\\u0073ub":"eve",')),
    ],
    ["with two algorithms", signed(CLAIMS, '{"alg":"none","alg":"HS256"}')],
    ["whose claims are a list", signed("[]")],
    ["whose claims are text", signed('"sub"')],
    ["whose claims are no JSON", signed("{sub}")],
    [
      "whose claims are not UTF-8",
      `${head}.${Buffer.from([0x7b, 0xff, 0x7d]).toString("base64url")}.${signature}`,
    ],
    ["that is huge", signed({ ...CLAIMS, padding: "x".repeat(6_000) })],
    ["in two parts", `${head}.${body}`],
    ["in four parts", `${signed(CLAIMS)}.x`],
    ["in five parts, encrypted", `${head}.x.x.x.x`],
    ["with white space around it", ` ${signed(CLAIMS)}`],
    ["in plain base64", `${signed(CLAIMS)}==`],
    ["of dots alone", "..".repeat(1_000)],
  ]

  it.effect.each(hostile)("is refused %s", ([, token]) =>
    Effect.gen(function* () {
      assert.strictEqual(yield* verify(token), "InvalidToken")
    }).pipe(Effect.provide(bySecret)),
  )

  it.effect("is refused where nothing says how tokens are checked", () =>
    Effect.gen(function* () {
      assert.strictEqual(yield* verify(signed(CLAIMS)), "InvalidToken")
    }).pipe(Effect.provide(TokenVerifier.layer(undefined))),
  )
})

describe("a token signed with a key of the issuer", () => {
  const keys = [Tokens.rs256("rsa"), Tokens.es256("ec"), Tokens.edDsa("ed")] as const
  const [rsa, ec] = keys
  const byKey = (key: Tokens.IssuerKey, header: object = {}, claims: object = {}) =>
    Tokens.token({ alg: key.alg, kid: key.kid, ...header }, { ...CLAIMS, ...claims }, key.sign)

  /** Verifies under an issuer that publishes these keys. */
  const published = <A, E>(
    jwks: ReadonlyArray<object>,
    test: Effect.Effect<A, E, TokenVerifier>,
  ): Effect.Effect<A, E> =>
    Effect.scoped(
      Effect.gen(function* () {
        const server = yield* JwksServer.start
        server.answerWith(JSON.stringify({ keys: jwks }))
        return yield* Effect.provide(test, Layer.fresh(withKeys({ _tag: "JwkSet", url: server.url })))
      }),
    )
  const jwks = keys.map(({ jwk }) => jwk)

  it.live("is its subject, by each of the algorithms", () =>
    published(
      jwks,
      Effect.gen(function* () {
        for (const key of keys) assert.deepInclude(yield* verify(byKey(key)), { id: "user:ada" }, key.alg)
        // Without a name for the key, the only one of the algorithm counts.
        assert.deepInclude(yield* verify(byKey(ec, { kid: undefined })), { id: "user:ada" })
      }),
    ),
  )

  it.live("is refused when anything of it is not the issuer's", () =>
    published(
      jwks,
      Effect.gen(function* () {
        const pem = rsa.publicKey.export({ type: "spki", format: "pem" })
        const der = rsa.publicKey.export({ type: "spki", format: "der" })
        const header = { alg: "HS256", kid: rsa.kid }
        const impostor = Tokens.rs256("rsa")
        for (const [what, token] of [
          ["the public key as a secret, PEM", Tokens.token(header, CLAIMS, Tokens.hs256(pem as string))],
          ["the public key as a secret, DER", Tokens.token(header, CLAIMS, Tokens.hs256(der))],
          [
            "the public key as a secret, JWK",
            Tokens.token(header, CLAIMS, Tokens.hs256(JSON.stringify(rsa.jwk))),
          ],
          ["no algorithm", Tokens.token({ alg: "none", kid: rsa.kid }, CLAIMS, Tokens.unsigned)],
          ["another algorithm of the same key", byKey(rsa, { alg: "PS256" })],
          ["the algorithm of another key", byKey(rsa, { alg: "ES256" })],
          ["the name of another key", byKey(rsa, { kid: "ec" })],
          ["a name that no key has", byKey(rsa, { kid: "unknown" })],
          ["a name that is no text", byKey(rsa, { kid: 7 })],
          ["another key of the same name", byKey(impostor)],
          ["a key in the header", byKey(impostor, { jwk: impostor.jwk })],
          ["the URL of keys in the header", byKey(impostor, { jku: "http://127.0.0.1:1/jwks.json" })],
          ["another issuer", byKey(rsa, {}, { iss: "https://evil.example" })],
          ["an empty signature", Tokens.token({ alg: "ES256", kid: "ec" }, CLAIMS, Tokens.unsigned)],
          [
            "the signature of zeros",
            Tokens.token({ alg: "ES256", kid: "ec" }, CLAIMS, () => Buffer.alloc(64)),
          ],
        ] as const) {
          assert.strictEqual(yield* verify(token), "InvalidToken", what)
        }
      }),
    ),
  )

  it.live("is refused by keys that are too weak, secret, or for something else", () =>
    Effect.gen(function* () {
      const weak = Tokens.rs256("weak", 1_024)
      const shared = Tokens.secret()
      const oct = { kty: "oct", kid: "oct", k: Buffer.from(shared).toString("base64url") }
      for (const [jwk, token] of [
        [weak.jwk, byKey(weak)],
        [oct, Tokens.token({ alg: "HS256", kid: "oct" }, CLAIMS, Tokens.hs256(shared))],
        [{ ...rsa.jwk, use: "enc" }, byKey(rsa)],
        [{ ...rsa.jwk, alg: "RS512" }, byKey(rsa)],
        [{ kty: "RSA", kid: "rsa", n: "AQAB", e: "AQAB" }, byKey(rsa)],
      ] as const) {
        assert.strictEqual(yield* published([jwk], verify(token)), "InvalidToken")
      }
    }),
  )
})
