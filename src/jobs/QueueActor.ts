/**
 * The actor of one queue. It owns the streams of the queue's jobs and the queue's own: every event of theirs is decided
 * here, in order, and appended in batches. It also hands ready jobs to the handlers registered in this process, within the
 * same append that frees their place, so work is pushed the moment there is room for it.
 */
import { Cause, Clock, Effect, Exit, Fiber } from "effect"
import { Mailbox, type MailboxFull } from "../actor/Mailbox.ts"
import type { EventMetadata, Journal, JournalError, RecordedEvent } from "../journal/Journal.ts"
import { isUniqueViolation, resultCodeOf } from "../sqlite/SqliteError.ts"
import type { Observer } from "../telemetry/Observer.ts"
import { type Lease, type LeaseCommands, PROGRESS_JOURNAL_INTERVAL_MS, type Registration } from "./Attempt.ts"
import { Attempts } from "./Attempts.ts"
import type { DependencyTeller } from "./DependencyTeller.ts"
import type { Enqueued, NewJob } from "./Enqueue.ts"
import { metadataOf } from "./JobTrace.ts"
import { JobBehavior } from "./JobBehavior.ts"
import type { ProgressUpdate } from "./JobContext.ts"
import { type JobNotFound, StaleLease } from "./JobErrors.ts"
import { isFinished } from "./JobState.ts"
import type { JobStore } from "./JobStore.ts"
import { HEARTBEAT_INTERVAL_MS } from "./Leases.ts"
import type { LiveProgress } from "./LiveProgress.ts"
import { type QueueState, streamOfQueue } from "./QueueBehavior.ts"
import { QueueMemory } from "./QueueMemory.ts"
import {
  type Decide,
  type EnqueueMessage,
  type EnqueueRefusal,
  type Govern,
  type Message,
  refusal,
} from "./QueueMessage.ts"
import type { QueueThroughput } from "./QueueMeter.ts"
import { QueueTimer } from "./QueueTimer.ts"
import { type QueueParts, QueueTurn } from "./QueueTurn.ts"
import { reportChange } from "./JobReport.ts"

/** Times a message is decided that somebody else's writing comes in the way of: in the batch, then alone. */
const CONFLICT_TRIES = 3

/** What a queue does in this process. */
export interface QueueActivity {
  readonly settings: QueueState
  readonly running: ReadonlyMap<string, number>
  readonly lastMinute: QueueThroughput
  /** Milliseconds since an attempt began, told of something or ended. */
  readonly quietMs: number
  /** Messages that wait in its mailbox. */
  readonly waiting: number
}

export interface QueueActorOptions {
  readonly name: string
  readonly journal: Journal["Service"]
  readonly store: JobStore["Service"]
  readonly live: LiveProgress
  /** Handlers of this process, by type; shared with the other queues. */
  readonly registrations: ReadonlyMap<string, Registration>
  /** Attempts of one type at a time, where its registration does not say. */
  readonly concurrency: number
  /** Names this process in `JobStarted`. */
  readonly worker: string
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  readonly dependencies: DependencyTeller
  readonly observer: Observer
}

export class QueueActor {
  readonly name: string
  readonly #options: QueueActorOptions
  readonly #mailbox: Mailbox<Message>
  readonly #attempts: Attempts
  readonly #memory: QueueMemory
  readonly #parts: QueueParts
  readonly #timer: QueueTimer
  #heartbeatAt = 0
  #quiescent = false

  constructor(options: QueueActorOptions) {
    this.name = options.name
    this.#options = options
    this.#mailbox = new Mailbox<Message>({
      actor: streamOfQueue(options.name),
      handle: (batch) => this.#handle(batch),
      fork: options.fork,
    })
    this.#timer = new QueueTimer(options.fork, () => this.wake())
    this.#attempts = new Attempts({
      registrations: options.registrations,
      live: options.live,
      fork: options.fork,
      commands: this.#leaseCommands(),
      onOrphan: ({ attempt, id }) =>
        this.#send(id, (state, context) =>
          JobBehavior.decide.Stall(state, { attempt, reason: "handed_back" }, context),
        ),
      onRoom: () => this.wake(),
    })
    const { journal, name, store } = options
    this.#memory = new QueueMemory({ name, journal, store, attempts: this.#attempts })
    this.#parts = {
      name,
      journal,
      store,
      memory: this.#memory,
      attempts: this.#attempts,
      registrations: options.registrations,
      concurrency: options.concurrency,
      worker: options.worker,
      wake: () => this.wake(),
    }
    for (const type of options.registrations.keys()) this.#memory.window.addType(type)
  }

  /** What attempts tell this queue. */
  #leaseCommands(): LeaseCommands {
    return {
      complete: (lease, result) =>
        this.#answer(lease, (state, context) =>
          JobBehavior.decide.Complete(state, { attempt: lease.attempt, result }, context),
        ),
      fail: (lease, failure) =>
        this.#answer(lease, (state, context) =>
          JobBehavior.decide.Fail(state, { attempt: lease.attempt, ...failure }, context),
        ),
      completeStep: (lease, name, result) =>
        this.#answer(lease, (state, context) =>
          JobBehavior.decide.CompleteStep(state, { attempt: lease.attempt, name, result }, context),
        ),
      progress: ({ id, attempt }, { at, ...update }, durable) => {
        if (!this.#holds(id, attempt)) return
        this.#options.live.publish(id, { attempt, at, ...update })
        if (!durable) return
        this.#send(id, (state, context) =>
          JobBehavior.decide.Progress(state, { attempt, ...update }, context),
        )
      },
      log: ({ id, attempt }, log) => {
        if (!this.#holds(id, attempt)) return
        this.#send(id, (state, context) => JobBehavior.decide.Log(state, { attempt, ...log }, context))
      },
    }
  }

  /** What an attempt tells its job: as part of its span, if it has one. */
  #answer<Success, Refusal>({ id, span }: Lease, decide: Decide<Success, Refusal>) {
    return this.command(id, decide, metadataOf(span))
  }

  #holds(id: string, attempt: number): boolean {
    return this.#attempts.leases.get(id)?.attempt === attempt
  }

  /** Sends a command to a job of this queue, whose answer nobody waits for. */
  #send(id: string, decide: Decide<unknown, unknown>): void {
    this.#mailbox.offer({ _tag: "Command", id, decide, metadata: undefined, answer: () => {} })
  }

  /** Enqueues a job of this queue. */
  enqueue(job: NewJob): Effect.Effect<Enqueued, EnqueueRefusal | MailboxFull> {
    return Effect.callback((resume) => {
      const answer: EnqueueMessage["answer"] = (exit) =>
        resume(Exit.isSuccess(exit) ? Exit.succeed(exit.value[0]!) : refusal(exit))
      if (!this.#mailbox.offer({ _tag: "Enqueue", jobs: [job], answer }))
        resume(Effect.fail(this.#mailbox.full))
    })
  }

  /** Enqueues jobs of this queue, all or none. */
  enqueueAll(
    jobs: ReadonlyArray<NewJob>,
  ): Effect.Effect<ReadonlyArray<Enqueued>, EnqueueRefusal | MailboxFull> {
    return Effect.callback((resume) => {
      if (!this.#mailbox.offer({ _tag: "Enqueue", jobs, answer: resume }))
        resume(Effect.fail(this.#mailbox.full))
    })
  }

  /** Sends a command to one job of this queue. */
  command<Success, Refusal>(
    id: string,
    decide: Decide<Success, Refusal>,
    metadata?: EventMetadata,
  ): Effect.Effect<Success, Refusal | JobNotFound | JournalError | MailboxFull> {
    return Effect.callback<unknown, unknown>((resume) => {
      const accepted = this.#mailbox.offer({ _tag: "Command", id, decide, metadata, answer: resume })
      if (!accepted) resume(Effect.fail(this.#mailbox.full))
    }) as Effect.Effect<Success, Refusal | JobNotFound | JournalError | MailboxFull>
  }

  /**
   * Takes the progress of an attempt that runs here from somebody who works on it elsewhere: at once to whoever follows, and to
   * the journal at most once a second. Without the lease it is refused.
   */
  report(
    id: string,
    attempt: number,
    update: ProgressUpdate,
    metadata?: EventMetadata,
  ): Effect.Effect<void, StaleLease | JobNotFound | JournalError | MailboxFull> {
    return Effect.flatMap(Clock.currentTimeMillis, (at) => {
      const lease = this.#attempts.leases.get(id)
      if (lease?.attempt !== attempt) return Effect.fail(new StaleLease({ id, attempt }))
      this.#options.live.publish(id, { attempt, at, ...update })
      const journaled = lease.job.state.progress
      if (journaled?.attempt === attempt && at - journaled.at < PROGRESS_JOURNAL_INTERVAL_MS)
        return Effect.void
      return this.command(
        id,
        (state, context) => JobBehavior.decide.Progress(state, { attempt, ...update }, context),
        metadata,
      )
    })
  }

  /** Sends a command to the queue itself. */
  govern(decide: Govern, metadata?: EventMetadata): Effect.Effect<void, JournalError | MailboxFull> {
    return Effect.callback((resume) => {
      if (!this.#mailbox.offer({ _tag: "Govern", decide, metadata, answer: resume }))
        resume(Effect.fail(this.#mailbox.full))
    })
  }

  /** Whether the queue takes no new job, as far as it is known yet. */
  get isDraining(): boolean {
    return this.#memory.settings.state.draining
  }

  /** Has a look at what is ready and due. */
  wake(): void {
    this.#mailbox.offer({ _tag: "Wake" })
  }

  /** Jobs were added to the tables by somebody else. */
  notice(): void {
    this.#memory.notice()
    this.wake()
  }

  /** A handler of this type is there now. */
  addType(type: string): void {
    this.#memory.window.addType(type)
    this.wake()
  }

  /** Starts no attempt any more; those under way go on. */
  quiesce(): void {
    this.#quiescent = true
  }

  /**
   * Ends the attempts of a type (of all, without one): they may finish within `graceMs`; then they are interrupted and
   * their jobs handed back to wait for another process. What their handlers use may go when this has ended.
   */
  retire(type: string | undefined, graceMs: number): Effect.Effect<void> {
    const handBack = Effect.suspend(() => {
      if (type !== undefined) this.#memory.window.removeType(type)
      const fibers = this.#attempts.leases.fibers(type)
      if (fibers.length === 0) return Effect.void
      // Also if the journal refuses to hear of it: then the next process finds them lost.
      return Effect.andThen(this.#tell({ _tag: "HandBack", type }), Fiber.interruptAll(fibers))
    })
    return this.settled.pipe(
      Effect.andThen(Effect.timeoutOption(this.#attempts.ended(type), graceMs)),
      Effect.andThen(handBack),
      Effect.andThen(this.settled),
    )
  }

  /** Takes no further message; ends when all that were sent have been answered. */
  get close(): Effect.Effect<void> {
    return this.#mailbox.close
  }

  /** Ends when all that was sent so far has been answered. */
  get settled(): Effect.Effect<void> {
    return this.#tell({ _tag: "Settle" })
  }

  /** Sends a message whose answer says nothing but that it was handled. */
  #tell(
    message: { readonly _tag: "HandBack"; readonly type: string | undefined } | { readonly _tag: "Settle" },
  ) {
    return Effect.callback<void>((resume) => {
      const answer = () => resume(Effect.void)
      if (!this.#mailbox.offer({ ...message, answer })) answer()
    })
  }

  /** What runs here now, by type, and how the last minute was. */
  activity(now: number): QueueActivity {
    return {
      settings: this.#memory.settings.state,
      running: this.#attempts.leases.runningByType(),
      lastMinute: this.#attempts.lastMinute(now),
      quietMs: this.#attempts.quietMs(now),
      waiting: this.#mailbox.size,
    }
  }

  #handle(batch: ReadonlyArray<Message>, tries = CONFLICT_TRIES): Effect.Effect<void> {
    return Effect.gen(() => this.#turn(batch, tries)).pipe(
      Effect.catchCause((cause) => this.#onDefect(batch, cause)),
    )
  }

  /**
   * One turn. A method, because a generator that is written anew for each turn gets a hidden class each time, which keeps
   * all it has seen (the requests that wait for the turn) from the young generation's collector: a sixth of the processor
   * went there (measured).
   */
  *#turn(batch: ReadonlyArray<Message>, tries: number): Generator<Effect.Effect<unknown>, void, never> {
    const now = yield* Clock.currentTimeMillis
    const prepared = yield* Effect.exit(this.#memory.prepare(now))
    if (Exit.isFailure(prepared)) {
      this.#memory.distrust(now)
      for (const message of batch) if (message._tag !== "Wake") message.answer(prepared as Exit.Exit<never>)
      return this.#armTimer(now)
    }
    const turn = new QueueTurn(this.#parts, now)
    for (const orphan of this.#memory.takeOrphans()) turn.recover(orphan)
    if (now >= this.#heartbeatAt) {
      this.#heartbeatAt = now + HEARTBEAT_INTERVAL_MS
      turn.heartbeat()
    }
    const expired = this.#memory.takeExpired()
    if (expired.length > 0) yield* turn.expire(expired)
    for (const message of batch) {
      const lookUp = turn.take(message)
      if (lookUp !== undefined) yield* lookUp
    }
    if (!this.#quiescent) yield* turn.dispatch()
    const outcome = yield* Effect.exit(
      turn.appends.length === 0
        ? Effect.succeed([])
        : this.#options.journal.append(turn.appends, now, { hasGathered: true }),
    )
    if (Exit.isSuccess(outcome)) this.#commit(turn, outcome.value)
    else {
      this.#memory.distrust(now)
      if (tries > 1 && isOfTheTurn(outcome.cause)) return yield* this.#handleApart(batch, tries - 1)
    }
    turn.answer(outcome)
    this.#armTimer(now)
  }

  /**
   * Somebody else wrote to a stream or took a key that this turn was about to, or the journal cannot keep one of its
   * events. Each message is decided again against what is there now, and by itself: one that cannot succeed fails alone.
   */
  #handleApart(batch: ReadonlyArray<Message>, tries: number): Effect.Effect<void> {
    return Effect.forEach(batch, (message) => this.#handle([message], tries), { discard: true })
  }

  /** A defect of our own: whoever waits is told, and memory is read anew. */
  #onDefect(batch: ReadonlyArray<Message>, cause: Cause.Cause<never>): Effect.Effect<void> {
    return Effect.flatMap(Clock.currentTimeMillis, (now) => {
      this.#memory.distrust(now)
      for (const message of batch) if (message._tag !== "Wake") message.answer(Exit.failCause(cause))
      this.#armTimer(now)
      return Effect.logError("a turn of the queue failed", { queue: this.name }, cause)
    })
  }

  /** The turn is durable: leases follow it, and attempts start. */
  #commit(turn: QueueTurn, recorded: ReadonlyArray<RecordedEvent>): void {
    let next = 0
    for (const { event, position } of recorded) {
      if (event._tag !== "JobEnqueued") continue
      const job = turn.enqueued[next++]!
      job.position = position
      if (job.ready !== undefined) job.ready.position = position
    }
    const settingsChanged = this.#memory.adopt(turn)
    let hasBlocked = false
    let hasEnded = false
    const { observer } = this.#options
    const isObserved = observer.hears("attempt") || observer.hears("job") || observer.hears("enqueued")
    for (const job of turn.jobs) {
      if (isObserved) reportChange(observer, job, this.#attempts.leases.get(job.id)?.lease.span)
      if (this.#attempts.follow(job, turn.now)) this.#memory.rate?.record(turn.now)
      this.#memory.follow(job)
      if (job.state.status === "blocked") hasBlocked = true
      else if (isFinished(job.state)) hasEnded = true
    }
    if (hasBlocked) this.#options.dependencies.blocked()
    else if (hasEnded) this.#options.dependencies.ended()
    if (settingsChanged || this.#memory.hasChangedKeys) this.wake()
    else if (!this.#quiescent && this.#mayStartMore(turn.now)) this.wake()
  }

  /** Whether jobs that could start now may be in the table alone. */
  #mayStartMore(now: number): boolean {
    const { window } = this.#memory
    if (window.lanes.every((lane) => !lane.isDry)) return false
    return window.isDry(new QueueTurn(this.#parts, now).admission().hasRoom)
  }

  #armTimer(now: number): void {
    const heartbeatAt = this.#attempts.leases.size === 0 ? Number.POSITIVE_INFINITY : this.#heartbeatAt
    this.#timer.arm(now, this.#memory.nextAt(now), heartbeatAt)
  }
}

/** The store is well: somebody else was faster, or one of the turn's events is at fault. */
const isOfTheTurn = (cause: Cause.Cause<JournalError>): boolean => {
  const reason = cause.reasons.find(Cause.isFailReason)?.error.reason
  if (reason === undefined || reason._tag === "StoreFull") return false
  if (reason._tag === "VersionConflict") return true
  return isUniqueViolation(reason.cause) || resultCodeOf(reason.cause) === undefined
}
