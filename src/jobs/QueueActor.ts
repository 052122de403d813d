/**
 * The actor of one queue. It owns the streams of the queue's jobs and the queue's own: every event of theirs is decided
 * here, in order, and appended in batches. It also hands ready jobs to the handlers registered in this process, within the
 * same append that frees their place, so work is pushed the moment there is room for it.
 */
import { Cause, Clock, Effect, Exit, Fiber } from "effect"
import type { CommandContext, Decision } from "../actor/Behavior.ts"
import { Mailbox, type MailboxFull } from "../actor/Mailbox.ts"
import type { EventMetadata, Journal, JournalError, RecordedEvent } from "../journal/Journal.ts"
import { resultCodeOf, isUniqueViolation } from "../sqlite/SqliteError.ts"
import { Admission } from "./Admission.ts"
import type { LeaseCommands, Registration } from "./Attempt.ts"
import { Attempts } from "./Attempts.ts"
import type { DependencyTeller } from "./DependencyTeller.ts"
import { deduplicate, type Enqueued, type Keyed, loadJob, type NewJob } from "./Enqueue.ts"
import { isExpired, JobBehavior } from "./JobBehavior.ts"
import { type IdempotencyKeyReused, JobNotFound, QueueDraining } from "./JobErrors.ts"
import type { JobEvent } from "./JobEvents.ts"
import { priorityCode } from "./JobRow.ts"
import { absent, isFinished, type JobState } from "./JobState.ts"
import { EXPIRED_AT_A_TIME, type JobStore, type KeyPlace } from "./JobStore.ts"
import { HEARTBEAT_INTERVAL_MS } from "./Leases.ts"
import type { LiveProgress } from "./LiveProgress.ts"
import {
  isQueueEvent,
  QueueBehavior,
  type QueueEvent,
  type QueueState,
  streamOfQueue,
} from "./QueueBehavior.ts"
import type { QueueThroughput } from "./QueueMeter.ts"
import { QueueTimer } from "./QueueTimer.ts"
import { RateWindow } from "./RateWindow.ts"
import { isSmall, type ReadyJob, ReadyWindow } from "./ReadyWindow.ts"
import { recentStarts } from "./RecentStarts.ts"
import { Turn, type VersionedJob, type VersionedSettings, type WorkingJob } from "./Turn.ts"

/** After the store refused: until the queue tries on its own to go on. */
const STORE_RETRY_DELAY_MS = 500
/** Times a message is decided that somebody else's writing comes in the way of: in the batch, then alone. */
const CONFLICT_TRIES = 3
/** Stands above every real position, so that jobs not yet committed come last and in their own order. */
const PROVISIONAL_POSITION = 2 ** 52
const NEVER = Number.POSITIVE_INFINITY

type Decide<Answer, Refusal> = (
  state: JobState,
  context: CommandContext,
) => Decision<JobState, JobEvent, Answer, Refusal>

/** Why a queue takes no job. */
export type EnqueueRefusal = IdempotencyKeyReused | QueueDraining | JournalError

type Govern = (state: QueueState, context: CommandContext) => Decision<QueueState, QueueEvent, void, never>

type Message =
  | {
      readonly _tag: "Enqueue"
      readonly jobs: ReadonlyArray<NewJob>
      readonly answer: (exit: Exit.Exit<ReadonlyArray<Enqueued>, EnqueueRefusal>) => void
    }
  | {
      readonly _tag: "Govern"
      readonly decide: Govern
      readonly metadata: EventMetadata | undefined
      readonly answer: (exit: Exit.Exit<void, JournalError>) => void
    }
  | {
      readonly _tag: "Command"
      readonly id: string
      readonly decide: Decide<unknown, unknown>
      readonly metadata: EventMetadata | undefined
      readonly answer: (exit: Exit.Exit<unknown, unknown>) => void
    }
  | {
      readonly _tag: "HandBack"
      readonly type: string | undefined
      readonly answer: (exit: Exit.Exit<void>) => void
    }
  /** Answered when everything before it was. */
  | { readonly _tag: "Settle"; readonly answer: (exit: Exit.Exit<void>) => void }
  | { readonly _tag: "Wake" }

/** Told to a message's sender once the turn's append has ended. */
type Answer = (outcome: Exit.Exit<unknown, JournalError>) => void

/** What a queue does in this process. */
export interface QueueActivity {
  readonly settings: QueueState
  readonly running: ReadonlyMap<string, number>
  readonly lastMinute: QueueThroughput
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
}

export class QueueActor {
  readonly name: string
  readonly #options: QueueActorOptions
  readonly #mailbox: Mailbox<Message>
  readonly #window = new ReadyWindow()
  readonly #attempts: Attempts
  readonly #timer: QueueTimer
  #settings: VersionedSettings = { state: QueueBehavior.initial, version: 0 }
  #rate: RateWindow | undefined
  /** False until the leases of a previous process are found, and after any append that failed. */
  #loaded = false
  /** Jobs whose lease belongs to nobody any more. */
  #orphans: ReadonlyArray<VersionedJob> = []
  /** Lines of concurrency keys that the last turn has changed: who stands first there now? */
  #changedKeys = new Map<string, KeyPlace>()
  /** Jobs that have expired, to be ended in the next turn. */
  #expired: ReadonlyArray<string> = []
  #nextExpiryAt = NEVER
  #heartbeatAt = 0
  #retryAt = NEVER
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
    for (const type of options.registrations.keys()) this.#window.addType(type)
    this.#attempts = new Attempts({
      registrations: options.registrations,
      live: options.live,
      fork: options.fork,
      commands: this.#leaseCommands(),
      onOrphan: ({ attempt, id }) =>
        this.#send(id, (state, context) =>
          JobBehavior.decide.Stall(state, { attempt, reason: "handed_back" }, context),
        ),
    })
  }

  /** What attempts tell this queue. */
  #leaseCommands(): LeaseCommands {
    return {
      complete: ({ id, attempt }, result) =>
        this.command(id, (state, context) =>
          JobBehavior.decide.Complete(state, { attempt, result }, context),
        ),
      fail: ({ id, attempt }, failure) =>
        this.command(id, (state, context) =>
          JobBehavior.decide.Fail(state, { attempt, ...failure }, context),
        ),
      completeStep: ({ id, attempt }, name, result) =>
        this.command(id, (state, context) =>
          JobBehavior.decide.CompleteStep(state, { attempt, name, result }, context),
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
      const answer: Extract<Message, { _tag: "Enqueue" }>["answer"] = (exit) =>
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

  /** Sends a command to the queue itself. */
  govern(decide: Govern, metadata?: EventMetadata): Effect.Effect<void, JournalError | MailboxFull> {
    return Effect.callback((resume) => {
      if (!this.#mailbox.offer({ _tag: "Govern", decide, metadata, answer: resume }))
        resume(Effect.fail(this.#mailbox.full))
    })
  }

  /** Whether the queue takes no new job, as far as it is known yet. */
  get isDraining(): boolean {
    return this.#settings.state.draining
  }

  /** Has a look at what is ready and due. */
  wake(): void {
    this.#mailbox.offer({ _tag: "Wake" })
  }

  /** Jobs were added to the tables by somebody else. */
  notice(): void {
    this.#window.invalidate()
    this.wake()
  }

  /** A handler of this type is there now. */
  addType(type: string): void {
    this.#window.addType(type)
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
      if (type !== undefined) this.#window.removeType(type)
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
      settings: this.#settings.state,
      running: this.#attempts.leases.runningByType(),
      lastMinute: this.#attempts.lastMinute(now),
    }
  }

  #handle(batch: ReadonlyArray<Message>, tries = CONFLICT_TRIES): Effect.Effect<void> {
    const self = this
    return Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const prepared = yield* Effect.exit(self.#prepare(now))
      if (Exit.isFailure(prepared)) {
        self.#distrust(now)
        for (const message of batch) if (message._tag !== "Wake") message.answer(prepared as Exit.Exit<never>)
        return self.#armTimer(now)
      }
      const turn = new Turn(now, self.#settings)
      const answers: Array<Answer> = []
      self.#settleOrphans(turn)
      if (now >= self.#heartbeatAt) self.#heartbeat(turn)
      if (self.#expired.length > 0) yield* self.#expire(turn)
      for (const message of batch) {
        // What needs no look-up is decided without a step of the fiber: at 64 callers that is most of a turn's cost.
        if (message._tag === "Enqueue") {
          if (message.jobs.some(hasKey)) yield* self.#enqueueOnce(turn, message, answers)
          else if (turn.settings.state.draining)
            self.#refuse(message, new QueueDraining({ queue: self.name }), answers)
          else self.#enqueue(turn, message, message.jobs, message.jobs.map(isNew), answers)
        } else if (message._tag === "Command") {
          const known = self.#known(turn, message.id)
          if (known === undefined) yield* self.#loadAndCommand(turn, message, answers)
          else self.#command(turn, known, message, answers)
        } else if (message._tag === "Govern") {
          turn.govern(self.name, message.decide, message.metadata)
          answers.push((outcome) => message.answer(answerOf(outcome, undefined)))
        } else if (message._tag === "HandBack") self.#handBack(turn, message, answers)
        else if (message._tag === "Settle") answers.push(() => message.answer(Exit.void))
      }
      if (!self.#quiescent) yield* self.#dispatch(turn)
      const outcome = yield* Effect.exit(
        turn.appends.length === 0 ? Effect.succeed([]) : self.#options.journal.append(turn.appends, now),
      )
      if (Exit.isSuccess(outcome)) self.#commit(turn, outcome.value)
      else {
        self.#distrust(now)
        if (tries > 1 && isOfTheTurn(outcome.cause)) return yield* self.#handleApart(batch, tries - 1)
      }
      for (const answer of answers) answer(outcome)
      self.#armTimer(now)
    }).pipe(Effect.catchCause((cause) => this.#onDefect(batch, cause)))
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
      this.#distrust(now)
      for (const message of batch) if (message._tag !== "Wake") message.answer(Exit.failCause(cause))
      this.#armTimer(now)
      return Effect.logError("a turn of the queue failed", { queue: this.name }, cause)
    })
  }

  /** Makes memory agree with the committed tables, before anything is decided. */
  #prepare(now: number): Effect.Effect<void, JournalError> {
    const self = this
    const { store } = this.#options
    return Effect.gen(function* () {
      if (!self.#loaded) yield* self.#reload(now)
      if (self.#changedKeys.size > 0) yield* self.#lookAtKeys(now)
      for (const lane of self.#window.lanes) {
        const after = lane.missingSince(now)
        if (after === undefined) continue
        const { jobs, complete, nextDueAt } = yield* store.ready(
          self.name,
          lane.type,
          lane.priority,
          after,
          now,
        )
        if (lane.isComplete) lane.extend(jobs, complete, nextDueAt, now)
        else lane.fill(jobs, complete, nextDueAt, now)
      }
      if (self.#nextExpiryAt <= now) {
        self.#expired = yield* store.expired(self.name, now)
        if (self.#expired.length < EXPIRED_AT_A_TIME) self.#nextExpiryAt = NEVER
      }
    })
  }

  /** Reads how the queue is set and who holds a lease according to the journal, and compares it with what runs here. */
  #reload(now: number): Effect.Effect<void, JournalError> {
    const self = this
    const { journal, store } = this.#options
    return Effect.gen(function* () {
      let settings: VersionedSettings = { state: QueueBehavior.initial, version: 0 }
      for (const { event, recordedAt, version } of yield* journal.readStream(streamOfQueue(self.name))) {
        if (isQueueEvent(event))
          settings = { state: QueueBehavior.evolve(settings.state, event, recordedAt), version }
      }
      const { rate_limit: limit } = settings.state.limits
      if (limit !== null && self.#rate === undefined) {
        self.#rate = new RateWindow(limit, yield* recentStarts(journal, self.name, limit, now))
      }
      self.#settings = settings
      const processing: Array<VersionedJob> = []
      for (const id of yield* store.processing(self.name)) {
        const job = yield* self.#load(id)
        if (job.state.status === "processing") processing.push(job)
      }
      const nextExpiryAt = yield* store.nextExpiry(self.name)
      self.#orphans = self.#attempts.reconcile(processing)
      self.#window.invalidate()
      self.#changedKeys.clear()
      self.#nextExpiryAt = nextExpiryAt
      self.#retryAt = NEVER
      self.#loaded = true
    })
  }

  /** Finds who stands first in the lines that the last turn has changed. */
  #lookAtKeys(now: number): Effect.Effect<void, JournalError> {
    const places = [...this.#changedKeys.values()]
    return Effect.map(this.#options.store.firstOfKeys(this.name, places), (firsts) => {
      this.#changedKeys.clear()
      places.forEach(([type, priority, key], i) =>
        this.#window.lane(type, priority)?.replaceFirstOfKey(key, firsts[i], now),
      )
    })
  }

  /** After a failed append or read, nothing in memory is believed until it was read again. */
  #distrust(now: number): void {
    this.#loaded = false
    this.#window.invalidate()
    this.#retryAt = now + STORE_RETRY_DELAY_MS
  }

  #load(id: string): Effect.Effect<VersionedJob, JournalError> {
    return loadJob(this.#options.journal, id)
  }

  /** The job as the turn has it, or as its lease has it. */
  #known(turn: Turn, id: string): WorkingJob | undefined {
    const working = turn.get(id)
    if (working !== undefined) return working
    const lease = this.#attempts.leases.get(id)
    return lease === undefined ? undefined : turn.include(lease.job)
  }

  #settleOrphans(turn: Turn): void {
    for (const orphan of this.#orphans) this.#stall(turn, turn.include(orphan), "process_lost")
    this.#orphans = []
  }

  #heartbeat(turn: Turn): void {
    this.#heartbeatAt = turn.now + HEARTBEAT_INTERVAL_MS
    for (const lease of this.#attempts.leases.renew(turn.now))
      this.#stall(turn, turn.include(lease.job), "lease_expired")
  }

  /** Ends jobs that were not started in time. */
  #expire(turn: Turn): Effect.Effect<void> {
    const self = this
    return Effect.gen(function* () {
      const ids = self.#expired
      self.#expired = []
      for (const id of ids) {
        const job = self.#known(turn, id) ?? turn.include(yield* self.#load(id))
        self.#expireOne(turn, job)
      }
    }).pipe(
      // It could not be read: the table still says that it has expired.
      Effect.catch(() => Effect.sync(() => this.#distrust(turn.now))),
    )
  }

  #expireOne(turn: Turn, job: WorkingJob): void {
    const before = job.state
    turn.apply(job, (state, context) => JobBehavior.decide.Expire(state, undefined, context), undefined)
    if (job.state !== before) this.#reindex(turn, job, before)
  }

  #stall(turn: Turn, job: WorkingJob, reason: "process_lost" | "lease_expired" | "handed_back"): void {
    const before = job.state
    const { attempt } = before
    turn.apply(
      job,
      (state, context) => JobBehavior.decide.Stall(state, { attempt, reason }, context),
      undefined,
    )
    this.#reindex(turn, job, before)
  }

  /** Adds new jobs to the turn; `enqueued` is what the sender is told. */
  #enqueue(
    turn: Turn,
    message: Extract<Message, { _tag: "Enqueue" }>,
    news: ReadonlyArray<NewJob>,
    enqueued: ReadonlyArray<Enqueued>,
    answers: Array<Answer>,
  ): void {
    let next = 0
    for (const { id, spec, metadata } of news) {
      const job = turn.include({
        id,
        state: absent,
        version: 0,
        position: PROVISIONAL_POSITION + turn.appends.length,
      })
      turn.apply(job, (state, context) => JobBehavior.decide.Enqueue(state, spec, context), metadata)
      turn.enqueued.push(job)
      if (spec.idempotency_key !== undefined) turn.keys.set(spec.idempotency_key, job)
      if (job.state.status === "waiting") this.#ready(turn, job)
      while (enqueued[next]!.deduplicated) next++
      enqueued[next++]!.job = job
    }
    answers.push((outcome) => message.answer(answerOf(outcome, enqueued)))
  }

  /** With idempotency keys: only jobs whose key is new are new. */
  #enqueueOnce(
    turn: Turn,
    message: Extract<Message, { _tag: "Enqueue" }>,
    answers: Array<Answer>,
  ): Effect.Effect<void> {
    return deduplicate(message.jobs, (_queue, key) => this.#findByKey(turn, key)).pipe(
      Effect.map(({ enqueued, fresh }) => {
        if (fresh.length > 0 && turn.settings.state.draining)
          return this.#refuse(message, new QueueDraining({ queue: this.name }), answers)
        this.#enqueue(turn, message, fresh, enqueued, answers)
      }),
      Effect.catch((error) => Effect.sync(() => this.#refuse(message, error, answers))),
    )
  }

  /** Refused because of what this turn may have changed, it is only refused if that is durable. */
  #refuse(
    message: Extract<Message, { _tag: "Enqueue" }>,
    error: EnqueueRefusal,
    answers: Array<Answer>,
  ): void {
    answers.push((outcome) => message.answer(Exit.isFailure(outcome) ? refusal(outcome) : Exit.fail(error)))
  }

  /** The job that has a key: enqueued in this turn, or before. */
  #findByKey(turn: Turn, key: string): Effect.Effect<Keyed | undefined, JournalError> {
    const fresh = turn.keys.get(key)
    if (fresh !== undefined) return Effect.succeed({ id: fresh.id, spec: fresh.state })
    return Effect.flatMap(this.#options.store.findByKey(this.name, key), (id) =>
      id === undefined
        ? Effect.succeed(undefined)
        : Effect.map(this.#load(id), ({ state }) => ({ id, spec: state })),
    )
  }

  #command(
    turn: Turn,
    job: WorkingJob,
    message: Extract<Message, { _tag: "Command" }>,
    answers: Array<Answer>,
  ): void {
    if (job.version === 0) {
      return void answers.push(() => message.answer(Exit.fail(new JobNotFound({ id: message.id }))))
    }
    try {
      const before = job.state
      const outcome = turn.apply(job, message.decide, message.metadata)
      if (outcome._tag === "Refused") {
        // Refused because of what this turn has changed, it is only refused if that is durable.
        const isDoubtful = before !== job.before
        return void answers.push((appended) =>
          message.answer(isDoubtful && Exit.isFailure(appended) ? appended : Exit.fail(outcome.refusal)),
        )
      }
      if (job.state !== before) this.#reindex(turn, job, before)
      answers.push((appended) => message.answer(answerOf(appended, outcome.answer)))
    } catch (defect) {
      message.answer(Exit.die(defect))
    }
  }

  #loadAndCommand(
    turn: Turn,
    message: Extract<Message, { _tag: "Command" }>,
    answers: Array<Answer>,
  ): Effect.Effect<void> {
    return this.#load(message.id).pipe(
      Effect.map((job) => this.#command(turn, turn.include(job), message, answers)),
      Effect.catch((error) => Effect.sync(() => message.answer(Exit.fail(error)))),
      Effect.catchDefect((defect) => Effect.sync(() => message.answer(Exit.die(defect)))),
    )
  }

  #handBack(turn: Turn, message: Extract<Message, { _tag: "HandBack" }>, answers: Array<Answer>): void {
    for (const lease of this.#attempts.leases.values()) {
      if (message.type !== undefined && lease.job.state.type !== message.type) continue
      const job = turn.get(lease.job.id) ?? turn.include(lease.job)
      if (job.state.status === "processing") this.#stall(turn, job, "handed_back")
    }
    answers.push(() => message.answer(Exit.void))
  }

  /** Moves a job within the window after its state changed. */
  #reindex(turn: Turn, job: WorkingJob, before: JobState): void {
    if (before.status === "waiting")
      this.#window.lane(before.type, priorityCode(before.priority))?.remove(job.id)
    if (job.state.status === "waiting") this.#ready(turn, job)
  }

  /** Offers a waiting job to its lane, or notes when it will be due. */
  #ready(turn: Turn, job: WorkingJob): void {
    const { id, state, version, position } = job
    // Who stands first in the line of its key is known when this turn is committed.
    if (state.concurrencyKey !== undefined) return
    const priority = priorityCode(state.priority)
    const { type, dueAt } = state
    const lane = this.#window.lane(type, priority)
    if (lane === undefined) return
    const ready: ReadyJob = { id, type, priority, dueAt, position, key: undefined, known: undefined }
    if (dueAt > turn.now) lane.expect(dueAt)
    else if (lane.offer(ready)) {
      if (isSmall(state.payload)) ready.known = { state, version }
      job.ready = ready
    }
  }

  #admission(turn: Turn): Admission {
    const { concurrency, registrations } = this.#options
    return new Admission(turn, {
      registrations,
      concurrency,
      settings: turn.settings.state,
      rate: this.#rate,
      leases: this.#attempts.leases,
    })
  }

  /** Starts ready jobs while there is room; a place that became free in this turn is filled in this turn. */
  #dispatch(turn: Turn): Effect.Effect<void> {
    const self = this
    const { worker } = this.#options
    return Effect.gen(function* () {
      const admission = self.#admission(turn)
      const pop = () =>
        admission.isOpen ? self.#window.pop(admission.hasRoom, admission.isKeyOpen) : undefined
      for (let next = pop(); next !== undefined; next = pop()) {
        const job = self.#known(turn, next.id) ?? turn.include(yield* self.#claimable(next))
        if (isExpired(job.state, turn.now)) {
          self.#expireOne(turn, job)
          continue
        }
        const outcome = turn.apply(
          job,
          (state, context) => JobBehavior.decide.Start(state, { worker }, context),
          undefined,
        )
        if (outcome._tag === "Accepted") admission.started(job)
        else self.#lostTrack(next)
      }
    }).pipe(
      // The job could not be read. It stays in the table and comes again with the next refill.
      Effect.catch(() => Effect.sync(() => this.#distrust(turn.now))),
    )
  }

  /** A ready job: as the window knows it, or from the journal. */
  #claimable({ id, position, known }: ReadyJob): Effect.Effect<VersionedJob, JournalError> {
    return known === undefined ? this.#load(id) : Effect.succeed({ id, position, ...known })
  }

  /** A job in the window turned out not to be ready (a clock that was set back, for instance): look again. */
  #lostTrack({ type, priority }: ReadyJob): void {
    this.#window.lane(type, priority)?.invalidate()
    this.wake()
  }

  /** The turn is durable: leases follow it, and attempts start. */
  #commit(turn: Turn, recorded: ReadonlyArray<RecordedEvent>): void {
    let next = 0
    for (const { event, position } of recorded) {
      if (event._tag !== "JobEnqueued") continue
      const job = turn.enqueued[next++]!
      job.position = position
      if (job.ready !== undefined) job.ready.position = position
    }
    this.#adopt(turn)
    let hasBlocked = false
    let hasEnded = false
    for (const job of turn.jobs) {
      const { before, state } = job
      if (this.#attempts.follow(job, turn.now)) this.#rate?.record(turn.now)
      if (state.concurrencyKey !== undefined) this.#noteKey(state.concurrencyKey, before, state)
      if (state.expiresAt !== undefined && !isFinished(state))
        this.#nextExpiryAt = Math.min(this.#nextExpiryAt, state.expiresAt)
      if (state.status === "blocked") hasBlocked = true
      else if (isFinished(state)) hasEnded = true
    }
    if (hasBlocked) this.#options.dependencies.blocked()
    else if (hasEnded) this.#options.dependencies.ended()
    if (this.#changedKeys.size > 0) this.wake()
    else if (!this.#quiescent && this.#mayStartMore(turn)) this.wake()
  }

  /** The queue's own settings are what the turn has made of them. */
  #adopt({ settings }: Turn): void {
    if (settings === this.#settings) return
    this.#settings = settings
    const { rate_limit: limit } = settings.state.limits
    if (limit === null) this.#rate = undefined
    else this.#rate = this.#rate?.under(limit) ?? new RateWindow(limit, [])
    this.wake()
  }

  /** The line of a concurrency key has changed: where the job was, or where it is. */
  #noteKey(key: string, before: JobState, state: JobState): void {
    for (const { priority, status, type } of [before, state]) {
      if (status !== "waiting") continue
      const place = [type, priorityCode(priority), key] as const
      this.#changedKeys.set(place.join(" "), place)
    }
  }

  /** Whether jobs that could start now may be in the table alone. */
  #mayStartMore(turn: Turn): boolean {
    if (this.#window.lanes.every((lane) => !lane.isDry)) return false
    // What the turn has decided is committed: it counts as running now, and no longer as decided.
    const admission = this.#admission(new Turn(turn.now, turn.settings))
    return this.#window.isDry(admission.hasRoom)
  }

  #armTimer(now: number): void {
    this.#timer.arm(
      now,
      this.#window.nextDueAt,
      this.#nextExpiryAt,
      this.#retryAt,
      this.#attempts.leases.size === 0 ? NEVER : this.#heartbeatAt,
      this.#rate === undefined || this.#rate.available(now) > 0 ? NEVER : this.#rate.nextAt,
    )
  }
}

/** The same failure, whatever the success would have been. */
const refusal = <E>(exit: Exit.Failure<unknown, E>): Exit.Exit<never, E> => exit as Exit.Failure<never, E>

/** What a sender is told when the append has ended so. */
const answerOf = <A, E>(outcome: Exit.Exit<unknown, E>, answer: A): Exit.Exit<A, E> =>
  Exit.isSuccess(outcome) ? Exit.succeed(answer) : refusal(outcome)

/** The store is well: somebody else was faster, or one of the turn's events is at fault. */
const isOfTheTurn = (cause: Cause.Cause<JournalError>): boolean => {
  const reason = cause.reasons.find(Cause.isFailReason)?.error.reason
  if (reason === undefined || reason._tag === "StoreFull") return false
  if (reason._tag === "VersionConflict") return true
  return isUniqueViolation(reason.cause) || resultCodeOf(reason.cause) === undefined
}

const hasKey = ({ spec }: NewJob): boolean => spec.idempotency_key !== undefined

const isNew = ({ id }: NewJob): Enqueued => ({ id, deduplicated: false, job: undefined })
