/** What is done to the queues: every step that a client, an operator or bad luck can take, as fast-check draws them. */
import * as fc from "fast-check"
import type { QueueLimits } from "../../src/jobs/QueueBehavior.ts"
import { PRIORITIES, type DependencyFailurePolicy, type Priority } from "../../src/jobs/JobEvents.ts"

/**
 * How an attempt ends. `later` names the moment of its retry, `hang` runs into its time limit, and of one that does `vanish`
 * nothing is left that could tell the queue: its lease runs out.
 */
export const OUTCOMES = ["complete", "fail", "fatal", "later", "die", "interrupt", "hang", "vanish"] as const
export type Outcome = (typeof OUTCOMES)[number]

/** What a handler does: the same in each attempt, but for the end. When there is no outcome left, it completes. */
export interface Script {
  readonly acts: ReadonlyArray<"step" | "progress" | "log" | number>
  readonly outcomes: ReadonlyArray<Outcome>
  /** How long it takes to end once it is interrupted. */
  readonly unwinding: number
}

export interface Plan {
  readonly queue: string
  readonly type: "quick" | "slow"
  readonly priority: Priority
  readonly script: Script
  readonly maxAttempts: number
  readonly delay: number | undefined
  readonly expiresIn: number | undefined
  readonly idempotencyKey: string | undefined
  /** With a key that is taken: the request that has it, word for word. */
  readonly repeats: boolean
  readonly concurrencyKey: string | undefined
  /** Which of the jobs there are, the batch's own included. */
  readonly dependsOn: ReadonlyArray<number>
  readonly policy: DependencyFailurePolicy | undefined
}

export type Step =
  | { readonly do: "enqueue"; readonly plan: Plan }
  | { readonly do: "batch"; readonly plans: ReadonlyArray<Plan> }
  | { readonly do: "cancel" | "retry"; readonly of: number }
  | { readonly do: "reschedule"; readonly of: number; readonly in: number }
  | { readonly do: "prioritize"; readonly of: number; readonly priority: Priority }
  | { readonly do: "pause" | "resume" | "drain"; readonly queue: string }
  | { readonly do: "limit"; readonly queue: string; readonly limits: QueueLimits }
  | { readonly do: "wait"; readonly ms: number }
  /** The process ends in good order, or from one moment to the next, and another one begins. */
  | { readonly do: "restart" | "kill" }
  | { readonly do: "fill disk" | "free disk" }

export const QUEUES = ["a", "b"] as const

const of = fc.nat({ max: 30 })
const queue = fc.constantFrom(...QUEUES)
const priority = fc.constantFrom(...PRIORITIES)
/** Absent so many times as often as not. */
const sometimes = <A>(arbitrary: fc.Arbitrary<A>, absent = 3) =>
  fc.oneof({ weight: absent, arbitrary: fc.constant(undefined) }, { weight: 1, arbitrary })
/** Moments that meet, and lengths on both sides of every limit of the engine: heartbeats, leases, retries. */
const ms = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(1, 500, 1_000, 2_000, 5_000, 10_000) },
  { weight: 2, arbitrary: fc.integer({ min: 1, max: 3_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(31_000, 90_000) },
)

/** Four of them outlive a lease, and end before the time limit. */
const work = fc.oneof(fc.constantFrom(1, 500, 1_000, 10_000, 21_000), fc.integer({ min: 1, max: 3_000 }))

/** At once, mostly. */
const unwinding = fc.oneof(
  { weight: 3, arbitrary: fc.constant(0) },
  { weight: 1, arbitrary: fc.constantFrom(1, 500, 2_000, 10_000) },
)

const script = fc.record({
  acts: fc.array(
    fc.oneof(
      { weight: 2, arbitrary: work },
      { weight: 1, arbitrary: fc.constantFrom("step" as const, "progress" as const, "log" as const) },
    ),
    { maxLength: 4 },
  ),
  outcomes: fc.array(
    fc.oneof(
      { weight: 3, arbitrary: fc.constantFrom("complete" as const, "fail" as const) },
      { weight: 1, arbitrary: fc.constantFrom(...OUTCOMES) },
    ),
    { maxLength: 3 },
  ),
  unwinding,
})

const plan: fc.Arbitrary<Plan> = fc.record({
  queue,
  type: fc.constantFrom("quick" as const, "slow" as const),
  priority,
  script,
  maxAttempts: fc.integer({ min: 1, max: 3 }),
  delay: sometimes(ms),
  expiresIn: sometimes(ms, 6),
  idempotencyKey: sometimes(fc.constantFrom("k1", "k2", "k3")),
  repeats: fc.boolean(),
  concurrencyKey: sometimes(fc.constantFrom("x", "y"), 1),
  dependsOn: fc.oneof(
    { weight: 3, arbitrary: fc.constant([]) },
    { weight: 1, arbitrary: fc.array(of, { minLength: 1, maxLength: 3 }) },
  ),
  policy: sometimes(fc.constantFrom("cancel" as const, "run" as const, "wait" as const), 1),
})

const plain = { noNullPrototype: true }
const rateLimit = fc.record({ starts: fc.integer({ min: 1, max: 3 }), per_ms: ms }, plain)
const limits = fc.record(
  {
    concurrency: fc.option(fc.integer({ min: 1, max: 3 })),
    key_concurrency: fc.integer({ min: 1, max: 2 }),
    rate_limit: fc.option(rateLimit),
  },
  plain,
)

/** One step. Work comes more often than trouble. */
export const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ do: fc.constant("enqueue" as const), plan }) },
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("batch" as const),
      plans: fc.array(plan, { minLength: 1, maxLength: 5 }),
    }),
  },
  { weight: 8, arbitrary: fc.record({ do: fc.constant("wait" as const), ms }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constantFrom("cancel" as const, "retry" as const), of }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reschedule" as const), of, in: ms }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("prioritize" as const), of, priority }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constantFrom("pause" as const, "drain" as const), queue }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("resume" as const), queue }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("limit" as const), queue, limits }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom("restart" as const, "kill" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("fill disk" as const) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("free disk" as const) }) },
)
