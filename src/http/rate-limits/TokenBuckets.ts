/**
 * Token buckets by key, in memory and bounded: those used least recently make room. A bucket that is full again is the same as
 * none, so what is worth keeping is what was used within the last minute or so. It also knows which ones changed, for
 * whoever writes them down.
 */

/** One caller's bucket. */
export interface Bucket {
  readonly key: string
  tokens: number
  /** When the refill interval that is running began: milliseconds since 1970, with fractions. */
  refilledAt: number
  /** As of the last use. */
  limit: number
  refillMs: number
}

/** What is taken. */
export interface Taking {
  readonly key: string
  readonly tokens: number
  readonly limit: number
  /** Milliseconds for one token. */
  readonly refillMs: number
  /** Whether more may be taken than there is. */
  readonly allowOverflow: boolean
}

/** When the bucket is as good as none, in milliseconds since 1970. */
export const fullAt = ({ limit, refilledAt, refillMs, tokens }: Bucket): number =>
  refilledAt + Math.ceil(limit - tokens) * refillMs

export class TokenBuckets {
  readonly #capacity: number
  /** The one used last is the last. */
  readonly #buckets = new Map<string, Bucket>()
  #changed = new Set<Bucket>()
  #last: Bucket | undefined
  #evictions = 0

  constructor(capacity: number) {
    this.#capacity = capacity
  }

  get size(): number {
    return this.#buckets.size
  }

  /** Buckets that made room for others. */
  get evictions(): number {
    return this.#evictions
  }

  /**
   * Refills the bucket and takes tokens, if it has as many. Answers how many it would have left, less than 0 when they were
   * refused, and how long the refill interval has been running, in milliseconds.
   */
  take({ allowOverflow, key, limit, refillMs, tokens }: Taking, now: number): readonly [number, number] {
    const bucket = this.#touch(key, limit, now)
    bucket.limit = limit
    bucket.refillMs = refillMs
    // A clock that was put back must not keep anybody waiting for as long.
    if (now < bucket.refilledAt) bucket.refilledAt = now
    const refills = Math.floor((now - bucket.refilledAt) / refillMs)
    bucket.tokens = Math.min(limit, bucket.tokens + refills)
    bucket.refilledAt = bucket.tokens >= limit ? now : bucket.refilledAt + refills * refillMs
    const left = bucket.tokens - tokens
    if (left >= 0 || allowOverflow) bucket.tokens = left
    // A rounding error of the multiplication can put the boundary a hair behind now.
    return [left, Math.max(0, now - bucket.refilledAt)]
  }

  /** Takes over a bucket that was written down, unless there is one. */
  restore(bucket: Bucket): void {
    if (!this.#buckets.has(bucket.key)) this.#add({ ...bucket })
  }

  /**
   * The buckets that changed since the last time, at most `most` of them: those that are full at `now` are forgotten
   * instead.
   */
  takeChanged(most: number, now: number): ReadonlyArray<Bucket> {
    const changed: Array<Bucket> = []
    for (const bucket of this.#changed) {
      if (changed.length >= most) break
      this.#changed.delete(bucket)
      if (fullAt(bucket) > now) changed.push(bucket)
      else this.#remove(bucket)
    }
    return changed
  }

  /** All of them have to be written down again. */
  markAllChanged(): void {
    this.#changed = new Set(this.#buckets.values())
  }

  /** Forgets those that are full. */
  removeFull(now: number): void {
    for (const bucket of this.#buckets.values()) if (fullAt(bucket) <= now) this.#remove(bucket)
  }

  #touch(key: string, limit: number, now: number): Bucket {
    // Most requests come from whom the last one came from, and need no look-up.
    if (this.#last?.key === key) {
      this.#changed.add(this.#last)
      return this.#last
    }
    let bucket = this.#buckets.get(key)
    if (bucket === undefined) {
      bucket = { key, tokens: limit, refilledAt: now, limit, refillMs: 1 }
    } else {
      this.#buckets.delete(key)
    }
    this.#add(bucket)
    this.#changed.add(bucket)
    this.#last = bucket
    return bucket
  }

  #add(bucket: Bucket): void {
    if (this.#buckets.size >= this.#capacity) {
      for (const oldest of this.#buckets.values()) {
        this.#remove(oldest)
        this.#evictions++
        break
      }
    }
    this.#buckets.set(bucket.key, bucket)
  }

  #remove(bucket: Bucket): void {
    this.#buckets.delete(bucket.key)
    this.#changed.delete(bucket)
    if (this.#last === bucket) this.#last = undefined
  }
}
