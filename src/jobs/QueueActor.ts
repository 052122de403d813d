/**
 * The actor of one queue. It owns the streams of the queue's jobs: every event of theirs is decided here, in order, and
 * appended in batches. It also hands ready jobs to the handlers registered in this process, within the same append that
 * frees their place, so work is pushed the moment there is room for it.
 */
import { Cause, Clock, Effect, Exit, Fiber } from "effect"
import type { CommandContext, Decision } from "../actor/Behavior.ts"
import { Mailbox, type MailboxFull } from "../actor/Mailbox.ts"
import type { EventMetadata, Journal, JournalError, RecordedEvent } from "../journal/Journal.ts"
import { type Lease, type LeaseCommands, type Registration, runAttempt } from "./Attempt.ts"
import { isUniqueViolation, resultCodeOf } from "../sqlite/SqliteError.ts"
import { type Enqueued, isSameRequest, type JobSpec, loadJob, type NewJob } from "./Enqueue.ts"
import { JobBehavior } from "./JobBehavior.ts"
import { IdempotencyKeyReused, JobNotFound } from "./JobErrors.ts"
import type { JobEvent } from "./JobEvents.ts"
import { priorityCode } from "./JobRow.ts"
import { absent, type JobState } from "./JobState.ts"
import type { JobStore } from "./JobStore.ts"
import { HEARTBEAT_INTERVAL_MS, LEASE_DURATION_MS, Leases, type LiveLease } from "./Leases.ts"
import type { LiveProgress } from "./LiveProgress.ts"
import { QueueMeter, type QueueThroughput } from "./QueueMeter.ts"
import { isSmall, type ReadyJob, ReadyWindow } from "./ReadyWindow.ts"
import { Turn, type VersionedJob, type WorkingJob } from "./Turn.ts"

/** After the store refused: until the queue tries on its own to go on. */
const STORE_RETRY_DELAY_MS = 500
/** The queue looks after itself at least this often, whatever its timers say. */
const WAKE_INTERVAL_MAX_MS = 3_600_000
/** Times a message is decided that somebody else's writing comes in the way of: in the batch, then alone. */
const CONFLICT_TRIES = 3
/** Stands above every real position, so that jobs not yet committed come last and in their own order. */
const PROVISIONAL_POSITION = 2 ** 52

type Decide<Answer, Refusal> = (
  state: JobState,
  context: CommandContext,
) => Decision<JobState, JobEvent, Answer, Refusal>

type Message =
  | {
      readonly _tag: "Enqueue"
      readonly jobs: ReadonlyArray<NewJob>
      readonly answer: (exit: Exit.Exit<ReadonlyArray<Enqueued>, IdempotencyKeyReused | JournalError>) => void
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
}

export class QueueActor {
  readonly name: string
  readonly #options: QueueActorOptions
  readonly #mailbox: Mailbox<Message>
  readonly #window = new ReadyWindow()
  readonly #leases = new Leases()
  readonly #meter = new QueueMeter()
  readonly #leaseCommands: LeaseCommands
  /** False until the leases of a previous process are found, and after any append that failed. */
  #loaded = false
  /** Jobs whose lease belongs to nobody any more. */
  #orphans: ReadonlyArray<VersionedJob> = []
  #heartbeatAt = 0
  #retryAt = Number.POSITIVE_INFINITY
  #timer: { readonly at: number; readonly fiber: Fiber.Fiber<void> } | undefined
  #quiescent = false

  constructor(options: QueueActorOptions) {
    this.name = options.name
    this.#options = options
    this.#mailbox = new Mailbox<Message>({
      actor: `queue/${options.name}`,
      handle: (batch) => this.#handle(batch),
      fork: options.fork,
    })
    for (const type of options.registrations.keys()) this.#window.addType(type)
    this.#leaseCommands = {
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
        if (this.#leases.get(id)?.attempt !== attempt) return
        options.live.publish(id, { attempt, at, ...update })
        if (!durable) return
        this.#mailbox.offer({
          _tag: "Command",
          id,
          decide: (state, context) => JobBehavior.decide.Progress(state, { attempt, ...update }, context),
          metadata: undefined,
          answer: () => {},
        })
      },
    }
  }

  /** Enqueues a job of this queue. */
  enqueue(job: NewJob): Effect.Effect<Enqueued, IdempotencyKeyReused | JournalError | MailboxFull> {
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
  ): Effect.Effect<ReadonlyArray<Enqueued>, IdempotencyKeyReused | JournalError | MailboxFull> {
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
    const ended: Effect.Effect<void> = Effect.suspend(() => {
      if (this.#leases.running(type) === 0) return Effect.void
      this.#leases.changed.closeUnsafe()
      return Effect.andThen(this.#leases.changed.await, ended)
    })
    const handBack = Effect.suspend(() => {
      if (type !== undefined) this.#window.removeType(type)
      const fibers = this.#leases.fibers(type)
      if (fibers.length === 0) return Effect.void
      // Also if the journal refuses to hear of it: then the next process finds them lost.
      return Effect.andThen(this.#tell({ _tag: "HandBack", type }), Fiber.interruptAll(fibers))
    })
    return this.settled.pipe(
      Effect.andThen(Effect.timeoutOption(ended, graceMs)),
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
    return { running: this.#leases.runningByType(), lastMinute: this.#meter.lastMinute(now) }
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
      const turn = new Turn(now)
      const answers: Array<Answer> = []
      self.#settleOrphans(turn)
      if (now >= self.#heartbeatAt) self.#heartbeat(turn)
      for (const message of batch) {
        // What needs no look-up is decided without a step of the fiber: at 64 callers that is most of a turn's cost.
        if (message._tag === "Enqueue") {
          if (message.jobs.some(hasKey)) yield* self.#enqueueOnce(turn, message, answers)
          else self.#enqueue(turn, message, message.jobs, message.jobs.map(isNew), answers)
        } else if (message._tag === "Command") {
          const known = self.#known(turn, message.id)
          if (known === undefined) yield* self.#loadAndCommand(turn, message, answers)
          else self.#command(turn, known, message, answers)
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
      if (!self.#loaded) yield* self.#reload()
      for (const lane of self.#window.lanes) {
        if (!lane.needsRefill(now)) continue
        const { jobs, complete, nextDueAt } = yield* store.ready(self.name, lane.type, lane.priority, now)
        lane.fill(jobs, complete, nextDueAt)
      }
    })
  }

  /** Finds out who holds a lease according to the journal, and compares it with what runs here. */
  #reload(): Effect.Effect<void, JournalError> {
    const self = this
    return Effect.gen(function* () {
      const orphans: Array<VersionedJob> = []
      const held = new Set<LiveLease>()
      for (const id of yield* self.#options.store.processing(self.name)) {
        const job = yield* self.#load(id)
        if (job.state.status !== "processing") continue
        const lease = self.#leases.get(id)
        if (lease?.attempt === job.state.attempt) {
          lease.job = job
          held.add(lease)
        } else orphans.push(job)
      }
      for (const lease of self.#leases.values()) if (!held.has(lease)) self.#revoke(lease)
      self.#window.invalidate()
      self.#orphans = orphans
      self.#retryAt = Number.POSITIVE_INFINITY
      self.#loaded = true
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
    const lease = this.#leases.get(id)
    return lease === undefined ? undefined : turn.include(lease.job)
  }

  #settleOrphans(turn: Turn): void {
    for (const orphan of this.#orphans) this.#stall(turn, turn.include(orphan), "process_lost")
    this.#orphans = []
  }

  #heartbeat(turn: Turn): void {
    this.#heartbeatAt = turn.now + HEARTBEAT_INTERVAL_MS
    for (const lease of this.#leases.renew(turn.now))
      this.#stall(turn, turn.include(lease.job), "lease_expired")
  }

  #stall(turn: Turn, job: WorkingJob, reason: "process_lost" | "lease_expired" | "handed_back"): void {
    const { attempt } = job.state
    turn.apply(
      job,
      (state, context) => JobBehavior.decide.Stall(state, { attempt, reason }, context),
      undefined,
    )
    this.#reindex(turn, job, "processing")
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
      this.#ready(turn, job)
      while (enqueued[next]!.deduplicated) next++
      enqueued[next++]!.job = job
    }
    answers.push((outcome) => message.answer(answerOf(outcome, enqueued)))
  }

  /**
   * With idempotency keys: finds the jobs that have them. The whole message is checked before any of it takes effect:
   * a batch is enqueued as one or not at all.
   */
  #enqueueOnce(
    turn: Turn,
    message: Extract<Message, { _tag: "Enqueue" }>,
    answers: Array<Answer>,
  ): Effect.Effect<void> {
    const self = this
    return Effect.gen(function* () {
      const enqueued: Array<Enqueued> = []
      const news: Array<NewJob> = []
      const keys = new Map<string, NewJob>()
      for (const job of message.jobs) {
        const key = job.spec.idempotency_key
        const twin = key === undefined ? undefined : (keys.get(key) ?? (yield* self.#findByKey(turn, key)))
        if (key !== undefined && twin !== undefined) {
          if (!isSameRequest(job.spec, twin.spec))
            return yield* new IdempotencyKeyReused({ key, id: twin.id })
          enqueued.push({ id: twin.id, deduplicated: true })
          continue
        }
        if (key !== undefined) keys.set(key, job)
        enqueued.push(isNew(job))
        news.push(job)
      }
      self.#enqueue(turn, message, news, enqueued, answers)
    }).pipe(
      // The job that has the key may be of this turn.
      Effect.catch((error) =>
        Effect.sync(() =>
          answers.push((outcome) =>
            message.answer(Exit.isFailure(outcome) ? refusal(outcome) : Exit.fail(error)),
          ),
        ),
      ),
    )
  }

  /** The job that has a key: enqueued in this turn, or before. */
  #findByKey(
    turn: Turn,
    key: string,
  ): Effect.Effect<
    { readonly id: string; readonly spec: Pick<JobSpec, "type" | "payload"> } | undefined,
    JournalError
  > {
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
      if (job.state !== before) this.#reindex(turn, job, before.status, before)
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
    for (const lease of this.#leases.values()) {
      if (message.type !== undefined && lease.job.state.type !== message.type) continue
      const job = turn.get(lease.job.id) ?? turn.include(lease.job)
      if (job.state.status === "processing") this.#stall(turn, job, "handed_back")
    }
    answers.push(() => message.answer(Exit.void))
  }

  /** Moves a job within the window after its state changed. */
  #reindex(turn: Turn, job: WorkingJob, statusBefore: JobState["status"], before?: JobState): void {
    if (statusBefore === "waiting" && before !== undefined) {
      this.#window.lane(before.type, priorityCode(before.priority))?.remove(job.id)
    }
    if (job.state.status === "waiting") this.#ready(turn, job)
  }

  /** Offers a waiting job to its lane, or notes when it will be due. */
  #ready(turn: Turn, job: WorkingJob): void {
    const { id, state, version, position } = job
    const priority = priorityCode(state.priority)
    const { type, dueAt } = state
    const lane = this.#window.lane(type, priority)
    if (lane === undefined) return
    const ready: ReadyJob = { id, type, priority, dueAt, position, known: undefined }
    if (dueAt > turn.now) lane.nextDueAt = Math.min(lane.nextDueAt, dueAt)
    else if (lane.offer(ready)) {
      if (isSmall(state.payload)) ready.known = { state, version }
      job.ready = ready
    }
  }

  /** Starts ready jobs while there is room; a place that became free in this turn is filled in this turn. */
  #dispatch(turn: Turn): Effect.Effect<void> {
    const self = this
    const { worker } = this.#options
    return Effect.gen(function* () {
      const running = self.#leases.runningByType()
      for (const { id, state } of self.#leases.size === 0 ? [] : turn.jobs) {
        const lease = self.#leases.get(id)
        if (lease === undefined || (state.status === "processing" && state.attempt === lease.attempt))
          continue
        running.set(state.type, running.get(state.type)! - 1)
      }
      const hasRoom = (type: string) => self.#hasRoom(type, running.get(type) ?? 0)
      for (let next = self.#window.pop(hasRoom); next !== undefined; next = self.#window.pop(hasRoom)) {
        const job = self.#known(turn, next.id) ?? turn.include(yield* self.#claimable(next))
        const outcome = turn.apply(
          job,
          (state, context) => JobBehavior.decide.Start(state, { worker }, context),
          undefined,
        )
        if (outcome._tag === "Accepted") running.set(next.type, (running.get(next.type) ?? 0) + 1)
        else self.#lostTrack(next)
      }
    }).pipe(
      // The job could not be read. It stays in the table and comes again with the next refill.
      Effect.catch(() => Effect.sync(() => this.#distrust(turn.now))),
    )
  }

  #hasRoom(type: string, running: number): boolean {
    const registration = this.#options.registrations.get(type)
    return registration !== undefined && running < (registration.concurrency ?? this.#options.concurrency)
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
    for (const { id, state, version, position } of turn.jobs) {
      const lease = this.#leases.get(id)
      if (lease === undefined && state.status !== "processing") continue
      const job: VersionedJob = { id, state, version, position }
      const goesOn = state.status === "processing" && lease?.attempt === state.attempt
      if (goesOn) lease.job = job
      else {
        if (lease !== undefined) this.#end(lease, state)
        if (state.status === "processing") this.#start(turn, job)
      }
    }
    if (!this.#quiescent && this.#window.isDry((type) => this.#hasRoom(type, this.#leases.running(type)))) {
      this.wake()
    }
  }

  #start(turn: Turn, job: VersionedJob): void {
    const { id, state } = job
    const { attempt } = state
    const registration = this.#options.registrations.get(state.type)
    const live: LiveLease = { job, attempt, fiber: undefined, expiresAt: turn.now + LEASE_DURATION_MS }
    // Before the attempt, whose first steps run within the fork.
    this.#leases.add(live)
    if (registration !== undefined) {
      const lease: Lease = { id, attempt, state }
      live.fiber = this.#options.fork(runAttempt(registration, lease, this.#leaseCommands))
      return
    }
    // Its handler went while the append was under way.
    this.#mailbox.offer({
      _tag: "Command",
      id,
      decide: (current, context) =>
        JobBehavior.decide.Stall(current, { attempt, reason: "handed_back" }, context),
      metadata: undefined,
      answer: () => {},
    })
  }

  /** The lease is over. Its attempt is interrupted unless it has ended by itself. */
  #end(lease: LiveLease, state: JobState): void {
    const attempt = state.attempts.findLast(({ number }) => number === lease.attempt)
    const endedItself = attempt?.outcome === "completed" || attempt?.outcome === "failed"
    if (!endedItself) return this.#revoke(lease)
    const { endedAt, startedAt, waitMs } = attempt
    this.#meter.record(endedAt!, attempt.outcome === "completed", waitMs, endedAt! - startedAt)
    this.#leases.delete(lease)
    this.#options.live.clear(lease.job.id)
  }

  #revoke(lease: LiveLease): void {
    this.#leases.delete(lease)
    this.#options.live.clear(lease.job.id)
    lease.fiber?.interruptUnsafe()
  }

  /** One timer: for the next due job, the next heartbeat, or the next try after the store refused. */
  #armTimer(now: number): void {
    const heartbeat = this.#leases.size === 0 ? Number.POSITIVE_INFINITY : this.#heartbeatAt
    const at = Math.min(this.#window.nextDueAt, heartbeat, this.#retryAt, now + WAKE_INTERVAL_MAX_MS)
    if (this.#timer !== undefined) {
      if (this.#timer.at <= at) return
      this.#timer.fiber.interruptUnsafe()
    }
    const fiber = this.#options.fork(
      Effect.andThen(
        Effect.sleep(Math.max(1, at - now)),
        Effect.sync(() => {
          this.#timer = undefined
          this.wake()
        }),
      ),
    )
    this.#timer = { at, fiber }
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
