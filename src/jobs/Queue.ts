/**
 * The job queue of this process: submitting jobs, commanding them, and following them. It keeps one actor for each named
 * queue and finds the right one for a job; it decides nothing itself.
 */
import {
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  type Fiber,
  FiberSet,
  Layer,
  type Scope,
  Schema,
  Stream,
} from "effect"
import type { Json } from "effect/Schema"
import type { MailboxFull } from "../actor/Mailbox.ts"
import { type EventMetadata, Journal, type JournalError } from "../journal/Journal.ts"
import * as TypeId from "../security/TypeId.ts"
import type { Registration } from "./Attempt.ts"
import type { Job } from "./Job.ts"
import { JobBehavior } from "./JobBehavior.ts"
import {
  type IdempotencyKeyReused,
  InvalidPayload,
  type JobConflict,
  JobNotFound,
  TooManyQueues,
  UnknownJobType,
} from "./JobErrors.ts"
import { type JobEvent, type Priority, wholeMillis } from "./JobEvents.ts"
import { isFinished, type JobState, type ProgressRecord } from "./JobState.ts"
import { JobStore } from "./JobStore.ts"
import { LiveProgress } from "./LiveProgress.ts"
import { enqueueAcross, type Enqueued, type JobSpec, loadJob, type NewJob } from "./Enqueue.ts"
import { type QueueActivity, QueueActor } from "./QueueActor.ts"

/** Named queues one process keeps. */
const QUEUES_MAX = 1_000
/** Attempts of one type at a time in one queue, unless something says otherwise. */
const DEFAULT_CONCURRENCY = 5
/** After the stop of a handler: how long its attempts may go on before they are handed back. */
const DEFAULT_GRACE: Duration.Input = "8 seconds"

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
  readonly maxAttempts?: number | undefined
  readonly timeoutMs?: number | undefined
  readonly idempotencyKey?: string | undefined
  readonly tags?: ReadonlyArray<string> | undefined
  /** Default: a new id. */
  readonly id?: string | undefined
  readonly metadata?: EventMetadata | undefined
  /** The definition whose schema has just encoded the payload, which then needs no other check. */
  readonly encodedBy?: Registration["job"] | undefined
}

/** A payload is taken as its schema says or not at all; everything that is wrong with it is reported. */
const STRICT = { onExcessProperty: "error", errors: "all" } as const

/** Options of {@link Queue.enqueue}. */
export interface EnqueueOptions extends Omit<Submission, "type" | "payload" | "dueAt" | "encodedBy"> {
  readonly delay?: Duration.Input | undefined
}

/** A job as it stands. */
export interface JobSnapshot {
  readonly id: string
  readonly state: JobState
  readonly version: number
  /** Newer than the journal's while the job runs in this process. */
  readonly liveProgress: ProgressRecord | undefined
}

/** What following a job live tells. */
export type JobUpdate =
  | { readonly _tag: "Event"; readonly version: number; readonly at: number; readonly event: JobEvent }
  | { readonly _tag: "Progress"; readonly progress: ProgressRecord }

type StoreError = JournalError | MailboxFull
export type SubmitError = UnknownJobType | InvalidPayload | IdempotencyKeyReused | TooManyQueues | StoreError
export type CommandError = JobNotFound | JobConflict | TooManyQueues | StoreError

export class Queue extends Context.Service<
  Queue,
  {
    /** Submits one job. With a known idempotency key: the job that has it. */
    readonly submit: (submission: Submission) => Effect.Effect<Enqueued, SubmitError>
    /** Submits several, in one transaction, all or none. */
    readonly submitBatch: (
      submissions: ReadonlyArray<Submission>,
    ) => Effect.Effect<ReadonlyArray<Enqueued>, SubmitError>
    readonly get: (id: string) => Effect.Effect<JobSnapshot, JobNotFound | JournalError>
    /** Ends the job; a handler that runs it is interrupted. */
    readonly cancel: (
      id: string,
      reason?: string,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, CommandError>
    /** Redrives a dead or cancelled job; lets a waiting one run at once. */
    readonly retry: (id: string, metadata?: EventMetadata) => Effect.Effect<void, CommandError>
    readonly reschedule: (
      id: string,
      dueAt: number,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, CommandError>
    readonly prioritize: (
      id: string,
      priority: Priority,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, CommandError>
    /** Waits until the job has ended, and answers it as it then stands. */
    readonly await: (id: string) => Effect.Effect<JobSnapshot, JobNotFound | JournalError>
    /**
     * The job's events after a version and its live progress; ends after the event that ends the job.
     */
    readonly follow: (
      id: string,
      afterVersion?: number,
    ) => Stream.Stream<JobUpdate, JobNotFound | JournalError>
    /** Runs a type of job in this process while the scope is open. */
    readonly register: (registration: Registration) => Effect.Effect<void, never, Scope.Scope>
    /** The types that run here. */
    readonly types: Effect.Effect<ReadonlyArray<Registration["job"]>>
    /** What each queue does in this process. */
    readonly activity: Effect.Effect<ReadonlyMap<string, QueueActivity>>
    /** Starts no further attempt. The way back is a restart. */
    readonly quiesce: Effect.Effect<void>
  }
>()("renderowl/jobs/Queue") {
  /** Submits a typed job. */
  static enqueue<Type extends string, Payload, Success, Failure>(
    job: Job<Type, Payload, Success, Failure>,
    payload: Payload,
    options: EnqueueOptions = {},
  ): Effect.Effect<Enqueued, SubmitError, Queue> {
    return Effect.withFiber((fiber) => {
      const queue = Context.getUnsafe(fiber.context, Queue)
      const { delay } = options
      const dueAt = delay === undefined ? undefined : nowOf(fiber) + Duration.toMillis(delay)
      return Schema.encodeEffect(job.payload)(payload).pipe(
        Effect.mapErrorEager((cause) => new InvalidPayload({ type: job.type, cause })),
        Effect.flatMapEager((encoded) =>
          queue.submit({
            type: job.type,
            payload: (encoded ?? null) as Json,
            encodedBy: job,
            queue: options.queue ?? job.queue,
            priority: options.priority,
            dueAt,
            maxAttempts: options.maxAttempts ?? job.retry.maxAttempts,
            timeoutMs: options.timeoutMs ?? job.timeoutMs,
            idempotencyKey: options.idempotencyKey,
            tags: options.tags,
            id: options.id,
            metadata: options.metadata,
          }),
        ),
      )
    })
  }

  /**
   * `concurrency`: attempts of one type at a time in one queue. `grace`: how long attempts may go on when their handler
   * is stopped. `worker`: names this process in the history.
   */
  static readonly layer = (
    options: {
      readonly concurrency?: number | undefined
      readonly grace?: Duration.Input | undefined
      readonly worker?: string | undefined
    } = {},
  ): Layer.Layer<Queue, JournalError, Journal | JobStore> => Layer.effect(Queue, make(options))
}

const make = Effect.fnUntraced(function* (options: Parameters<typeof Queue.layer>[0] & {}) {
  const journal = yield* Journal
  const store = yield* JobStore
  const ids = yield* TypeId.Generator
  const fork = yield* FiberSet.runtime(yield* FiberSet.make<void, never>())()
  const graceMs = Duration.toMillis(options.grace ?? DEFAULT_GRACE)
  /** The types that can be submitted here, and the handlers that take further jobs of them. */
  const types = new Map<string, Registration["job"]>()
  const registrations = new Map<string, Registration>()
  const actors = new Map<string, QueueActor>()
  const live = new LiveProgress()
  let quiescent = false
  let closed = false

  const quiesce = Effect.sync(() => {
    quiescent = true
    for (const actor of actors.values()) actor.quiesce()
  })

  const actorOf = (name: string): Effect.Effect<QueueActor, TooManyQueues> => {
    const known = actors.get(name)
    return known === undefined ? startActor(name) : Effect.succeed(known)
  }

  const startActor = (name: string): Effect.Effect<QueueActor, TooManyQueues> =>
    Effect.suspend(() => {
      const known = actors.get(name)
      if (known !== undefined) return Effect.succeed(known)
      if (closed) return Effect.interrupt
      if (actors.size >= QUEUES_MAX) return Effect.fail(new TooManyQueues({ max: QUEUES_MAX }))
      const actor = new QueueActor({
        name,
        journal,
        store,
        live,
        registrations,
        concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
        worker: options.worker ?? `pid-${process.pid}`,
        fork: (effect) => fork(effect),
      })
      if (quiescent) actor.quiesce()
      actors.set(name, actor)
      return Effect.succeed(actor)
    })

  // The queues of an earlier process: their leases are recovered and their timers set at once.
  for (const name of yield* store.queues) {
    const actor = yield* Effect.orDie(actorOf(name))
    actor.wake()
  }
  // Attempts under way may still submit jobs of their own; whoever comes after them is interrupted.
  yield* Effect.addFinalizer(() =>
    quiesce.pipe(
      Effect.andThen(
        Effect.forEach(actors.values(), (actor) => actor.retire(undefined, graceMs), {
          concurrency: "unbounded",
        }),
      ),
      Effect.andThen(
        Effect.suspend(() => {
          const last = [...actors.values()]
          closed = true
          actors.clear()
          return Effect.forEach(last, (actor) => actor.settled, { concurrency: "unbounded" })
        }),
      ),
    ),
  )

  const load = Effect.fnUntraced(function* (id: string) {
    const job = yield* loadJob(journal, id)
    return job.version === 0 ? yield* new JobNotFound({ id }) : job
  })

  const get = (id: string): Effect.Effect<JobSnapshot, JobNotFound | JournalError> =>
    Effect.map(load(id), (job) => ({ ...job, liveProgress: live.get(id) }))

  const newJob = (submission: Submission, job: Registration["job"], now: number): NewJob => ({
    id: submission.id ?? ids.next("job", now),
    spec: specOf(submission, job, now),
    metadata: submission.metadata,
  })

  /** Checks the payload against its type and fills in what the type decides. */
  const prepare = (
    submission: Submission,
    now: number,
    index?: number,
  ): Effect.Effect<NewJob, UnknownJobType | InvalidPayload> => {
    const { type, payload } = submission
    const job = types.get(type)
    if (job !== undefined && submission.encodedBy === job) return Effect.succeed(newJob(submission, job, now))
    const inBatch = index === undefined ? {} : { index }
    if (job === undefined) {
      const known = [...types.keys()].toSorted()
      return Effect.fail(new UnknownJobType({ type, known, ...inBatch }))
    }
    return Schema.decodeUnknownEffect(job.payload)(payload, STRICT).pipe(
      Effect.mapErrorEager((cause) => new InvalidPayload({ type, cause, ...inBatch })),
      Effect.mapEager(() => newJob(submission, job, now)),
    )
  }

  // One step of the fiber as long as the schema is synchronous: generators cost 64 callers a fifth of their throughput.
  const submit = (submission: Submission): Effect.Effect<Enqueued, SubmitError> =>
    Effect.withFiber((fiber) =>
      Effect.flatMapEager(prepare(submission, nowOf(fiber)), (job) =>
        Effect.flatMapEager(actorOf(job.spec.queue), (actor) => actor.enqueue(job)),
      ),
    )

  const submitBatch = Effect.fnUntraced(function* (submissions: ReadonlyArray<Submission>) {
    const now = yield* Clock.currentTimeMillis
    const jobs: Array<NewJob> = []
    for (const [index, submission] of submissions.entries()) {
      const prepared = prepare(submission, now, index)
      jobs.push(isSuccess(prepared) ? prepared.value : yield* prepared)
    }
    const byQueue = Map.groupBy(jobs, (job) => job.spec.queue)
    const [first] = byQueue
    if (first === undefined) return []
    const [queue, all] = first
    if (byQueue.size === 1) return yield* (yield* actorOf(queue)).enqueueAll(all)
    // Fresh streams have no other writer, so a batch for several queues is appended here, and their actors take notice
    // whether or not the caller is still there.
    const concerned: Array<QueueActor> = []
    for (const name of byQueue.keys()) concerned.push(yield* actorOf(name))
    return yield* enqueueAcross({ journal, store }, jobs, now).pipe(
      Effect.tap(() => Effect.sync(() => concerned.forEach((actor) => actor.notice()))),
      Effect.uninterruptible,
    )
  })

  const command = <A>(
    id: string,
    send: (actor: QueueActor) => Effect.Effect<A, JobConflict | JobNotFound | StoreError>,
  ): Effect.Effect<A, CommandError> =>
    load(id).pipe(
      Effect.flatMap(({ state }) => actorOf(state.queue)),
      Effect.flatMap(send),
    )

  const follow = (id: string, afterVersion = 0): Stream.Stream<JobUpdate, JobNotFound | JournalError> =>
    Stream.unwrap(
      Effect.map(load(id), ({ state, version }) => {
        // Nobody has seen what has not happened: from a version to come the end would be missed.
        const seen = Math.min(afterVersion, version)
        const events = journal.subscribeStream(id, { afterVersion: seen }).pipe(
          Stream.map(
            ({ version, recordedAt, event }): JobUpdate => ({
              _tag: "Event",
              version,
              at: recordedAt,
              event: event as JobEvent,
            }),
          ),
        )
        // Whoever has already seen the end gets nothing more; everyone else reads up to it.
        if (isFinished(state) && seen === version) return Stream.empty
        const progress = Stream.map(
          live.follow(id),
          (progress): JobUpdate => ({ _tag: "Progress", progress }),
        )
        // A job that was redriven has ended before: only an end from here on is the end.
        return Stream.merge(events, progress).pipe(
          Stream.takeUntil(
            (update) => update._tag === "Event" && update.version >= version && isEnd(update.event),
          ),
        )
      }),
    )

  return Queue.of({
    submit,
    submitBatch,
    get,
    cancel: (id, reason, metadata) =>
      command(id, (actor) =>
        actor.command(
          id,
          (state, context) =>
            JobBehavior.decide.Cancel(state, reason === undefined ? {} : { reason }, context),
          metadata,
        ),
      ),
    retry: (id, metadata) =>
      command(id, (actor) =>
        actor.command(id, (state, context) => JobBehavior.decide.Retry(state, undefined, context), metadata),
      ),
    reschedule: (id, dueAt, metadata) =>
      command(id, (actor) =>
        actor.command(
          id,
          (state, context) => JobBehavior.decide.Reschedule(state, { dueAt: wholeMillis(dueAt) }, context),
          metadata,
        ),
      ),
    prioritize: (id, priority, metadata) =>
      command(id, (actor) =>
        actor.command(
          id,
          (state, context) => JobBehavior.decide.Reprioritize(state, { priority }, context),
          metadata,
        ),
      ),
    follow,
    await: (id) => Effect.andThen(Stream.runDrain(follow(id)), get(id)),
    register: (registration) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const { type } = registration.job
          if (types.has(type)) throw new Error(`two handlers for jobs of type ${type}`)
          types.set(type, registration.job)
          registrations.set(type, registration)
          for (const actor of actors.values()) actor.addType(type)
        }),
        () => {
          const { type } = registration.job
          registrations.delete(type)
          return Effect.forEach(actors.values(), (actor) => actor.retire(type, graceMs), {
            concurrency: "unbounded",
            discard: true,
            // Until then its attempts may submit jobs of the type, for the next handler.
          }).pipe(Effect.ensuring(Effect.sync(() => types.delete(type))))
        },
      ),
    types: Effect.sync(() => [...types.values()]),
    activity: Effect.map(
      Clock.currentTimeMillis,
      (now) => new Map([...actors].map(([name, actor]) => [name, actor.activity(now)])),
    ),
    quiesce,
  })
})

/** Whether an effect has ended well already: it then needs no step of the fiber. */
const isSuccess = <A, E>(effect: Effect.Effect<A, E>): effect is Exit.Success<A> =>
  Exit.isExit(effect) && Exit.isSuccess(effect)

/** The moment by the fiber's clock, without a step of its own. */
const nowOf = (fiber: Fiber.Fiber<unknown, unknown>): number =>
  fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()

const specOf = (submission: Submission, job: Registration["job"], now: number): JobSpec => {
  const { dueAt, idempotencyKey, tags } = submission
  const spec: { -readonly [Key in keyof JobSpec]: JobSpec[Key] } = {
    queue: submission.queue ?? job.queue,
    type: submission.type,
    priority: submission.priority ?? "normal",
    payload: submission.payload,
    max_attempts: submission.maxAttempts ?? job.retry.maxAttempts,
    timeout_ms: wholeMillis(submission.timeoutMs ?? job.timeoutMs),
  }
  if (dueAt !== undefined && dueAt > now) spec.due_at = wholeMillis(dueAt)
  if (idempotencyKey !== undefined) spec.idempotency_key = idempotencyKey
  if (tags !== undefined && tags.length > 0) spec.tags = [...new Set(tags)]
  return spec
}

const isEnd = ({ _tag }: JobEvent): boolean =>
  _tag === "JobCompleted" || _tag === "JobDeadLettered" || _tag === "JobCancelled"
