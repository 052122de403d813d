import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect } from "effect"
import * as Config from "../src/Config.ts"
import { SECRET } from "./support/Signed.ts"

type Env = Readonly<Record<string, string>>

const load = (env: Env) =>
  Config.load.pipe(Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env)))

/** What a start with these settings says, in one line, before it ends (`api/Main.test.ts` sees it end). */
const refusalOf = (env: Env) =>
  Effect.map(Effect.flip(load(env)), ({ cause }) => cause.message.replace(/\s+/g, " "))

describe("a setting that cannot be", () => {
  it.effect.each([
    ["PORT", "99999"],
    ["SQLITE_SYNCHRONOUS", "MAYBE"],
    ["CORS_ORIGIN", "https://app.example.com, null"],
    ["REQUEST_TIMEOUT", "10 millis"],
    ["MAX_REQUESTS", "0"],
    ["TRUSTED_PROXIES", "10.0.0.1/8"],
    ["TRUSTED_PROXIES", "proxy.example.com"],
    ["ANONYMOUS_TIER", "gold"],
    ["RATE_LIMITS", "maybe"],
    ["ARCHIVE_AFTER", "soon"],
    ["ARCHIVE_AFTER", "1 second"],
    ["ARCHIVE_AFTER", "-30 days"],
    ["ARCHIVE_AFTER", "Infinity"],
    ["ARCHIVE_AFTER", "30"],
  ] as const)("is named: %s=%s", ([name, value]) =>
    Effect.gen(function* () {
      assert.include(yield* refusalOf({ [name]: value }), `"${name}"`)
    }),
  )

  it.effect("is named where it does not go with another one", () =>
    Effect.gen(function* () {
      assert.include(yield* refusalOf({ CORS_ORIGIN: "*", CORS_CREDENTIALS: "true" }), '"CORS_CREDENTIALS"')
      assert.include(
        yield* refusalOf({ JWKS_URL: "https://id.example.com/jwks" }),
        'needed with JWKS_URL at ["JWT_ISSUER"]',
      )
    }),
  )

  it.effect.each([
    [{ JWT_SECRET: "too short" }, 'at least 32 bytes at ["JWT_SECRET"]'],
    [{ JWKS_URL: "http://id.example.com/jwks", JWT_ISSUER: "x" }, '"JWKS_URL"'],
    [{ JWKS_URL: "file:///etc/keys", JWT_ISSUER: "x" }, '"JWKS_URL"'],
    [
      { JWKS_URL: "https://id.example.com/jwks", JWT_SECRET: "0123456789abcdef0123456789abcdef" },
      'only without JWT_SECRET at ["JWKS_URL"]',
    ],
    [{ INTERNAL_SECRET: "whsec_short" }, '24 to 64 bytes in base64 at ["INTERNAL_SECRET"]'],
    [{ INTERNAL_SECRET: "not a secret at all" }, '24 to 64 bytes in base64 at ["INTERNAL_SECRET"]'],
    [
      { ALERT_WEBHOOK_URL: "http://10.0.0.1:9093/alerts" },
      'needed with ALERT_WEBHOOK_URL at ["ALERT_WEBHOOK_SECRET"]',
    ],
    [{ ALERT_WEBHOOK_URL: "alerts.example.com", ALERT_WEBHOOK_SECRET: SECRET }, '"ALERT_WEBHOOK_URL"'],
    [{ ALERT_WEBHOOK_SECRET: "whsec_c2hvcnQ=" }, '24 to 64 bytes in base64 at ["ALERT_WEBHOOK_SECRET"]'],
    [{ INTERNAL_SECRET: `${SECRET},` }, '24 to 64 bytes in base64 at ["INTERNAL_SECRET"]'],
  ] as ReadonlyArray<readonly [Env, string]>)("is not shown: %o", ([env, message]) =>
    Effect.gen(function* () {
      const refusal = yield* refusalOf(env)
      assert.include(refusal, message)
      for (const value of Object.values(env)) if (value.length > 8) assert.notInclude(refusal, value)
    }),
  )
})

describe("ARCHIVE_AFTER", () => {
  it.effect("is a duration, or never", () =>
    Effect.gen(function* () {
      for (const age of ["never", "30 days", "1 minute"]) yield* load({ ARCHIVE_AFTER: age })
    }),
  )
})
