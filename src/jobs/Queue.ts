/**
 * The job queue of this process: submitting jobs, commanding them, and following them. It keeps one actor for each named
 * queue and finds the right one for a job; it decides nothing itself.
 */
import { Clock, Context, Duration, Effect, FiberSet, Layer, type Scope, Schema, Stream } from "effect"
import type { Json } from "effect/Schema"
import type { MailboxFull } from "../actor/Mailbox.ts"
import { recalling } from "../actor/Recall.ts"
import { type EventMetadata, Journal, type JournalError } from "../journal/Journal.ts"
import * as TypeId from "../security/TypeId.ts"
import { CurrentObserver } from "../telemetry/Observer.ts"
import type { Registration } from "./Attempt.ts"
import { JobBehavior } from "./JobBehavior.ts"
import type { ProgressUpdate } from "./JobContext.ts"
import {
  InvalidPayload,
  type JobConflict,
  JobNotFound,
  type QueueNotFound,
  type StaleLease,
  type TooManyQueues,
} from "./JobErrors.ts"
import { follow, type JobUpdate } from "./JobFeed.ts"
import { type Priority, wholeMillis } from "./JobEvents.ts"
import { type AwaitError, awaitResult } from "./JobResult.ts"
import type { JobState, ProgressRecord } from "./JobState.ts"
import { JobStore } from "./JobStore.ts"
import type { JobType } from "./JobType.ts"
import { LiveProgress } from "./LiveProgress.ts"
import { DependencyTeller } from "./DependencyTeller.ts"
import { type Enqueued, loadJob } from "./Enqueue.ts"
import type { QueueActivity, QueueActor } from "./QueueActor.ts"
import { QueueActors } from "./QueueActors.ts"
import { QueueBehavior, type QueueLimits, streamOfQueue } from "./QueueBehavior.ts"
import type { Decide, Govern } from "./QueueMessage.ts"
import type { EnqueueOptions } from "./Submission.ts"
import { type SubmitError, type Submitter, submitter } from "./Submitter.ts"

export type { SubmitError } from "./Submitter.ts"

/** Attempts of one type at a time in one queue, unless something says otherwise. */
const DEFAULT_CONCURRENCY = 5
/** After the stop of a handler: how long its attempts may go on before they are handed back. */
const DEFAULT_GRACE: Duration.Input = "8 seconds"

/** A job as it stands. */
export interface JobSnapshot {
  readonly id: string
  readonly state: JobState
  readonly version: number
  /** Newer than the journal's while the job runs in this process. */
  readonly liveProgress: ProgressRecord | undefined
}

type StoreError = JournalError | MailboxFull
export type GovernError = QueueNotFound | TooManyQueues | StoreError
export type CommandError = JobNotFound | JobConflict | TooManyQueues | StoreError

export class Queue extends Context.Service<
  Queue,
  Submitter & {
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
    /**
     * Tells how far an attempt has come that somebody works on outside of this process, with its number as the fencing token:
     * one that does not run any more is refused and changes nothing.
     */
    readonly progress: (
      id: string,
      attempt: number,
      update: ProgressUpdate,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, StaleLease | Exclude<CommandError, JobConflict>>
    /** Starts no attempt of the queue until it is resumed, across restarts; those under way go on. */
    readonly pause: (name: string, metadata?: EventMetadata) => Effect.Effect<void, GovernError>
    /** Takes no new job into the queue until it is resumed, across restarts; it works off those it has. */
    readonly drain: (name: string, metadata?: EventMetadata) => Effect.Effect<void, GovernError>
    /** Ends {@link pause} and {@link drain}. */
    readonly resume: (name: string, metadata?: EventMetadata) => Effect.Effect<void, GovernError>
    /** Sets the limits of a queue, across restarts. A queue that has no job yet begins with them. */
    readonly limit: (
      name: string,
      limits: QueueLimits,
      metadata?: EventMetadata,
    ) => Effect.Effect<void, TooManyQueues | StoreError>
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
    /** The types that run here and can be submitted by name. */
    readonly types: Effect.Effect<ReadonlyArray<Registration["job"]>>
    /** What each queue does in this process. */
    readonly activity: Effect.Effect<ReadonlyMap<string, QueueActivity>>
    /** Starts no further attempt. The way back is a restart. */
    readonly quiesce: Effect.Effect<void>
  }
>()("renderowl/jobs/Queue") {
  /** Submits a typed job. */
  static enqueue<Type extends string, Payload, Success, Failure>(
    job: JobType<Type, Payload, Success, Failure>,
    payload: Payload,
    options: EnqueueOptions = {},
  ): Effect.Effect<Enqueued, SubmitError, Queue> {
    return Effect.withFiber((fiber) => {
      const queue = Context.getUnsafe(fiber.context, Queue)
      const { delay, expiresIn, ...rest } = options
      const from = (length: Duration.Input | undefined) =>
        length === undefined
          ? undefined
          : fiber.getRef(Clock.Clock).currentTimeMillisUnsafe() + Duration.toMillis(length)
      return Schema.encodeEffect(job.payload)(payload).pipe(
        Effect.mapErrorEager((cause) => new InvalidPayload({ type: job.type, cause })),
        Effect.flatMapEager((encoded) =>
          queue.submit({
            ...rest,
            type: job.type,
            payload: (encoded ?? null) as Json,
            encodedBy: job,
            queue: options.queue ?? job.queue,
            dueAt: from(delay),
            expiresAt: from(expiresIn),
            maxAttempts: options.maxAttempts ?? job.retry.maxAttempts,
            timeoutMs: options.timeoutMs ?? job.timeoutMs,
          }),
        ),
      )
    })
  }

  /**
   * Waits until a job of a type has ended, and answers the value that its handler succeeded with, or fails with the error of
   * its type that it died of. Without a `timeout` (milliseconds, or a duration) it waits for as long as it takes; whoever
   * gives up waiting leaves the job to go on. A dead letter that is redriven later ends again, for whoever asks then.
   */
  static await<Type extends string, Payload, Success, Failure>(
    job: JobType<Type, Payload, Success, Failure>,
    id: string,
    options: { readonly timeout?: Duration.Input | undefined } = {},
  ): Effect.Effect<Success, Failure | AwaitError, Queue> {
    return Effect.flatMap(Queue, (queue) => awaitResult(queue, job, id, options))
  }

  /** Submits a typed job and waits for its value: {@link Queue.enqueue}, then {@link Queue.await}. */
  static run<Type extends string, Payload, Success, Failure>(
    job: JobType<Type, Payload, Success, Failure>,
    payload: Payload,
    options: EnqueueOptions = {},
  ): Effect.Effect<Success, Failure | SubmitError | AwaitError, Queue> {
    return Effect.flatMap(Queue.enqueue(job, payload, options), ({ id }) => Queue.await(job, id))
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
  const observer = yield* CurrentObserver
  const graceMs = Duration.toMillis(options.grace ?? DEFAULT_GRACE)
  /** The types that can be submitted here, and the handlers that take further jobs of them. */
  const types = new Map<string, Registration["job"]>()
  const registrations = new Map<string, Registration>()
  const live = new LiveProgress()
  const teller = new DependencyTeller(store)
  const actors = new QueueActors({
    journal,
    store,
    live,
    registrations,
    concurrency: options.concurrency ?? DEFAULT_CONCURRENCY,
    worker: options.worker ?? `pid-${process.pid}`,
    fork: (effect) => fork(effect),
    dependencies: teller,
    observer,
  })
  // The queues of an earlier process: their leases are recovered and their timers set at once. That process kept no more
  // of them than this one may.
  for (const name of yield* store.queues) (yield* Effect.orDie(actors.of(name))).wake()
  yield* Effect.addFinalizer(() => actors.close(graceMs))

  const load = Effect.fnUntraced(function* (id: string) {
    const job = yield* loadJob(journal, id)
    return job.version === 0 ? yield* new JobNotFound({ id }) : job
  })

  const get = (id: string): Effect.Effect<JobSnapshot, JobNotFound | JournalError> =>
    Effect.map(load(id), (job) => ({ ...job, liveProgress: live.get(id) }))

  const { submit, submitBatch } = submitter({ journal, store, ids, types, actors, teller, observer })

  const command = <A, Refusal extends JobConflict>(
    id: string,
    decide: Decide<A, Refusal>,
    metadata?: EventMetadata,
  ): Effect.Effect<A, CommandError> =>
    recalling(
      journal,
      { stream: id, behavior: JobBehavior, decide },
      load(id).pipe(
        Effect.flatMap(({ state }) => actors.of(state.queue)),
        Effect.flatMap((actor) => actor.command(id, decide, metadata)),
      ),
    )

  const govern = <E>(
    name: string,
    actor: Effect.Effect<QueueActor, E>,
    decide: Govern,
    metadata?: EventMetadata,
  ): Effect.Effect<void, E | StoreError> =>
    recalling(
      journal,
      { stream: streamOfQueue(name), behavior: QueueBehavior, decide },
      Effect.flatMap(actor, (actor) => actor.govern(decide, metadata)),
    )

  const feed = { journal, live, load }
  const followJob = (id: string, afterVersion = 0) => follow(id, afterVersion, feed)

  yield* Effect.forkScoped(
    teller.run(({ dependency, dependent, outcome, queue }) =>
      Effect.flatMap(actors.of(queue), (actor) =>
        actor.command(dependent, (state, context) =>
          JobBehavior.decide.EndDependency(state, { job: dependency, outcome }, context),
        ),
      ),
    ),
  )

  return Queue.of({
    submit,
    submitBatch,
    get,
    cancel: (id, reason, metadata) =>
      command(
        id,
        (state, context) => JobBehavior.decide.Cancel(state, reason === undefined ? {} : { reason }, context),
        metadata,
      ),
    retry: (id, metadata) =>
      command(id, (state, context) => JobBehavior.decide.Retry(state, undefined, context), metadata),
    reschedule: (id, dueAt, metadata) =>
      command(
        id,
        (state, context) => JobBehavior.decide.Reschedule(state, { dueAt: wholeMillis(dueAt) }, context),
        metadata,
      ),
    prioritize: (id, priority, metadata) =>
      command(
        id,
        (state, context) => JobBehavior.decide.Reprioritize(state, { priority }, context),
        metadata,
      ),
    progress: (id, attempt, update, metadata) =>
      recalling(
        journal,
        {
          stream: id,
          behavior: JobBehavior,
          decide: (state, context) => JobBehavior.decide.Progress(state, { attempt, ...update }, context),
        },
        load(id).pipe(
          Effect.flatMap(({ state }) => actors.of(state.queue)),
          Effect.flatMap((actor) => actor.report(id, attempt, update, metadata)),
        ),
      ),
    pause: (name, metadata) =>
      govern(
        name,
        actors.existing(name),
        (state, context) => QueueBehavior.decide.Pause(state, undefined, context),
        metadata,
      ),
    drain: (name, metadata) =>
      govern(
        name,
        actors.existing(name),
        (state, context) => QueueBehavior.decide.Drain(state, undefined, context),
        metadata,
      ),
    resume: (name, metadata) =>
      govern(
        name,
        actors.existing(name),
        (state, context) => QueueBehavior.decide.Resume(state, undefined, context),
        metadata,
      ),
    limit: (name, limits, metadata) =>
      govern(
        name,
        actors.of(name),
        (state, context) => QueueBehavior.decide.ChangeLimits(state, limits, context),
        metadata,
      ),
    follow: followJob,
    await: (id) => Effect.andThen(Stream.runDrain(followJob(id)), get(id)),
    register: (registration) =>
      Effect.acquireRelease(
        Effect.sync(() => {
          const { type } = registration.job
          if (types.has(type)) throw new Error(`two handlers for jobs of type ${type}`)
          types.set(type, registration.job)
          registrations.set(type, registration)
          for (const actor of actors.all) actor.addType(type)
        }),
        () => {
          const { type } = registration.job
          registrations.delete(type)
          // Until they have ended, its attempts may submit jobs of the type, for the next handler.
          return Effect.ensuring(
            actors.retire(type, graceMs),
            Effect.sync(() => types.delete(type)),
          )
        },
      ),
    types: Effect.sync(() => [...types.values()].filter(({ isInternal }) => !isInternal)),
    activity: Effect.map(
      Clock.currentTimeMillis,
      (now) => new Map(actors.all.map((actor) => [actor.name, actor.activity(now)])),
    ),
    quiesce: Effect.sync(() => actors.quiesce()),
  })
})
