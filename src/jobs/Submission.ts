/**
 * What is submitted, and how it becomes the first event of a job: the payload is checked against its type, what the caller
 * left open is filled in, and what a job waits for is looked up. Nothing is stored here.
 */
import { Duration, Effect, Exit } from "effect"
import type { Json } from "effect/Schema"
import type { EventMetadata, JournalError } from "../journal/Journal.ts"
import type { JobSpec, NewJob } from "./Enqueue.ts"
import { AlreadyExpired, InvalidDependency, InvalidPayload, UnknownJobType } from "./JobErrors.ts"
import { type DependencyFailurePolicy, type Priority, wholeMillis } from "./JobEvents.ts"
import type { AnyJobType } from "./JobType.ts"
import { decodeStored } from "./StoredValue.ts"

/** A job as it is submitted by name: what HTTP clients send. */
export interface Submission {
  readonly type: string
  readonly payload: Json
  /** Default: the type's. */
  readonly queue?: string | undefined
  /** Default: normal. */
  readonly priority?: Priority | undefined
  /** Milliseconds since 1970 before which it does not run. */
  readonly dueAt?: number | undefined
  /** Milliseconds since 1970 from which on it is not started any more. */
  readonly expiresAt?: number | undefined
  readonly maxAttempts?: number | undefined
  readonly timeoutMs?: number | undefined
  readonly idempotencyKey?: string | undefined
  /** Jobs of a queue with the same key share its `key_concurrency`. */
  readonly concurrencyKey?: string | undefined
  /** Ids of jobs that must complete first; within a batch also their `ref`. */
  readonly dependsOn?: ReadonlyArray<string> | undefined
  /** What becomes of it when one of them fails. Default: cancel. */
  readonly onDependencyFailure?: DependencyFailurePolicy | undefined
  /** A name by which other jobs of the same batch may depend on this one. */
  readonly ref?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
  /** Default: a new id. */
  readonly id?: string | undefined
  readonly metadata?: EventMetadata | undefined
  /** The definition whose schema has just encoded the payload, which then needs no other check. */
  readonly encodedBy?: AnyJobType | undefined
}

/** Options of `Queue.enqueue`. */
export interface EnqueueOptions extends Omit<
  Submission,
  "type" | "payload" | "dueAt" | "expiresAt" | "encodedBy" | "ref"
> {
  /** Not before so much time has passed. */
  readonly delay?: Duration.Input | undefined
  /** Not started any more when so much time has passed. */
  readonly expiresIn?: Duration.Input | undefined
}

/** A submission that cannot become a job. */
export type InvalidSubmission = UnknownJobType | InvalidPayload | AlreadyExpired | InvalidDependency

/** How the jobs of these ids stand: `undefined` where there is no such job. */
export type DependencyStates = (
  ids: ReadonlyArray<string>,
) => Effect.Effect<ReadonlyMap<string, { readonly isCompleted: boolean }>, JournalError>

export interface PreparationServices {
  readonly types: ReadonlyMap<string, AnyJobType>
  readonly nextId: (now: number) => string
  readonly dependencyStates: DependencyStates
}

/** A payload is taken as its schema says or not at all; everything that is wrong with it is reported. */
const STRICT = { onExcessProperty: "error", errors: "all" } as const

/**
 * The new job that a submission stands for, but for what it depends on. One step of the fiber as long as the schema is
 * synchronous: generators cost 64 callers a fifth of their throughput.
 */
const prepareAlone = (
  submission: Submission,
  { nextId, types }: PreparationServices,
  now: number,
  index?: number,
): Effect.Effect<NewJob, InvalidSubmission> => {
  const { type, payload } = submission
  const inBatch = index === undefined ? {} : { index }
  const { expiresAt, dueAt = now } = submission
  const tooLate =
    expiresAt !== undefined && expiresAt <= Math.max(now, dueAt)
      ? new AlreadyExpired({ expiresAt, dueAt: Math.max(now, dueAt), ...inBatch })
      : undefined
  // Said again, the same request still means the job that it made in time.
  if (tooLate !== undefined && submission.idempotencyKey === undefined) return Effect.fail(tooLate)
  const job = types.get(type)
  if (job === undefined || (job.isInternal && submission.encodedBy !== job)) {
    const known = [...types.values()].filter(({ isInternal }) => !isInternal).map(({ type }) => type)
    return Effect.fail(new UnknownJobType({ type, known: known.toSorted(), ...inBatch }))
  }
  const newJob = (): NewJob => ({
    id: submission.id ?? nextId(now),
    spec: specOf(submission, job, now),
    metadata: submission.metadata,
    tooLate,
  })
  if (submission.encodedBy === job) return Effect.succeed(newJob())
  return decodeStored(job.payload, payload, STRICT).pipe(
    Effect.mapErrorEager((cause) => new InvalidPayload({ type, cause, ...inBatch })),
    Effect.mapEager(newJob),
  )
}

/** The new job that a submission stands for. */
export const prepare = (
  submission: Submission,
  services: PreparationServices,
  now: number,
): Effect.Effect<NewJob, InvalidSubmission | JournalError> => {
  const job = prepareAlone(submission, services, now)
  if (submission.dependsOn === undefined) return job
  return Effect.flatMap(job, (job) =>
    Effect.map(
      withDependencies([job], [submission], services, () => ({})),
      ([job]) => job!,
    ),
  )
}

/**
 * The new jobs that a batch of submissions stands for: in the order of the batch, and so that each comes after those that it
 * depends on.
 */
export const prepareBatch = Effect.fnUntraced(function* (
  submissions: ReadonlyArray<Submission>,
  services: PreparationServices,
  now: number,
) {
  const alone: Array<NewJob> = []
  for (const [index, submission] of submissions.entries()) {
    const prepared = prepareAlone(submission, services, now, index)
    alone.push(isSuccess(prepared) ? prepared.value : yield* prepared)
  }
  const isPlain = submissions.every(({ dependsOn, ref }) => dependsOn === undefined && ref === undefined)
  if (isPlain) return { jobs: alone, inOrder: alone }
  const jobs = yield* withDependencies(alone, submissions, services, (index) => ({ index }))
  return { jobs, inOrder: yield* dependenciesFirst(jobs, submissions) }
})

/** Fills in what the jobs depend on: refs become ids, jobs that have completed already are left out. */
const withDependencies = Effect.fnUntraced(function* (
  jobs: ReadonlyArray<NewJob>,
  submissions: ReadonlyArray<Submission>,
  { dependencyStates }: PreparationServices,
  inBatch: (index: number) => { readonly index?: number },
) {
  const ofBatch = new Map<string, string>()
  for (const [index, { ref }] of submissions.entries()) {
    ofBatch.set(jobs[index]!.id, jobs[index]!.id)
    if (ref === undefined) continue
    if (ofBatch.has(ref))
      return yield* new InvalidDependency({ fault: "ambiguous", dependency: ref, ...inBatch(index) })
    ofBatch.set(ref, jobs[index]!.id)
  }
  const outside = submissions.flatMap(({ dependsOn = [] }) => dependsOn.filter((name) => !ofBatch.has(name)))
  const states = yield* dependencyStates([...new Set(outside)])
  const all: Array<NewJob> = []
  for (const [index, job] of jobs.entries()) {
    const ids = new Set<string>()
    for (const dependency of submissions[index]!.dependsOn ?? []) {
      const id = ofBatch.get(dependency)
      if (id === job.id)
        return yield* new InvalidDependency({ fault: "cycle", dependency, ...inBatch(index) })
      const state = states.get(dependency)
      if (id !== undefined) ids.add(id)
      else if (state === undefined)
        return yield* new InvalidDependency({ fault: "unknown", dependency, ...inBatch(index) })
      else if (!state.isCompleted) ids.add(dependency)
    }
    const { onDependencyFailure: policy } = submissions[index]!
    const spec: JobSpec = {
      ...job.spec,
      depends_on: [...ids],
      ...(policy === undefined ? {} : { on_dependency_failure: policy }),
    }
    all.push(ids.size === 0 ? job : { ...job, spec })
  }
  return all
})

/** Sorts the jobs of a batch so that each comes after those it depends on; fails where they wait for each other. */
const dependenciesFirst = (
  jobs: ReadonlyArray<NewJob>,
  submissions: ReadonlyArray<Submission>,
): Effect.Effect<ReadonlyArray<NewJob>, InvalidDependency> => {
  const waiting = new Map(jobs.map(({ id, spec }) => [id, new Set(spec.depends_on)]))
  const dependents = new Map<string, Array<NewJob>>()
  for (const job of jobs) {
    for (const dependency of job.spec.depends_on ?? []) {
      if (!waiting.has(dependency)) waiting.get(job.id)!.delete(dependency)
      else dependents.set(dependency, [...(dependents.get(dependency) ?? []), job])
    }
  }
  const sorted = jobs.filter(({ id }) => waiting.get(id)!.size === 0)
  // Grows while it is walked through.
  for (const { id } of sorted) {
    for (const dependent of dependents.get(id) ?? []) {
      const left = waiting.get(dependent.id)!
      if (left.delete(id) && left.size === 0) sorted.push(dependent)
    }
  }
  if (sorted.length === jobs.length) return Effect.succeed(sorted)
  return Effect.fail(cycleAmong(jobs, submissions, waiting))
}

/**
 * Names a cycle: the first of its jobs in the batch, and the one that it waits for, by the name that the caller has for it.
 * Each of those that are left waits for another of them; whoever goes from one to the next comes into a cycle.
 */
const cycleAmong = (
  jobs: ReadonlyArray<NewJob>,
  submissions: ReadonlyArray<Submission>,
  waiting: ReadonlyMap<string, ReadonlySet<string>>,
): InvalidDependency => {
  const places = new Map(jobs.map(({ id }, place) => [id, place]))
  const nextOf = (id: string): string => waiting.get(id)!.values().next().value!
  const path = new Set<string>()
  let id = jobs.find((job) => waiting.get(job.id)!.size > 0)!.id
  for (; !path.has(id); id = nextOf(id)) path.add(id)
  const way = [...path]
  const cycle = way.slice(way.indexOf(id))
  const index = Math.min(...cycle.map((member) => places.get(member)!))
  const dependency = nextOf(jobs[index]!.id)
  const { ref = dependency } = submissions[places.get(dependency)!]!
  return new InvalidDependency({ fault: "cycle", dependency: ref, index })
}

/** Whether an effect has ended well already: it then needs no step of the fiber. */
const isSuccess = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Success<A> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)

const specOf = (submission: Submission, job: AnyJobType, now: number): JobSpec => {
  const { concurrencyKey, dueAt, expiresAt, idempotencyKey, tags } = submission
  const spec: { -readonly [Key in keyof JobSpec]: JobSpec[Key] } = {
    queue: submission.queue ?? job.queue,
    type: submission.type,
    priority: submission.priority ?? "normal",
    payload: submission.payload,
    max_attempts: submission.maxAttempts ?? job.retry.maxAttempts,
    timeout_ms: wholeMillis(submission.timeoutMs ?? job.timeoutMs),
  }
  if (dueAt !== undefined && dueAt > now) spec.due_at = wholeMillis(dueAt)
  if (expiresAt !== undefined) spec.expires_at = wholeMillis(expiresAt)
  if (idempotencyKey !== undefined) spec.idempotency_key = idempotencyKey
  if (concurrencyKey !== undefined) spec.concurrency_key = concurrencyKey
  if (tags !== undefined && tags.length > 0) spec.tags = [...new Set(tags)]
  return spec
}
