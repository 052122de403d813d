/**
 * What does it cost to see whether a caller may ask once more?
 *
 * The limits as the server has them, with their file on disk and written behind meanwhile, without HTTP around them. Dearest
 * are callers that come one after another, each to a bucket of its own, and a refusal, which is an error, a record of it, and
 * the problem that says when to come back.
 */
import { Effect, Layer } from "effect"
import { join } from "node:path"
import { LimitsStore } from "../src/http/rate-limits/LimitsStore.ts"
import * as Limits from "../src/http/rate-limits/RateLimits.ts"
import { Principal } from "../src/security/Principal.ts"
import type { Scope } from "../src/security/Scope.ts"
import { type Benchmark, runBenchmark } from "./support/Benchmark.ts"
import { benchFolder } from "./support/BenchFolder.ts"
import { type Figure, measured } from "./support/Figure.ts"
import { median, rounds } from "./support/Rounds.ts"

const CHECKS = 2_000
const WARM_UP_ROUNDS = 5
const ROUNDS = 21
const CHECK_US_MAX = 20
const CALLERS = 10_000
const UNIT = "µs"
const ROUTE = { method: "GET", path: "/v1/jobs/:id" }

const caller = (id: string, scopes: ReadonlyArray<Scope> = ["jobs:read"]) =>
  new Principal({ id, kind: "api_key", owner: "user_bench", scopes, tier: "enterprise" })

const callers = Array.from({ length: CALLERS }, (_, n) => caller(`key_${n}`))
const one = caller("key_one")
const admin = caller("key_admin", ["admin"])

/** Microseconds a check, the median of the rounds; `before` each round is not measured. */
const measure = (
  check: (n: number) => Effect.Effect<unknown>,
  before: Effect.Effect<unknown> = Effect.void,
) =>
  Effect.gen(function* () {
    const figures: Array<number> = []
    for (let round = -WARM_UP_ROUNDS; round < rounds(ROUNDS); round++) {
      yield* before
      const start = performance.now()
      for (let n = 0; n < CHECKS; n++) yield* check(n)
      if (round >= 0) figures.push(((performance.now() - start) * 1_000) / CHECKS)
    }
    return median(figures)
  })

export const limits: Benchmark<unknown> = {
  question: "What does it cost to see whether a caller may ask once more?",
  run: Effect.fnUntraced(function* () {
    const folder = yield* benchFolder
    return yield* Effect.gen(function* () {
      const { admit, admitAddress } = yield* Limits.RateLimits
      const address = (n: number) => `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`
      let asked = 0
      const figure = (name: string, figure: number): Figure =>
        measured({ name, unit: UNIT, figure, below: CHECK_US_MAX })
      return [
        // Fewer than the caller has, all rounds together.
        figure("the same key again", yield* measure(() => admit(one, ROUTE))),
        figure(
          "one of 10,000 keys after another",
          yield* measure(() => admit(callers[asked++ % CALLERS]!, ROUTE)),
        ),
        figure("a new address each time", yield* measure(() => admitAddress(address(asked++), ROUTE))),
        figure(
          "an address that is refused",
          yield* measure(
            () => admitAddress("192.0.2.1", ROUTE),
            Effect.repeat(admitAddress("192.0.2.1", ROUTE), { times: 1_100 }),
          ),
        ),
        figure(
          "an administrator, beyond the limit",
          yield* measure(() => admit(admin, ROUTE), Effect.repeat(admit(admin, ROUTE), { times: 10_000 })),
        ),
      ]
    }).pipe(
      Effect.provide(
        Limits.layer({ anonymousTier: "free" }).pipe(
          Layer.provide(LimitsStore.layer({ filename: join(folder, "limits.db") })),
        ),
      ),
    )
  }),
}

if (import.meta.main) await runBenchmark(limits)
