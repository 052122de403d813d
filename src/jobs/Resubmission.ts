/**
 * Submitting jobs again, for a request that is carried out again (`Recall.ts`): the jobs that it had submitted are told from the
 * journal, by the ids that it would give them.
 */
import { Effect } from "effect"
import { type Again, causedBy } from "../actor/Recall.ts"
import type { Journal, JournalError } from "../journal/Journal.ts"
import type { Enqueued } from "./Enqueue.ts"
import { JobBehavior } from "./JobBehavior.ts"
import { isJobEvent } from "./JobEvents.ts"
import { absent } from "./JobState.ts"
import type { JobStore } from "./JobStore.ts"

/** What is submitted, as far as it matters here. */
export interface Named {
  readonly id: string
  readonly queue: string | undefined
  readonly idempotencyKey?: string | undefined
}

/**
 * What the submission of these jobs, all or none, was answered; undefined when the request had not got that far. One that is
 * not there under its own id was known by its idempotency key.
 */
export const recallSubmission = Effect.fnUntraced(function* (
  services: { readonly journal: Journal["Service"]; readonly store: JobStore["Service"] },
  request: Again,
  jobs: ReadonlyArray<Named>,
): Effect.fn.Return<ReadonlyArray<Enqueued> | undefined, JournalError> {
  const own = new Map<string, Enqueued>()
  const isOwn = causedBy(request)
  for (const { id } of jobs) {
    const [first] = yield* services.journal.readStream(id, { limit: 1 })
    if (first === undefined || !isOwn(first) || !isJobEvent(first.event)) continue
    const state = JobBehavior.evolve(absent, first.event, first.recordedAt)
    own.set(id, { id, deduplicated: false, job: { id, state, version: 1, position: first.position } })
  }
  if (own.size === 0) return undefined
  const enqueued: Array<Enqueued> = []
  for (const job of jobs) enqueued.push(own.get(job.id) ?? (yield* knownByKey(services.store, job)))
  for (const id of own.keys()) request.past.recall(id, 1, 1)
  request.acted()
  return enqueued
})

const knownByKey = Effect.fnUntraced(function* (
  store: JobStore["Service"],
  { idempotencyKey, queue }: Named,
): Effect.fn.Return<Enqueued, JournalError> {
  const id =
    idempotencyKey === undefined || queue === undefined
      ? undefined
      : yield* store.findByKey(queue, idempotencyKey)
  // It was there a moment ago and has left for the archive since, with its key.
  if (id === undefined)
    return yield* Effect.die(new Error("a job that was known by its key is there no more"))
  return { id, deduplicated: true }
})
