/**
 * A bounded mailbox that is drained in batches. Whoever offers to a full one is told so at once; nothing is dropped and
 * nothing waits in hiding. One batch is handled at a time, by a fiber that exists only while there is work.
 */
import { Effect, Latch, Schema } from "effect"

/** Messages a mailbox holds before it refuses more. */
export const MAILBOX_CAPACITY = 10_000
/** Messages handled in one batch, and so in one append, at most. */
const MAX_BATCH = 1_024

/** The receiver has more work waiting than it may hold: try again in a moment. */
export class MailboxFull extends Schema.TaggedError<MailboxFull>()("MailboxFull", {
  actor: Schema.String,
  capacity: Schema.Number,
}) {}

/** Messages on their way to one receiver. */
export class Mailbox<Message> {
  readonly actor: string
  readonly capacity: number
  readonly #drain: Effect.Effect<void>
  readonly #fork: (effect: Effect.Effect<void>) => void
  #messages: Array<Message> = []
  #draining = false
  #closed = false
  /** Open while nothing waits and no batch is being handled. */
  readonly #idle = Latch.makeUnsafe(true)

  /**
   * `handle` must not fail: it answers every message of its batch, whatever happens. `fork` runs the draining fiber
   * under the supervision of the owner.
   */
  constructor(options: {
    readonly actor: string
    readonly capacity?: number | undefined
    readonly handle: (batch: ReadonlyArray<Message>) => Effect.Effect<void>
    readonly fork: (effect: Effect.Effect<void>) => void
  }) {
    this.actor = options.actor
    this.capacity = options.capacity ?? MAILBOX_CAPACITY
    this.#fork = options.fork
    this.#drain = Effect.whileLoop({
      while: () => this.#messages.length > 0,
      // Everyone who is ready to send does so before a batch is taken: one append for all of them.
      body: () => Effect.flatMap(Effect.yieldNow, () => options.handle(this.#takeBatch())),
      step: () => {},
    }).pipe(
      Effect.ensuring(
        Effect.sync(() => {
          this.#draining = false
          if (this.#messages.length > 0) this.#start()
          else this.#idle.openUnsafe()
        }),
      ),
    )
  }

  /** Messages waiting. */
  get size(): number {
    return this.#messages.length
  }

  /** Whether nothing waits and no batch is being handled. */
  get isIdle(): boolean {
    return !this.#draining && this.#messages.length === 0
  }

  /** Refuses every further message as if it were full; ends when those that were taken in have been handled. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#closed = true
      return this.#idle.await
    })
  }

  /** Takes a message in, or answers false when the mailbox is full. */
  offer(message: Message): boolean {
    if (this.#closed || this.#messages.length >= this.capacity) return false
    this.#messages.push(message)
    if (!this.#draining) this.#start()
    return true
  }

  get full(): MailboxFull {
    return new MailboxFull({ actor: this.actor, capacity: this.capacity })
  }

  #start(): void {
    this.#draining = true
    this.#idle.closeUnsafe()
    this.#fork(this.#drain)
  }

  #takeBatch(): ReadonlyArray<Message> {
    if (this.#messages.length > MAX_BATCH) return this.#messages.splice(0, MAX_BATCH)
    const batch = this.#messages
    this.#messages = []
    return batch
  }
}
