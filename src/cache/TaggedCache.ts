/**
 * A cache that is never behind: what it keeps carries tags, and whoever changes something says which tags that concerns, in
 * the same turn in which the change becomes visible. From then on nothing that was kept or is being computed under these
 * tags is given to anybody who asks. Behind a small front in memory it is a file, so that it survives a restart; without
 * the file it is a smaller cache, and never an error.
 */
import { Clock, Context, Effect, Layer, Metric } from "effect"
import { type Answer, BEGINNING, type Mark } from "./Answer.ts"
import { type Entry, EntryIndex, type IndexLimits, sizeOf } from "./EntryIndex.ts"
import { FileStore } from "./FileStore.ts"
import { Flights } from "./Flights.ts"
import { letOthersRun } from "../sqlite/EventLoop.ts"

const MEGABYTE = 1_000_000

/** Entries kept at most. */
export const ENTRIES_MAX = 10_000
/** Bytes kept at most, 100 MB; see `sizeOf`. */
export const BYTES_MAX = 100 * MEGABYTE
/** Bytes of bodies in memory. */
export const FRONT_BYTES_MAX = 16 * MEGABYTE
/** A larger answer is not kept: it would drive out too many others. */
const ENTRY_BYTES_MAX = 4 * MEGABYTE
/** Entries wait this long to be written, many in one transaction. */
export const WRITE_INTERVAL_MS = 250
/** More than this does not wait. */
const WAITING_BYTES_MAX = 4 * MEGABYTE
/** A file that gave trouble is tried again after this long. */
export const FILE_RETRY_MS = 30_000
/** Bodies brought into memory between two turns of the event loop, in a warm-up. */
const WARMED_TOGETHER = 32
/** Entries that nobody asks for any more are looked for this often. */
const SWEEP_INTERVAL_MS = 60_000

const requests = (outcome: "hit" | "miss" | "shared") =>
  Metric.counter("renderowl_cache_requests_total", {
    description: "Requests that an answer was looked for in the cache",
    attributes: { outcome },
    incremental: true,
  })
const HITS = requests("hit")
const MISSES = requests("miss")
const SHARED = requests("shared")
const EVICTIONS = Metric.counter("renderowl_cache_evictions_total", {
  description: "Answers that made room for others",
  incremental: true,
})
const INVALIDATIONS = Metric.counter("renderowl_cache_invalidations_total", {
  description: "Answers that a change has made out of date",
  incremental: true,
})
const ENTRIES = Metric.gauge("renderowl_cache_entries", { description: "Answers kept" })
const BYTES = Metric.gauge("renderowl_cache_bytes", { description: "Bytes kept, in memory or in the file" })

/** What is asked for, and what it depends on. */
export interface CacheRequest {
  readonly key: string
  readonly tags: ReadonlyArray<string>
  /** Milliseconds for which it is kept; 0: it is shared by those who ask at the same time, and not kept. */
  readonly ttlMs: number
}

export interface CacheStats {
  readonly entries: number
  readonly bytes: number
  readonly entriesMax: number
  readonly bytesMax: number
  readonly memory: { readonly entries: number; readonly bytes: number }
  readonly hits: number
  readonly misses: number
  /** Of the misses: those that waited for another's computation. */
  readonly shared: number
  readonly evictions: number
  readonly invalidations: number
  /** `false`: the file gave trouble and is done without. */
  readonly isFileInUse: boolean
}

export interface CacheOptions extends Partial<IndexLimits> {
  readonly filename: string
  /** Of the program: what another generation has made is not used. */
  readonly generation: string
}

export class TaggedCache extends Context.Service<
  TaggedCache,
  {
    /** What is kept under the key at this moment (milliseconds since 1970). Counted as a hit. */
    readonly get: (key: string, now: number) => Answer | undefined
    /** Counts a miss: somebody who found nothing goes on to compute it. */
    readonly missed: () => void
    /**
     * Computes a value together with everybody who asks for the key at the same time, and keeps what `answerOf` makes of it;
     * `undefined`: it is not kept. A value that is not `isShareable` is computed by each for themselves.
     */
    readonly share: <A, E, R>(
      request: CacheRequest,
      compute: Effect.Effect<A, E, R>,
      of: {
        readonly answerOf: (value: A) => Answer | undefined
        readonly isShareable: (value: A) => boolean
      },
    ) => Effect.Effect<A, E, R>
    /**
     * What carries one of these tags is out of date: to be called in the turn in which that became visible to readers.
     * `mark` says how far the changes have come. Answers how many entries went.
     */
    readonly invalidate: (tags: Iterable<string>, mark?: Mark) => number
    /** Everything is out of date. */
    readonly clear: (mark: Mark) => void
    /** Adds to what a {@link warmUp} does: to ask for what will be wanted first. */
    readonly onWarmUp: (name: string, hook: Effect.Effect<void, unknown>) => Effect.Effect<void>
    /**
     * Brings the answers that were kept last from the file into memory, and runs the hooks one after another. A hook that fails
     * is logged, and keeps nobody waiting: to be run beside the first requests.
     */
    readonly warmUp: Effect.Effect<void>
    /** All changes up to here have been applied to what is kept. */
    readonly mark: () => Mark
    readonly stats: () => CacheStats
  }
>()("renderowl/cache/TaggedCache") {
  static readonly layer = (options: CacheOptions): Layer.Layer<TaggedCache> =>
    Layer.effect(TaggedCache, make(options))
}

const make = Effect.fnUntraced(function* (options: CacheOptions) {
  const context = yield* Effect.context<never>()
  const fork = Effect.runForkWith(context)
  const limits = {
    entriesMax: options.entriesMax ?? ENTRIES_MAX,
    bytesMax: options.bytesMax ?? BYTES_MAX,
    frontBytesMax: options.frontBytesMax ?? FRONT_BYTES_MAX,
  }
  /** To be written: entries that are only in memory, and keys that are only in the file. */
  const added = new Set<Entry>()
  const removed = new Set<string>()
  let addedBytes = 0
  const counts = { hits: 0, misses: 0, shared: 0, invalidations: 0 }

  const flights = new Flights()
  const index = new EntryIndex(limits, (entry) => {
    if (added.delete(entry)) addedBytes -= entry.bytes
    if (entry.isFiled) removed.add(entry.key)
  })
  let isTroubled = false
  const store = new FileStore({
    filename: options.filename,
    generation: options.generation,
    onTrouble: ({ cause, message }) => {
      isTroubled = true
      fork(Effect.logWarning(message, { file: options.filename }, cause))
    },
  })
  let mark: Mark = BEGINNING
  let writtenMark = mark
  /** Whether the file has what `isFiled` says. */
  let isFileTrusted = false
  let retryAt = 0

  const enlist = (entry: Entry) => {
    added.add(entry)
    addedBytes += entry.bytes
  }

  /** After the file was used: if it gave trouble, what it had is lost, and what is still in memory is to be written again. */
  const settle = (now: number) => {
    if (!isTroubled) return
    isTroubled = false
    isFileTrusted = false
    retryAt = now + (store.isOpen ? 0 : FILE_RETRY_MS)
    index.unfile()
    added.clear()
    addedBytes = 0
    removed.clear()
    for (const entry of index.values()) enlist(entry)
  }

  const takeUp = (now: number): void => {
    const found = store.load()
    settle(now)
    if (found === undefined || !store.isOpen) return
    mark = writtenMark = found.mark
    isFileTrusted = true
    for (const entry of found.entries) index.add({ ...entry, answer: undefined, isFiled: true })
    index.removeExpired(now)
  }

  const write = (now: number): void => {
    if (!isFileTrusted) {
      if (now < retryAt) return
      isTroubled = false
      isFileTrusted = store.startOver(mark)
      settle(now)
      if (!isFileTrusted) return
      writtenMark = mark
    }
    if (added.size === 0 && removed.size === 0 && mark === writtenMark) return
    const filed = [...added]
    const isWritten = store.write({
      removed,
      added: filed.map((entry) => ({ ...entry, answer: entry.answer! })),
      mark,
    })
    settle(now)
    if (!isWritten) return
    writtenMark = mark
    removed.clear()
    added.clear()
    addedBytes = 0
    for (const entry of filed) index.filed(entry)
  }

  /** What only the file has, which is brought into memory; an entry whose file has lost it goes. */
  const fetch = (entry: Entry, now: number): Answer | undefined => {
    const answer = store.read(entry.key)
    settle(now)
    if (answer === undefined) index.remove(entry)
    else index.bringToFront(entry, answer)
    return answer
  }

  const get = (key: string, now: number): Answer | undefined => {
    const entry = index.get(key, now)
    if (entry === undefined) return undefined
    const answer = entry.answer ?? fetch(entry, now)
    if (answer !== undefined) counts.hits++
    return answer
  }

  const keep = ({ key, tags, ttlMs }: CacheRequest, answer: Answer, now: number): void => {
    const bytes = sizeOf(key, tags, answer)
    if (bytes > ENTRY_BYTES_MAX) return
    const entry: Entry = { key, tags, bytes, expiresAt: now + ttlMs, answer, isFiled: false }
    enlist(entry)
    index.add(entry)
    if (addedBytes > WAITING_BYTES_MAX) write(now)
  }

  const share: TaggedCache["Service"]["share"] = (request, compute, { answerOf, isShareable }) =>
    Effect.withFiber((fiber) => {
      // It is as old as what it was made of.
      const startedAt = fiber.getRef(Clock.Clock).currentTimeMillisUnsafe()
      return flights.share({
        key: request.key,
        tags: request.tags,
        compute,
        isShareable,
        onJoin: () => void counts.shared++,
        onCurrent: (value) => {
          if (request.ttlMs <= 0) return
          const answer = answerOf(value)
          if (answer !== undefined) keep(request, answer, startedAt)
        },
      })
    })

  const invalidate = (tags: Iterable<string>, now?: Mark): number => {
    let gone = 0
    for (const tag of tags) {
      flights.outdate(tag)
      gone += index.removeTagged(tag)
    }
    counts.invalidations += gone
    if (now !== undefined) mark = now
    return gone
  }

  const clear = (now: Mark): void => {
    flights.outdateAll()
    counts.invalidations += index.size
    for (const entry of index.values()) index.remove(entry)
    mark = now
  }

  /** The newest entries that memory has room for, the newest last. */
  const wantedInFront = (): ReadonlyArray<Entry> => {
    const wanted: Array<Entry> = []
    let bytes = index.front.bytes
    for (const entry of [...index.values()].toReversed()) {
      if (entry.answer !== undefined) continue
      bytes += entry.bytes
      if (bytes > limits.frontBytesMax) break
      wanted.push(entry)
    }
    return wanted.toReversed()
  }

  const hooks: Array<{ readonly name: string; readonly hook: Effect.Effect<void, unknown> }> = []
  const warmUp = Effect.gen(function* () {
    for (const [i, entry] of wantedInFront().entries()) {
      if (i % WARMED_TOGETHER === WARMED_TOGETHER - 1) yield* letOthersRun
      // It may have gone meanwhile, or be in memory already.
      if (!index.has(entry) || entry.answer !== undefined) continue
      fetch(entry, yield* Clock.currentTimeMillis)
    }
    for (const { hook, name } of hooks)
      yield* Effect.catchCause(hook, (cause) => Effect.logWarning("a warm-up failed", { name }, cause))
  })

  const stats = (): CacheStats => ({
    entries: index.size,
    bytes: index.bytes,
    entriesMax: limits.entriesMax,
    bytesMax: limits.bytesMax,
    memory: index.front,
    ...counts,
    evictions: index.evictions,
    isFileInUse: store.isOpen && isFileTrusted,
  })

  const report = reporter(context)
  let sweepAt = 0
  const tick = Effect.map(Clock.currentTimeMillis, (now) => {
    if (now >= sweepAt) {
      index.removeExpired(now)
      sweepAt = now + SWEEP_INTERVAL_MS
    }
    write(now)
    report(stats())
  })

  takeUp(yield* Clock.currentTimeMillis)
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      tick,
      Effect.sync(() => store.close()),
    ),
  )
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(WRITE_INTERVAL_MS), tick)))
  return TaggedCache.of({
    get,
    missed: () => void counts.misses++,
    share,
    invalidate,
    clear,
    onWarmUp: (name, hook) => Effect.sync(() => void hooks.push({ name, hook })),
    warmUp,
    mark: () => mark,
    stats,
  })
})

/** Brings the metrics up to date now and then: a look-up of each on every hit would cost more than the hit. */
const reporter = (context: Context.Context<never>) => {
  let reported = { hits: 0, misses: 0, shared: 0, evictions: 0, invalidations: 0 }
  return (stats: CacheStats): void => {
    HITS.updateUnsafe(stats.hits - reported.hits, context)
    MISSES.updateUnsafe(stats.misses - reported.misses, context)
    SHARED.updateUnsafe(stats.shared - reported.shared, context)
    EVICTIONS.updateUnsafe(stats.evictions - reported.evictions, context)
    INVALIDATIONS.updateUnsafe(stats.invalidations - reported.invalidations, context)
    ENTRIES.updateUnsafe(stats.entries, context)
    BYTES.updateUnsafe(stats.bytes, context)
    reported = stats
  }
}
