/**
 * The prepared statements of one connection, kept by their SQL text. Holds a bounded number and drops the one unused
 * for longest, so that generated SQL cannot grow memory. It is not shared between connections: a prepared statement
 * belongs to the connection that prepared it.
 */
import type { StatementSync } from "node:sqlite"

/** Prepared statements kept per connection. */
export const STATEMENT_CACHE_CAPACITY = 100

/** Counts since the connection was opened, and the number of statements held now. */
export interface StatementCacheStats {
  readonly size: number
  readonly capacity: number
  readonly hits: number
  readonly misses: number
  readonly evictions: number
}

/**
 * Least-recently-used cache from SQL text to prepared statement. A hit is O(1): a `Map` iterates in insertion order,
 * so re-inserting on a hit keeps the least recently used entry first.
 */
export class StatementCache {
  readonly capacity: number
  readonly #prepare: (sql: string) => StatementSync
  readonly #statements = new Map<string, StatementSync>()
  #hits = 0
  #misses = 0
  #evictions = 0

  /**
   * @param prepare compiles SQL on the owning connection; whatever it throws passes through `get` and is not cached
   * @param capacity number of statements held, at least 1
   */
  constructor(prepare: (sql: string) => StatementSync, capacity: number = STATEMENT_CACHE_CAPACITY) {
    if (!Number.isSafeInteger(capacity) || capacity < 1) {
      throw new RangeError(`A statement cache holds at least one statement, not ${capacity}`)
    }
    this.#prepare = prepare
    this.capacity = capacity
  }

  /**
   * The prepared statement for `sql`, compiled on first use. The same object is handed out every time, so a caller
   * must be done with its rows before anyone asks for the same text again.
   */
  get(sql: string): StatementSync {
    const held = this.#statements.get(sql)
    if (held !== undefined) {
      this.#hits++
      this.#statements.delete(sql)
      this.#statements.set(sql, held)
      return held
    }
    this.#misses++
    const statement = this.#prepare(sql)
    if (this.#statements.size >= this.capacity) this.#evictOldest()
    this.#statements.set(sql, statement)
    return statement
  }

  /** A snapshot of the counters, for metrics. */
  get stats(): StatementCacheStats {
    return {
      size: this.#statements.size,
      capacity: this.capacity,
      hits: this.#hits,
      misses: this.#misses,
      evictions: this.#evictions,
    }
  }

  /** Forgets every statement; SQLite frees them when the connection closes or they are collected. */
  clear(): void {
    this.#statements.clear()
  }

  #evictOldest(): void {
    const oldest = this.#statements.keys().next()
    if (oldest.done === true) return
    this.#statements.delete(oldest.value)
    this.#evictions++
  }
}
