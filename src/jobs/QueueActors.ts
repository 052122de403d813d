/**
 * The actors of the queues of this process, by name. One is started when its queue is first asked for, and all of them end
 * together: no further attempt, then a grace for those under way, then the last answers.
 */
import { Effect } from "effect"
import type { JournalError } from "../journal/Journal.ts"
import { QueueNotFound, TooManyQueues } from "./JobErrors.ts"
import { QueueActor, type QueueActorOptions } from "./QueueActor.ts"

/** Named queues one process keeps. */
const QUEUES_MAX = 1_000

export class QueueActors {
  readonly #options: Omit<QueueActorOptions, "name">
  readonly #actors = new Map<string, QueueActor>()
  #quiescent = false
  #closed = false

  constructor(options: Omit<QueueActorOptions, "name">) {
    this.#options = options
  }

  /** Those that were started. */
  get all(): ReadonlyArray<QueueActor> {
    return [...this.#actors.values()]
  }

  /** The actor of a queue, which need not have existed. */
  of(name: string): Effect.Effect<QueueActor, TooManyQueues> {
    const known = this.#actors.get(name)
    return known === undefined ? Effect.suspend(() => this.#start(name)) : Effect.succeed(known)
  }

  /** The actor of a queue that somebody has set up or that ever had a job. */
  existing(name: string): Effect.Effect<QueueActor, QueueNotFound | TooManyQueues | JournalError> {
    if (this.#actors.has(name)) return this.of(name)
    return Effect.flatMap(
      this.#options.store.queues,
      (names): Effect.Effect<QueueActor, QueueNotFound | TooManyQueues> =>
        names.includes(name) ? this.of(name) : Effect.fail(new QueueNotFound({ name })),
    )
  }

  /** Starts no further attempt. */
  quiesce(): void {
    this.#quiescent = true
    for (const actor of this.all) actor.quiesce()
  }

  /**
   * Ends them. Attempts under way may still submit jobs of their own; whoever comes after them is refused or interrupted.
   */
  close(graceMs: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.quiesce()
      return this.retire(undefined, graceMs)
    }).pipe(
      Effect.andThen(
        Effect.suspend(() => {
          const last = this.all
          this.#closed = true
          this.#actors.clear()
          return Effect.forEach(last, (actor) => actor.close, { concurrency: "unbounded", discard: true })
        }),
      ),
    )
  }

  /** Ends the attempts of a type (of all, without one) in every queue. */
  retire(type: string | undefined, graceMs: number): Effect.Effect<void> {
    return Effect.suspend(() =>
      Effect.forEach(this.all, (actor) => actor.retire(type, graceMs), {
        concurrency: "unbounded",
        discard: true,
      }),
    )
  }

  #start(name: string): Effect.Effect<QueueActor, TooManyQueues> {
    const known = this.#actors.get(name)
    if (known !== undefined) return Effect.succeed(known)
    if (this.#closed) return Effect.interrupt
    if (this.#actors.size >= QUEUES_MAX) return Effect.fail(new TooManyQueues({ max: QUEUES_MAX }))
    const actor = new QueueActor({ ...this.#options, name })
    if (this.#quiescent) actor.quiesce()
    this.#actors.set(name, actor)
    return Effect.succeed(actor)
  }
}
