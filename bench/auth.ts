/**
 * What does it cost to tell who is calling?
 *
 * The authenticator as the server has it, over a database on disk, without HTTP around it. A key is hashed with every
 * request, so that no secret stays in memory; what is saved is the look-up. The limits of a key are looked at each time:
 * the dearest case is a caller whose address changes with every request and is in the last of 32 networks.
 */
import { Effect, Layer, Redacted } from "effect"
import { createHmac, randomBytes } from "node:crypto"
import { join } from "node:path"
import { ApiKeyList } from "../src/domain/keys/ApiKeyList.ts"
import { ApiKeys, type NewApiKey } from "../src/domain/keys/ApiKeys.ts"
import { authenticatorLayer } from "../src/domain/keys/KeyAuthenticator.ts"
import { KeyUses } from "../src/domain/keys/KeyUses.ts"
import { RecognisedKeys } from "../src/domain/keys/RecognisedKeys.ts"
import * as RenderOwl from "../src/RenderOwl.ts"
import { NETWORKS_MAX } from "../src/security/AllowedNetworks.ts"
import { Authenticator, type Presentation } from "../src/security/Authenticator.ts"
import { Principal } from "../src/security/Principal.ts"
import { TokenVerifier } from "../src/security/TokenVerifier.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { type Figure, measured } from "./support/Figure.ts"
import { median, rounds } from "./support/Rounds.ts"

const CHECKS = 2_000
const WARM_UP_ROUNDS = 5
const ROUNDS = 21
const CHECK_US_MAX = 20
const HOUR_MS = 3_600_000
const UNIT = "µs"

const ORIGIN = "https://app.example.com"
const secret = Redacted.make(randomBytes(32).toString("base64url"))

const admin = new Principal({
  id: "user_bench",
  kind: "user",
  owner: "user_bench",
  scopes: ["admin"],
  tier: "enterprise",
})

const identity = (folder: string) =>
  Layer.mergeAll(authenticatorLayer, ApiKeys.layer).pipe(
    Layer.provide(
      TokenVerifier.layer({
        issuer: "renderowl",
        audience: "renderowl",
        keys: { _tag: "Secret", secret },
      }),
    ),
    Layer.provide([KeyUses.layer, ApiKeyList.layer]),
    Layer.provideMerge(RenderOwl.layer({ database: { filename: join(folder, "owl.db") } })),
  )

const bearer = (): string => {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString("base64url")
  const claims = { iss: "renderowl", aud: "renderowl", sub: "ada", scope: "jobs:read jobs:write" }
  const content = `${part({ alg: "HS256" })}.${part({ ...claims, exp: Date.now() / 1_000 + 3_600 })}`
  const signature = createHmac("sha256", Redacted.value(secret)).update(content).digest("base64url")
  return `${content}.${signature}`
}

/** Microseconds a check, the median of the rounds. */
const measure = (
  credential: string,
  presentationOf: (n: number) => Presentation,
  before: () => void = () => {},
) =>
  Effect.gen(function* () {
    const { authenticate } = yield* Authenticator
    const check = (n: number) =>
      Effect.suspend(() => {
        before()
        return authenticate(Redacted.make(credential), presentationOf(n))
      })
    const figures: Array<number> = []
    for (let round = -WARM_UP_ROUNDS; round < rounds(ROUNDS); round++) {
      const start = performance.now()
      for (let n = 0; n < CHECKS; n++) yield* check(n)
      if (round >= 0) figures.push(((performance.now() - start) * 1_000) / CHECKS)
    }
    return median(figures)
  })

const from = (address: string): Presentation => ({ now: Date.now(), address, origin: ORIGIN })
const fromHere = () => from("127.0.0.1")
const fromAnywhere = (n: number) => from(`10.${NETWORKS_MAX - 1}.${n >> 8}.${n & 255}`)

const limits = {
  expires_at: Date.now() + HOUR_MS,
  allowed_ips: Array.from({ length: NETWORKS_MAX }, (_, n) => `10.${n}.0.0/16`),
  allowed_origins: [ORIGIN],
} satisfies Partial<NewApiKey>

export const auth: Benchmark<unknown> = {
  question: "What does it cost to tell who is calling?",
  run: Effect.fnUntraced(function* () {
    const folder = yield* benchFolder
    return yield* Effect.gen(function* () {
      const keys = yield* ApiKeys
      const recognised = yield* RecognisedKeys
      const newKey = (wanted: Partial<NewApiKey>) =>
        Effect.map(keys.create(admin, { name: "bench", scopes: ["jobs:read"], ...wanted }), ({ secret }) =>
          Redacted.value(secret),
        )
      const plain = yield* newKey({})
      const limited = yield* newKey(limits)
      const figure = (name: string, figure: number, below: number | null): Figure =>
        measured({ name, unit: UNIT, figure, below })
      return [
        figure("a known key", yield* measure(plain, fromHere), CHECK_US_MAX),
        figure(
          "a known key with expiry, networks and origins",
          yield* measure(limited, () => fromAnywhere(0)),
          CHECK_US_MAX,
        ),
        figure(
          "the same, from another address each time",
          yield* measure(limited, fromAnywhere),
          CHECK_US_MAX,
        ),
        figure("a key for the first time", yield* measure(plain, fromHere, recognised.forgetAll), null),
        figure("a token, HS256", yield* measure(bearer(), fromHere), null),
      ]
    }).pipe(Effect.provide(identity(folder)))
  }),
}

if (import.meta.main) await runBenchmark(auth)
