/**
 * One turn of a queue: everything that is decided on a batch of messages, on leases and deadlines, and on who starts next.
 * It decides and appends nothing itself; what it has decided takes effect when its append is durable.
 */
import { Effect, Exit } from "effect"
import type { Journal, JournalError } from "../journal/Journal.ts"
import { Admission } from "./Admission.ts"
import type { Registration } from "./Attempt.ts"
import type { Attempts } from "./Attempts.ts"
import { deduplicate, type Enqueued, type Keyed, loadForCommand, loadJob, type NewJob } from "./Enqueue.ts"
import { isExpired, JobBehavior } from "./JobBehavior.ts"
import { JobNotFound, QueueDraining } from "./JobErrors.ts"
import { metadataOf } from "./JobTrace.ts"
import { priorityCode } from "./JobRow.ts"
import { absent, type JobState } from "./JobState.ts"
import type { JobStore } from "./JobStore.ts"
import type { QueueMemory } from "./QueueMemory.ts"
import {
  type Answer,
  answerOf,
  type CommandMessage,
  type EnqueueMessage,
  type EnqueueRefusal,
  type HandBackMessage,
  type Message,
  refusal,
} from "./QueueMessage.ts"
import { isSmall, type ReadyJob } from "./Lane.ts"
import { Turn, type VersionedJob, type WorkingJob } from "./Turn.ts"

/** Stands above every real position, so that jobs not yet committed come last and in their own order. */
const PROVISIONAL_POSITION = 2 ** 52

/** The queue that takes the turn. */
export interface QueueParts {
  readonly name: string
  readonly journal: Journal["Service"]
  readonly store: JobStore["Service"]
  readonly memory: QueueMemory
  readonly attempts: Attempts
  readonly registrations: ReadonlyMap<string, Registration>
  /** Attempts of one type at a time, where its registration does not say. */
  readonly concurrency: number
  /** Names this process in `JobStarted`. */
  readonly worker: string
  /** Asks for another turn. */
  readonly wake: () => void
}

export class QueueTurn extends Turn {
  readonly #queue: QueueParts
  readonly #answers: Array<Answer> = []

  constructor(queue: QueueParts, now: number) {
    super(now, queue.memory.settings)
    this.#queue = queue
  }

  /** Tells every sender how the turn's append has ended. */
  answer(outcome: Exit.Exit<unknown, JournalError>): void {
    for (const answer of this.#answers) answer(outcome)
  }

  /** Decides a message. What needs no look-up is decided at once and answers nothing: no step of the fiber is spent on it. */
  take(message: Message): Effect.Effect<void> | undefined {
    switch (message._tag) {
      case "Enqueue":
        if (message.jobs.some(hasKey)) return this.#enqueueOnce(message)
        if (this.settings.state.draining)
          this.#refuse(message, new QueueDraining({ queue: this.#queue.name }))
        else this.#enqueue(message, message.jobs, message.jobs.map(isNew))
        return undefined
      case "Command": {
        const known = this.#known(message.id)
        if (known === undefined) return this.#loadAndCommand(message)
        this.#command(known, message)
        return undefined
      }
      case "Govern":
        this.govern(this.#queue.name, message.decide, message.metadata)
        this.#answers.push((outcome) => message.answer(answerOf(outcome, undefined)))
        return undefined
      case "HandBack":
        this.#handBack(message)
        return undefined
      case "Settle":
        this.#answers.push(() => message.answer(Exit.void))
        return undefined
      case "Wake":
        return undefined
    }
  }

  /** A previous process held the lease of this job. */
  recover(orphan: VersionedJob): void {
    this.#stall(this.include(orphan), "process_lost")
  }

  #load(id: string): Effect.Effect<VersionedJob, JournalError> {
    return loadJob(this.#queue.journal, id)
  }

  /** The job as the turn has it, or as its lease has it. */
  #known(id: string): WorkingJob | undefined {
    const working = this.get(id)
    if (working !== undefined) return working
    const lease = this.#queue.attempts.leases.get(id)
    return lease === undefined ? undefined : this.include(lease.job)
  }

  /** Renews the leases of attempts that are alive; the jobs of the others have stalled. */
  heartbeat(): void {
    for (const lease of this.#queue.attempts.leases.renew(this.now))
      this.#stall(this.include(lease.job), "lease_expired")
  }

  /** Ends jobs that were not started in time. */
  expire(ids: ReadonlyArray<string>): Effect.Effect<void> {
    const self = this
    return Effect.gen(function* () {
      for (const id of ids) {
        const job = self.#known(id) ?? self.include(yield* self.#load(id))
        self.#expireOne(job)
      }
    }).pipe(
      // It could not be read: the table still says that it has expired.
      Effect.catch(() => Effect.sync(() => this.#queue.memory.distrust(this.now))),
    )
  }

  #expireOne(job: WorkingJob): void {
    const before = job.state
    this.apply(job, (state, context) => JobBehavior.decide.Expire(state, undefined, context), undefined)
    if (job.state !== before) this.#reindex(job, before)
  }

  #stall(job: WorkingJob, reason: "process_lost" | "lease_expired" | "handed_back"): void {
    const before = job.state
    const { attempt } = before
    this.apply(
      job,
      (state, context) => JobBehavior.decide.Stall(state, { attempt, reason }, context),
      metadataOf(this.#queue.attempts.leases.get(job.id)?.lease.span),
    )
    this.#reindex(job, before)
  }

  /** Adds new jobs to the turn; `enqueued` is what the sender is told. */
  #enqueue(message: EnqueueMessage, news: ReadonlyArray<NewJob>, enqueued: ReadonlyArray<Enqueued>): void {
    let next = 0
    for (const { id, spec, metadata } of news) {
      const job = this.include({
        id,
        state: absent,
        version: 0,
        position: PROVISIONAL_POSITION + this.appends.length,
      })
      this.apply(job, (state, context) => JobBehavior.decide.Enqueue(state, spec, context), metadata)
      this.enqueued.push(job)
      if (spec.idempotency_key !== undefined) this.keys.set(spec.idempotency_key, job)
      if (job.state.status === "waiting") this.#ready(job)
      while (enqueued[next]!.deduplicated) next++
      enqueued[next++]!.job = job
    }
    this.#answers.push((outcome) => message.answer(answerOf(outcome, enqueued)))
  }

  /** With idempotency keys: only jobs whose key is new are new. */
  #enqueueOnce(message: EnqueueMessage): Effect.Effect<void> {
    return deduplicate(message.jobs, (_queue, key) => this.#findByKey(key)).pipe(
      Effect.map(({ enqueued, fresh }) => {
        if (fresh.length > 0 && this.settings.state.draining)
          return this.#refuse(message, new QueueDraining({ queue: this.#queue.name }))
        this.#enqueue(message, fresh, enqueued)
      }),
      Effect.catch((error) => Effect.sync(() => this.#refuse(message, error))),
    )
  }

  /** Refused because of what this turn may have changed, it is only refused if that is durable. */
  #refuse(message: EnqueueMessage, error: EnqueueRefusal): void {
    this.#answers.push((outcome) =>
      message.answer(Exit.isFailure(outcome) ? refusal(outcome) : Exit.fail(error)),
    )
  }

  /** The job that has a key: enqueued in this turn, or before. */
  #findByKey(key: string): Effect.Effect<Keyed | undefined, JournalError> {
    const fresh = this.keys.get(key)
    if (fresh !== undefined) return Effect.succeed({ id: fresh.id, spec: fresh.state })
    return Effect.flatMap(this.#queue.store.findByKey(this.#queue.name, key), (id) =>
      id === undefined
        ? Effect.succeed(undefined)
        : Effect.map(this.#load(id), ({ state }) => ({ id, spec: state })),
    )
  }

  #command(job: WorkingJob, message: CommandMessage): void {
    if (job.version === 0) {
      return void this.#answers.push(() => message.answer(Exit.fail(new JobNotFound({ id: message.id }))))
    }
    try {
      const before = job.state
      const outcome = this.apply(job, message.decide, message.metadata)
      if (outcome._tag === "Refused") {
        // Refused because of what this turn has changed, it is only refused if that is durable.
        const isDoubtful = before !== job.before
        return void this.#answers.push((appended) =>
          message.answer(isDoubtful && Exit.isFailure(appended) ? appended : Exit.fail(outcome.refusal)),
        )
      }
      if (job.state !== before) this.#reindex(job, before)
      this.#answers.push((appended) => message.answer(answerOf(appended, outcome.answer)))
    } catch (defect) {
      message.answer(Exit.die(defect))
    }
  }

  #loadAndCommand(message: CommandMessage): Effect.Effect<void> {
    return loadForCommand(this.#queue.journal, message.id).pipe(
      Effect.map((job) => this.#command(this.include(job), message)),
      Effect.catch((error) => Effect.sync(() => message.answer(Exit.fail(error)))),
      Effect.catchDefect((defect) => Effect.sync(() => message.answer(Exit.die(defect)))),
    )
  }

  /** Ends attempts here in good order. */
  #handBack(message: HandBackMessage): void {
    for (const lease of this.#queue.attempts.leases.values()) {
      if (message.type !== undefined && lease.job.state.type !== message.type) continue
      const job = this.get(lease.job.id) ?? this.include(lease.job)
      if (job.state.status === "processing") this.#stall(job, "handed_back")
    }
    this.#answers.push(() => message.answer(Exit.void))
  }

  /** Moves a job within the window after its state changed. */
  #reindex(job: WorkingJob, before: JobState): void {
    if (before.status === "waiting")
      this.#queue.memory.window.lane(before.type, priorityCode(before.priority))?.remove(job.id)
    if (job.state.status === "waiting") this.#ready(job)
  }

  /** Offers a waiting job to its lane, or notes when it will be due. */
  #ready(job: WorkingJob): void {
    const { id, position, state, trace, version } = job
    // Who stands first in the line of its key is known when this turn is committed.
    if (state.concurrencyKey !== undefined) return
    const priority = priorityCode(state.priority)
    const { type, dueAt } = state
    const lane = this.#queue.memory.window.lane(type, priority)
    if (lane === undefined) return
    const ready: ReadyJob = { id, type, priority, dueAt, position, key: undefined, known: undefined }
    if (dueAt > this.now) lane.expect(dueAt)
    else if (lane.offer(ready)) {
      if (isSmall(state.payload)) ready.known = { state, trace, version }
      job.ready = ready
    }
  }

  /** Who may start, as things stand in this turn. */
  admission(): Admission {
    const { concurrency, registrations } = this.#queue
    return new Admission(this, {
      registrations,
      concurrency,
      settings: this.settings.state,
      rate: this.#queue.memory.rateUnder(this.settings),
      leases: this.#queue.attempts.leases,
    })
  }

  /** Starts ready jobs while there is room; a place that became free in this turn is filled in this turn. */
  dispatch(): Effect.Effect<void> {
    return Effect.gen(() => this.#startReady()).pipe(
      // The job could not be read. It stays in the table and comes again with the next refill.
      Effect.catch(() => Effect.sync(() => this.#queue.memory.distrust(this.now))),
    )
  }

  *#startReady() {
    const { memory, worker } = this.#queue
    const admission = this.admission()
    const pop = () => (admission.isOpen ? memory.window.pop(admission.hasRoom, admission.isFree) : undefined)
    for (let next = pop(); next !== undefined; next = pop()) {
      const job = this.#known(next.id) ?? this.include(yield* this.#claimable(next))
      if (isExpired(job.state, this.now)) {
        this.#expireOne(job)
        continue
      }
      const outcome = this.apply(
        job,
        (state, context) => JobBehavior.decide.Start(state, { worker }, context),
        undefined,
      )
      if (outcome._tag === "Accepted") admission.started(job)
      else {
        memory.lostTrack(next)
        this.#queue.wake()
      }
    }
  }

  /** A ready job: as the window knows it, or from the journal. */
  #claimable({ id, position, known }: ReadyJob): Effect.Effect<VersionedJob, JournalError> {
    return known === undefined ? this.#load(id) : Effect.succeed({ id, position, ...known })
  }
}

const hasKey = ({ spec }: NewJob): boolean => spec.idempotency_key !== undefined

const isNew = ({ id }: NewJob): Enqueued => ({ id, deduplicated: false, job: undefined })
