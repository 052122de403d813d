/**
 * What enqueueing means whoever does it: the first event's data, when two requests with one idempotency key are the
 * same, and batches that span queues.
 */
import { isDeepStrictEqual } from "node:util"
import { Effect } from "effect"
import type { EventMetadata, Journal, JournalError } from "../journal/Journal.ts"
import { JobBehavior } from "./JobBehavior.ts"
import { type AlreadyExpired, IdempotencyKeyReused, QueueDraining } from "./JobErrors.ts"
import { isJobEvent, type JobEnqueued } from "./JobEvents.ts"
import { absent, asArchived, isFinished } from "./JobState.ts"
import type { JobStore } from "./JobStore.ts"
import { type JobTrace, traceAfter } from "./JobTrace.ts"
import type { VersionedJob } from "./Turn.ts"

/** Tries of a batch whose idempotency keys somebody else takes at the same moment. */
const ACROSS_TRIES = 3

/** What a job is enqueued with: the data of its first event. */
export type JobSpec = Omit<typeof JobEnqueued.Type, "_tag">

export interface NewJob {
  readonly id: string
  readonly spec: JobSpec
  readonly metadata: EventMetadata | undefined
  /** It comes too late to be a new job: it only stands for the one that has its idempotency key. */
  readonly tooLate?: AlreadyExpired | undefined
}

/** The job that an enqueue ended with: a new one, or the one that has the idempotency key. */
export interface Enqueued {
  readonly id: string
  readonly deduplicated: boolean
  /** A new job as its append left it, which spares whoever shows it a look-up. Absent where it is not at hand. */
  job?: VersionedJob | undefined
}

/** The same idempotency key stands for the same request: the same work on the same input. */
export const isSameRequest = (
  a: Pick<JobSpec, "type" | "payload">,
  b: Pick<JobSpec, "type" | "payload">,
): boolean => a.type === b.type && isDeepStrictEqual(a.payload, b.payload)

/**
 * The fold of a job's stream, up to a version or a moment if one is given. Version 0 and absent when there was no such job.
 */
export const loadJob = (
  journal: Journal["Service"],
  id: string,
  until: { readonly version?: number | undefined; readonly at?: number | undefined } = {},
): Effect.Effect<VersionedJob, JournalError> =>
  Effect.map(journal.readStream(id, { limit: until.version }), (events) => {
    let state = absent
    let version = 0
    let trace: JobTrace | undefined
    for (const { event, metadata, recordedAt } of events) {
      if (!isJobEvent(event) || (until.at !== undefined && recordedAt > until.at)) break
      state = JobBehavior.evolve(state, event, recordedAt)
      trace = traceAfter(trace, event, metadata)
      version++
    }
    return { id, state, version, trace, position: events[0]?.position ?? Number.POSITIVE_INFINITY }
  })

/** The job as a command finds it: one in the archive takes none. Only a finished one can be there. */
export const loadForCommand = (
  journal: Journal["Service"],
  id: string,
): Effect.Effect<VersionedJob, JournalError> =>
  Effect.flatMap(loadJob(journal, id), (job) =>
    isFinished(job.state)
      ? Effect.map(journal.isArchived(id), (gone) => (gone ? { ...job, state: asArchived(job.state) } : job))
      : Effect.succeed(job),
  )

/** Finds the job that has an idempotency key of a queue. */
export type FindByKey = (queue: string, key: string) => Effect.Effect<Keyed | undefined, JournalError>

/** Who has an idempotency key, and for which request. */
export interface Keyed {
  readonly id: string
  readonly spec: Pick<JobSpec, "type" | "payload">
}

/**
 * Sorts jobs into new ones and those whose idempotency key is taken, before any of them takes effect: they are enqueued
 * as one or not at all. `enqueued` has an answer for each, in their order.
 */
export const deduplicate = Effect.fnUntraced(function* (jobs: ReadonlyArray<NewJob>, find: FindByKey) {
  const enqueued: Array<Enqueued> = []
  const fresh: Array<NewJob> = []
  const keys = new Map<string, NewJob>()
  /** Ids of jobs that are not new after all, and whose they are. */
  const twins = new Map<string, string>()
  for (const job of jobs) {
    const { idempotency_key: key, queue } = job.spec
    const scope = `${queue} ${key}`
    const twin = key === undefined ? undefined : (keys.get(scope) ?? (yield* find(queue, key)))
    if (key !== undefined && twin !== undefined) {
      if (!isSameRequest(job.spec, twin.spec)) return yield* new IdempotencyKeyReused({ key, id: twin.id })
      twins.set(job.id, twin.id)
      enqueued.push({ id: twin.id, deduplicated: true })
      continue
    }
    if (job.tooLate !== undefined) return yield* job.tooLate
    if (key !== undefined) keys.set(scope, job)
    enqueued.push({ id: job.id, deduplicated: false })
    fresh.push(twins.size === 0 ? job : dependingOn(job, twins))
  }
  return { enqueued, fresh }
})

/** The job, depending on the jobs that there are instead of those that would have been. */
const dependingOn = (job: NewJob, twins: ReadonlyMap<string, string>): NewJob => {
  const { depends_on } = job.spec
  if (depends_on === undefined) return job
  const ids = new Set(depends_on.map((id) => twins.get(id) ?? id))
  return { ...job, spec: { ...job.spec, depends_on: [...ids] } }
}

/**
 * Enqueues jobs of several queues in one append, all or none; a queue that drains refuses those that are new. The queues
 * must be told afterwards.
 */
export const enqueueAcross = (
  services: {
    readonly journal: Journal["Service"]
    readonly store: JobStore["Service"]
    readonly isDraining: (queue: string) => boolean
  },
  jobs: ReadonlyArray<NewJob>,
  now: number,
): Effect.Effect<
  ReadonlyArray<Enqueued>,
  AlreadyExpired | IdempotencyKeyReused | QueueDraining | JournalError
> => {
  const { isDraining, journal, store } = services
  const find: FindByKey = (queue, key) =>
    Effect.flatMap(store.findByKey(queue, key), (id) =>
      id === undefined
        ? Effect.succeed(undefined)
        : Effect.map(loadJob(journal, id), ({ state }) => ({ id, spec: state })),
    )
  const attempt = Effect.gen(function* () {
    const { enqueued, fresh } = yield* deduplicate(jobs, find)
    if (fresh.length === 0) return enqueued
    const draining = fresh.find(({ spec }) => isDraining(spec.queue))
    if (draining !== undefined) return yield* new QueueDraining({ queue: draining.spec.queue })
    yield* journal.append(
      fresh.map(({ id, spec, metadata }) => ({
        stream: id,
        expectedVersion: 0,
        events: [{ _tag: "JobEnqueued", ...spec }],
        metadata,
        requires: spec.depends_on,
      })),
      now,
    )
    return enqueued
  })
  const canRaceForKeys = jobs.some(({ spec }) => spec.idempotency_key !== undefined)
  return canRaceForKeys
    ? Effect.retry(attempt, {
        times: ACROSS_TRIES - 1,
        while: (error) => error._tag === "JournalError" && error.reason._tag === "StoreFailed",
      })
    : attempt
}
