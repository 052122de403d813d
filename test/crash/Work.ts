/**
 * The work of a load: jobs whose payload says how they go, so that the seed decides on it and not the clock, and
 * submissions of them drawn at random.
 */
import { Clock, Effect, Random, Schema } from "effect"
import { appendFileSync } from "node:fs"
import { join } from "node:path"
import * as Job from "../../src/jobs/Job.ts"
import { PRIORITIES } from "../../src/jobs/JobEvents.ts"
import type { Submission } from "../../src/jobs/Submission.ts"
import { type Promised, RUNS_LOG } from "./LoadProtocol.ts"

/** All named queues of the load. Keys are unique in a queue, so jobs with a key go to the first. */
export const QUEUES: readonly [string, string, string] = ["a", "b", "c"]
/** Few enough for every key to be asked for again in later lives of the process. */
const KEYS = 300
/** Tenants, as it were: jobs of one share the queue's limit for a key. */
const CONCURRENCY_KEYS = 4
const HOUR_MS = 3_600_000
/** Short enough for some jobs to expire before their turn. */
const EXPIRY_MS_MAX = 100
const STEPS_MAX = 2
const STEP_MS_MAX = 4
const FAILURES_MAX = 2

/** Makes its steps, each of which takes `ms`, and fails its first `failures` attempts. */
export const Work = Job.make("crash:work", {
  payload: Schema.Struct({
    tag: Schema.String,
    steps: Schema.Int,
    ms: Schema.Int,
    failures: Schema.Int,
    /** A failure is the last one. */
    fatal: Schema.Boolean,
    /** The batch that it came with, which is there whole or not at all. */
    batch: Schema.NullOr(Schema.Struct({ name: Schema.String, size: Schema.Int })),
  }),
  success: Schema.String,
  error: Schema.TaggedStruct("NotYet", { retryable: Schema.Boolean }),
  // Every kill costs the jobs that run an attempt: enough of them for more kills than a test has.
  retry: { maxAttempts: 1_000, base: "5 millis", max: "20 millis" },
})

export type WorkPayload = typeof Work.payload.Type

/** Runs the work and writes down each run and each step, before anything else of it happens. */
export const workLive = (folder: string) => {
  // The page cache keeps what was written when a process is killed, so this needs no fsync.
  const note = (line: string) => Effect.sync(() => appendFileSync(join(folder, RUNS_LOG), `${line}\n`))
  return Work.toLayer(
    Effect.fnUntraced(function* ({ failures, fatal, ms, steps, tag }, job) {
      yield* note(`run ${job.id} ${job.attempt}`)
      for (let step = 1; step <= steps; step++) {
        const name = `step-${step}`
        yield* job.step(name, Effect.as(note(`step ${job.id} ${job.attempt} ${name}`), tag))
        yield* job.progress({ percent: (100 * step) / steps })
        yield* job.log(name)
        yield* Effect.sleep(ms)
      }
      if (job.attempt <= failures) return yield* Effect.fail({ _tag: "NotYet" as const, retryable: !fatal })
      return tag
    }),
    { concurrency: 20 },
  )
}

/** One of several. */
export const choose = <A>(all: ReadonlyArray<A>) =>
  Effect.map(Random.nextIntBetween(0, all.length, { halfOpen: true }), (index) => all[index]!)

/** A submission as the load draws it. */
export interface Draft extends Submission {
  readonly payload: WorkPayload
}

/** A job with a name of its own, or with a key and the name and payload that belong to it. */
export const submission = Effect.fnUntraced(function* (name: string) {
  const key = (yield* Random.next) < 0.2 ? `key-${yield* Random.nextIntBetween(0, KEYS)}` : undefined
  const fails = key === undefined && (yield* Random.next) < 0.15
  const far = key === undefined && (yield* Random.next) < 0.1
  const expires = key === undefined && !far && (yield* Random.next) < 0.05
  const tenant = (yield* Random.next) < 0.2 ? yield* Random.nextIntBetween(1, CONCURRENCY_KEYS) : undefined
  const now = yield* Clock.currentTimeMillis
  const draft: Draft = {
    type: Work.type,
    payload: {
      // The same key with another payload would rightly be refused.
      tag: key ?? name,
      steps: key === undefined ? yield* Random.nextIntBetween(0, STEPS_MAX) : 1,
      ms: key === undefined ? yield* Random.nextIntBetween(0, STEP_MS_MAX) : 1,
      failures: fails ? yield* Random.nextIntBetween(1, FAILURES_MAX) : 0,
      fatal: fails && (yield* Random.next) < 0.3,
      batch: null,
    },
    queue: key === undefined ? yield* choose(QUEUES) : QUEUES[0],
    priority: yield* choose(PRIORITIES),
    tags: [yield* choose(["red", "green"]), "crash"],
    idempotencyKey: key,
    concurrencyKey: tenant === undefined ? undefined : `tenant-${tenant}`,
    dueAt: far ? now + HOUR_MS : undefined,
    expiresAt: expires ? now + (yield* Random.nextIntBetween(10, EXPIRY_MS_MAX)) : undefined,
  }
  return draft
})

/** With another job that must end first. */
export const after = Effect.fnUntraced(function* (draft: Draft, ...dependsOn: ReadonlyArray<string>) {
  return { ...draft, dependsOn, onDependencyFailure: yield* choose(["cancel", "run"] as const) }
})

/** Drafts as one batch: in one queue, or each in its own. Jobs with a key may be there before it, and are not counted. */
export const asBatch = (
  name: string,
  drafts: ReadonlyArray<Draft>,
  queue: string | undefined,
): ReadonlyArray<Draft> => {
  const batch = { name, size: drafts.filter(isPlain).length }
  return drafts.map((draft) =>
    isPlain(draft) ? { ...draft, queue: queue ?? draft.queue, payload: { ...draft.payload, batch } } : draft,
  )
}

/** Whether a job has no key, and so is new whenever it is submitted. */
export const isPlain = ({ idempotencyKey }: Draft): boolean => idempotencyKey === undefined

/** What the answer to a submission promises. */
export const promise = (id: string, { idempotencyKey: key, payload: { tag } }: Draft): Promised => ({
  id,
  tag,
  key,
})
