import { assert, describe, it as test, layer } from "@effect/vitest"
import { Effect } from "effect"
import type { IssuedApiKeyJson } from "../../src/api/v1/api-keys/Api.ts"
import { Client } from "../support/Client.ts"
import * as JwksServer from "../support/JwksServer.ts"
import { startFresh } from "../support/ServerProcess.ts"
import { SharedServer } from "../support/SharedServer.ts"
import * as Tokens from "../support/Tokens.ts"

const HOUR = 3_600
const now = () => Math.floor(Date.now() / 1_000)
const claims = (others: object = {}) => ({
  iss: "renderowl",
  aud: "renderowl",
  sub: "ada",
  exp: now() + HOUR,
  scope: "projects:read keys:write",
  ...others,
})

const secret = Tokens.secret()
const signed = (others: object = {}) => Tokens.token({ alg: "HS256" }, claims(others), Tokens.hs256(secret))

layer(SharedServer.layer({ JWT_SECRET: secret }), { excludeTestServices: true, timeout: 20_000 })(
  "users' tokens",
  (it) => {
    const caller = (token: string) => Effect.map(SharedServer, ({ url }) => new Client(url, token))

    it.effect("open what their scopes say, beside API keys", () =>
      Effect.gen(function* () {
        const { client } = yield* SharedServer
        const user = yield* caller(signed())
        assert.strictEqual((yield* user.get("/v1/projects")).status, 200)
        assert.strictEqual((yield* client.get("/v1/projects")).status, 200)
        const refused = yield* user.post("/v1/projects", { name: "no" })
        assert.strictEqual(refused.problem, "insufficient-scope")
        assert.deepInclude(refused.json<object>(), {
          required_scopes: ["projects:write"],
          your_scopes: ["projects:read", "keys:write"],
        })
      }),
    )

    it.effect("that do not count are a problem that says which kind, and how to authenticate", () =>
      Effect.gen(function* () {
        for (const [token, problem] of [
          [signed({ exp: now() - HOUR }), "expired-token"],
          [signed({ nbf: now() + HOUR }), "invalid-token"],
          [signed({ aud: "other" }), "invalid-token"],
          [Tokens.token({ alg: "none" }, claims(), Tokens.unsigned), "invalid-token"],
          [Tokens.token({ alg: "HS256" }, claims(), Tokens.hs256("guess")), "invalid-token"],
          ["a.b.c", "invalid-token"],
        ] as const) {
          const answer = yield* (yield* caller(token)).get("/v1/projects")
          assert.strictEqual(answer.status, 401)
          assert.strictEqual(answer.problem, problem)
          assert.include(answer.headers.get("www-authenticate"), 'error="invalid_token"')
          assert.notInclude(answer.text, token)
        }
        const huge = yield* caller(signed({ padding: "x".repeat(20_000) }))
        assert.strictEqual((yield* huge.get("/v1/projects")).status, 431)
      }),
    )

    it.effect("let a user make keys of its own, and nothing beyond itself", () =>
      Effect.gen(function* () {
        const user = yield* caller(signed())
        const made = yield* user.post("/v1/api-keys", { name: "mine", scopes: ["projects:read"] })
        assert.strictEqual(made.status, 201, made.text)
        const { key, ...shown } = made.json<typeof IssuedApiKeyJson.Encoded>()
        assert.deepInclude(shown, { owner: "user:ada", tier: "free" })
        assert.strictEqual((yield* (yield* caller(key)).get("/v1/projects")).status, 200)
        const more = yield* user.post("/v1/api-keys", { name: "more", scopes: ["jobs:write"] })
        assert.strictEqual(more.problem, "insufficient-scope")
        const eve = yield* caller(signed({ sub: "eve" }))
        assert.strictEqual(
          (yield* eve.request("DELETE", `/v1/api-keys/${shown.id}`)).problem,
          "api-key-not-found",
        )
      }),
    )
  },
)

describe("the settings of tokens", () => {
  test.live("take the keys of an issuer instead of a secret", () =>
    Effect.gen(function* () {
      const key = Tokens.es256("current")
      const issuer = yield* JwksServer.start
      issuer.publish(key)
      const env = { JWKS_URL: issuer.url.href, JWT_ISSUER: "https://id.example.com", JWT_AUDIENCE: "owl" }
      const { url } = yield* startFresh(env)
      const named = claims({ iss: env.JWT_ISSUER, aud: env.JWT_AUDIENCE })
      const header = { alg: "ES256", kid: "current" }
      const good = new Client(url, Tokens.token(header, named, key.sign))
      assert.strictEqual((yield* good.get("/v1/projects")).status, 200)
      const other = new Client(url, Tokens.token(header, claims(), key.sign))
      assert.strictEqual((yield* other.get("/v1/projects")).problem, "invalid-token")
    }),
  )
})
