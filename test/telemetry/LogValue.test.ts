import { assert, describe, it } from "@effect/vitest"
import { Cause, Redacted } from "effect"
import * as fc from "fast-check"
import * as ApiKeyFormat from "../../src/security/ApiKeyFormat.ts"
import { valueOf } from "../../src/telemetry/LogValue.ts"
import { isSecretField, scrub } from "../../src/telemetry/Redaction.ts"
import * as Tokens from "../support/Tokens.ts"

const key = Redacted.value(ApiKeyFormat.generate(new Uint8Array(32).fill(7)))
const jwt = Tokens.token({ alg: "HS256" }, { sub: "ada" }, Tokens.hs256("secret"))
const webhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

describe("text that is written down", () => {
  it.each([
    ["an API key", `the key ${key} is wrong`, key.slice(14)],
    ["an API key in a path", `/v1/keys/${key}/rotate`, key.slice(14)],
    ["a JSON Web Token", `token=${jwt}`, jwt.split(".")[1]!],
    [
      "a token without a signature",
      Tokens.token({ alg: "none" }, { sub: "ada" }, Tokens.unsigned),
      "eyJzdWIi",
    ],
    ["a webhook secret", `{"secret":"${webhookSecret}"}`, "MfKQ9r8G"],
    ["an Authorization header", "Authorization: Bearer abcdefgh12345678", "abcdefgh"],
    ["a Basic one", "authorization: basic dXNlcjpwYXNzd29yZA==", "dXNlcjpw"],
    ["a password in a URL", "GET https://ada:lovelace@example.com/x", "lovelace"],
    ["the signature of a URL", "https://example.com/a.mp4?X-Amz-Signature=0123abcd&X-Amz-Date=1", "0123abcd"],
    ["the token of a URL", "/v1/assets/a?expires=1&token=opensesame#x", "opensesame"],
    ["a private key", "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADAN\n-----END PRIVATE KEY-----", "MIIEvQIBADAN"],
  ])("has no %s in it", (_, text, secret) => {
    assert.include(text, secret)
    assert.notInclude(scrub(text), secret)
    assert.include(scrub(text), "<redacted>")
  })

  it("has them replaced as by a pattern for each, wherever they begin and whatever they touch", () => {
    const pieces = [
      "eyJ",
      "abcdef",
      "x",
      "-",
      "_",
      ".",
      " ",
      "é",
      "+",
      "/",
      "=",
      "whsec_",
      "ro_live_",
      "Bearer ",
    ]
    const patterns = [
      [/ro_live_([0-9A-Za-z]{0,6})[0-9A-Za-z]*/g, "ro_live_$1<redacted>"],
      [/whsec_[\w+/=-]+/g, "whsec_<redacted>"],
      [/\beyJ[\w-]{6,}\.[\w-]+(?:\.[\w-]*)?/g, "<redacted>"],
      [/\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi, "$1 <redacted>"],
    ] as const
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 40 }), (all) => {
        const text = all.join("")
        assert.strictEqual(
          scrub(text),
          patterns.reduce((clean, [pattern, replacement]) => clean.replaceAll(pattern, replacement), text),
        )
      }),
      { numRuns: 2_000 },
    )
  })

  it("keeps what says which key it was, and everything that is no secret", () => {
    assert.strictEqual(scrub(key), `${key.slice(0, 14)}<redacted>`)
    for (const text of [
      "GET /v1/jobs?limit=10&cursor=abc 200",
      "https://example.com/a.mp4?X-Amz-Date=1",
      "job_01k000000000000000000000 of the queue renders failed: basic maths",
      "the bearer of this message",
    ])
      assert.strictEqual(scrub(text), text)
  })

  it.each([
    "authorization",
    "X-API-Key",
    "apiKey",
    "jwt",
    "JWT_SECRET",
    "password",
    "Set-Cookie",
    "client_secret",
  ])("hides the field %s", (name) => assert.isTrue(isSecretField(name)))

  it.each(["api_key_id", "principal", "idempotency_key", "concurrency_key", "keys", "queue", "tokens_used"])(
    "shows the field %s",
    (name) => assert.isFalse(isSecretField(name)),
  )
})

describe("a value that is logged", () => {
  it("is JSON without secrets, however deep they are", () => {
    const value = {
      headers: { authorization: "whatever", accept: "*/*" },
      given: Redacted.make("hidden"),
      nested: [{ note: `see ${webhookSecret}` }],
      cause: Cause.fail(new Error(`refused ${jwt}`)),
      map: new Map([["password", "hidden"]]),
    }
    const text = JSON.stringify(valueOf(value))
    assert.deepInclude(JSON.parse(text), {
      headers: { authorization: "<redacted>", accept: "*/*" },
      given: "<redacted>",
      nested: [{ note: "see whsec_<redacted>" }],
      map: { password: "<redacted>" },
    })
    for (const secret of ["whatever", "hidden", "MfKQ9r8G", jwt.split(".")[2]!])
      assert.notInclude(text, secret)
  })

  it("is bounded, whatever it is, and never throws", () => {
    const circular: Record<string, unknown> = { name: "loop" }
    circular["self"] = circular
    const hostile = Object.defineProperty({}, "field", {
      enumerable: true,
      get() {
        throw new Error("not for you")
      },
    })
    for (const value of [
      circular,
      hostile,
      "x".repeat(1_000_000),
      Array.from({ length: 100_000 }, (_, i) => i),
      Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`field${i}`, i])),
      new Uint8Array(1_000_000),
      Number.NaN,
      10n ** 100n,
      undefined,
      Symbol("s"),
      () => 1,
      Object.create(null),
    ])
      assert.isBelow(JSON.stringify(valueOf(value)).length, 10_000)
  })
})
