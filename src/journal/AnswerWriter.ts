/**
 * Keeps the answers to keyed requests: before anybody is answered, and as part of the next append if one comes within the same
 * turn, so that under load they cost no transaction of their own. Whatever happens to them is of no consequence for that append.
 */
import { Effect, type Semaphore } from "effect"
import type { KeyedRequest } from "../security/KeyedRequest.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"

interface Answered {
  readonly request: KeyedRequest
  readonly answer: Uint8Array | null
  readonly done: () => void
}

export class AnswerWriter {
  readonly #db: SqliteDatabase
  readonly #write: (db: SqliteDatabase, request: KeyedRequest, answer: Uint8Array | null) => void
  readonly #settle: Effect.Effect<void>
  /** Not written yet. */
  #waiting: Array<Answered> = []
  /** Written by an append whose end is not known here yet. */
  #riding: Array<Answered> = []
  #failure: unknown
  #scheduled = false

  constructor(options: {
    readonly db: SqliteDatabase
    readonly writeLock: Semaphore.Semaphore
    /** Throws node:sqlite's error. */
    readonly write: (db: SqliteDatabase, request: KeyedRequest, answer: Uint8Array | null) => void
  }) {
    this.#db = options.db
    this.#write = options.write
    // Whoever has the lock knows that no append is under way: those that rode have arrived.
    this.#settle = options.writeLock
      .withPermit(Effect.suspend(() => this.#settleAll()))
      .pipe(Effect.uninterruptible)
  }

  /** Ends when the answer is durable, or could not be kept. */
  keep(request: KeyedRequest, answer: Uint8Array | null): Effect.Effect<void> {
    return Effect.callback((resume) => {
      this.#waiting.push({ request, answer, done: () => resume(Effect.void) })
      if (this.#scheduled) return
      this.#scheduled = true
      // A turn later than an append that is asked for now, which then takes it along.
      setImmediate(() => setImmediate(() => Effect.runFork(this.#settle)))
    })
  }

  /** Writes what waits, within the transaction of an append. */
  ride(db: SqliteDatabase): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const answered of waiting) {
      this.#riding.push(answered)
      this.#tryWrite(db, answered)
    }
  }

  /** The transaction of an append was rolled back, in part at least: what rode with it may not have been kept. */
  rolledBack(): void {
    this.#waiting = [...this.#riding, ...this.#waiting]
    this.#riding = []
  }

  #tryWrite(db: SqliteDatabase, { answer, request }: Answered): void {
    try {
      this.#write(db, request, answer)
    } catch (cause) {
      // Some errors end the whole transaction, and with it the append.
      if (!db.isTransaction) throw cause
      this.#failure = cause
    }
  }

  #settleAll(): Effect.Effect<void> {
    this.#scheduled = false
    const settled = this.#riding
    this.#riding = []
    if (this.#waiting.length > 0) {
      const waiting = this.#waiting
      this.#waiting = []
      try {
        this.#db.transaction(() => {
          for (const answered of waiting) this.#tryWrite(this.#db, answered)
        })
      } catch (cause) {
        this.#failure = cause
      }
      for (const answered of waiting) settled.push(answered)
    }
    for (const { done } of settled) done()
    const failure = this.#failure
    this.#failure = undefined
    // What the requests did is safe, and their callers were told: they would be carried out again for who asks again.
    return failure === undefined
      ? Effect.void
      : Effect.logWarning("answers to requests with keys were not kept", failure)
  }
}
