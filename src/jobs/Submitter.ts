/**
 * How jobs come into the queues of this process: one or several, checked and given their ids, as part of a trace, and once for
 * a request that is sent again. Jobs of one queue are its actor's to take in; those of several are appended here, all or none.
 */
import { Clock, Effect, type Fiber } from "effect"
import type { MailboxFull } from "../actor/Mailbox.ts"
import { againOf, toItsEnd } from "../actor/Recall.ts"
import type { Journal, JournalError } from "../journal/Journal.ts"
import { CurrentKeyedRequest, type KeyedRequest } from "../security/KeyedRequest.ts"
import type { TypeIdGenerator } from "../security/TypeId.ts"
import * as MessageSpans from "../telemetry/MessageSpans.ts"
import type { Observer } from "../telemetry/Observer.ts"
import { parentSpan } from "../telemetry/Tracing.ts"
import * as TraceParent from "../telemetry/TraceParent.ts"
import type { DependencyTeller } from "./DependencyTeller.ts"
import { enqueueAcross, type Enqueued, loadJob, type NewJob } from "./Enqueue.ts"
import type { TooManyQueues } from "./JobErrors.ts"
import type { JobStore } from "./JobStore.ts"
import type { AnyJobType } from "./JobType.ts"
import type { QueueActor } from "./QueueActor.ts"
import type { QueueActors } from "./QueueActors.ts"
import type { EnqueueRefusal } from "./QueueMessage.ts"
import { recallSubmission } from "./Resubmission.ts"
import {
  type DependencyStates,
  type InvalidSubmission,
  prepare,
  prepareBatch,
  type Submission,
} from "./Submission.ts"

export type SubmitError = InvalidSubmission | EnqueueRefusal | TooManyQueues | JournalError | MailboxFull

export interface SubmitterServices {
  readonly journal: Journal["Service"]
  readonly store: JobStore["Service"]
  readonly ids: TypeIdGenerator
  /** The types that can be submitted here. */
  readonly types: ReadonlyMap<string, AnyJobType>
  readonly actors: QueueActors
  readonly teller: DependencyTeller
  readonly observer: Observer
}

export interface Submitter {
  /** Submits one job. With a known idempotency key: the job that has it. */
  readonly submit: (submission: Submission) => Effect.Effect<Enqueued, SubmitError>
  /** Submits several, in one transaction, all or none. */
  readonly submitBatch: (
    submissions: ReadonlyArray<Submission>,
  ) => Effect.Effect<ReadonlyArray<Enqueued>, SubmitError>
}

export const submitter = ({
  actors,
  ids,
  journal,
  observer,
  store,
  teller,
  types,
}: SubmitterServices): Submitter => {
  const dependencyStates: DependencyStates = (ids) =>
    Effect.gen(function* () {
      const states = new Map<string, { readonly isCompleted: boolean }>()
      for (const [id, status] of yield* store.statuses(ids))
        states.set(id, { isCompleted: status === "completed" })
      // What has left the queue's tables may be in the archive.
      for (const id of ids) {
        if (states.has(id)) continue
        const { state } = yield* loadJob(journal, id)
        if (state.status === "completed") states.set(id, { isCompleted: true })
      }
      return states
    })
  const services = { types, nextId: (now: number) => ids.next("job", now), dependencyStates }

  const submitNew = (submission: Submission, now: number): Effect.Effect<Enqueued, SubmitError> =>
    Effect.flatMapEager(prepare(submission, services, now), (job) =>
      Effect.flatMapEager(actors.of(job.spec.queue), (actor) => actor.enqueue(job)),
    )

  /** Anew, or as the request that is sent again has caused it already. */
  const submitOne = (
    submission: Submission,
    fiber: Fiber.Fiber<unknown, unknown>,
  ): Effect.Effect<Enqueued, SubmitError> => {
    const request = fiber.getRef(CurrentKeyedRequest)
    const now = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
    if (request === undefined) return submitNew(submission, now)
    const submitNamed = ([named]: ReadonlyArray<Submission>) =>
      Effect.map(submitNew(named!, now), (enqueued) => [enqueued])
    return Effect.map(submitKeyed([submission], request, submitNamed), ([enqueued]) => enqueued!)
  }

  const submit = (submission: Submission): Effect.Effect<Enqueued, SubmitError> =>
    Effect.withFiber((fiber) => {
      const parent = parentSpan(fiber)
      if (parent === null) return submitOne(submission, fiber)
      const { type, queue = types.get(type)?.queue ?? "unknown" } = submission
      const span = MessageSpans.begin(fiber, { operation: "send", queue, type, parent })
      return Effect.onExitPrimitive(submitOne(within(span)(submission), fiber), (exit) => {
        if (exit._tag === "Success") span.attribute("messaging.message.id", exit.value.id)
        MessageSpans.finish(fiber, span, exit)
        return undefined
      })
    })

  const submitAllOf = (submissions: ReadonlyArray<Submission>, request: KeyedRequest | undefined) =>
    request === undefined ? submitAll(submissions) : submitKeyed(submissions, request, submitAll)

  const submitBatch = (submissions: ReadonlyArray<Submission>) =>
    Effect.withFiber((fiber): ReturnType<typeof submitAllOf> => {
      const request = fiber.getRef(CurrentKeyedRequest)
      const parent = parentSpan(fiber)
      if (parent === null) return submitAllOf(submissions, request)
      const queues = new Set(submissions.map(({ queue, type }) => queue ?? types.get(type)?.queue))
      const [first = "unknown"] = queues
      const queue = queues.size === 1 ? first : "several"
      const span = MessageSpans.begin(fiber, { operation: "send", queue, type: undefined, parent })
      span.attribute("messaging.batch.message_count", submissions.length)
      return MessageSpans.finishAfter(fiber, span, submitAllOf(submissions.map(within(span)), request))
    })

  const submitAll = Effect.fnUntraced(function* (submissions: ReadonlyArray<Submission>) {
    const now = yield* Clock.currentTimeMillis
    const { inOrder, jobs } = yield* prepareBatch(submissions, services, now)
    const enqueued = yield* enqueueAll(inOrder, now)
    if (inOrder === jobs) return enqueued
    const places = new Map(inOrder.map(({ id }, place) => [id, place]))
    return jobs.map(({ id }) => enqueued[places.get(id)!]!)
  })

  /** For a keyed request, which has ids of its own and may have done this before. */
  const submitKeyed = Effect.fnUntraced(function* (
    submissions: ReadonlyArray<Submission>,
    request: KeyedRequest,
    submit: (named: ReadonlyArray<Submission>) => Effect.Effect<ReadonlyArray<Enqueued>, SubmitError>,
  ) {
    const now = yield* Clock.currentTimeMillis
    const named = submissions.map((submission) => ({
      ...submission,
      id: submission.id ?? request.ids.next("job", now),
      queue: submission.queue ?? types.get(submission.type)?.queue,
    }))
    const again = againOf(request)
    const recalled = again && (yield* recallSubmission({ journal, store }, again, named))
    return recalled ?? (yield* toItsEnd(submit(named)))
  })

  const enqueueAll = Effect.fnUntraced(function* (jobs: ReadonlyArray<NewJob>, now: number) {
    const byQueue = Map.groupBy(jobs, (job) => job.spec.queue)
    const [first] = byQueue
    if (first === undefined) return []
    const [queue, all] = first
    if (byQueue.size === 1) return yield* (yield* actors.of(queue)).enqueueAll(all)
    return yield* enqueueInSeveral([...byQueue.keys()], jobs, now)
  })

  /**
   * Fresh streams have no other writer, so a batch for several queues is appended here, and their actors take notice,
   * whether or not the caller is still there. A drain that is decided while the append is under way does not stop it.
   */
  const enqueueInSeveral = Effect.fnUntraced(function* (
    names: ReadonlyArray<string>,
    jobs: ReadonlyArray<NewJob>,
    now: number,
  ) {
    const concerned = new Map<string, QueueActor>()
    for (const name of names) {
      const actor = yield* actors.of(name)
      yield* actor.settled
      concerned.set(name, actor)
    }
    const isDraining = (queue: string) => concerned.get(queue)!.isDraining
    const enqueued = yield* enqueueAcross({ journal, store, isDraining }, jobs, now)
    for (const actor of concerned.values()) actor.notice()
    if (observer.hears("enqueued")) {
      const taken = new Set(enqueued.filter(({ deduplicated }) => !deduplicated).map(({ id }) => id))
      for (const { id, spec } of jobs)
        if (taken.has(id)) observer.tell("enqueued", { queue: spec.queue, type: spec.type })
    }
    if (jobs.some(({ spec }) => spec.depends_on !== undefined)) teller.blocked()
    return enqueued
  }, Effect.uninterruptible)

  return { submit, submitBatch }
}

/** The submission as part of a span, which attempts will be under. */
const within =
  (span: TraceParent.SpanIds) =>
  (submission: Submission): Submission => ({
    ...submission,
    metadata: { ...submission.metadata, traceparent: TraceParent.format(span) },
  })
