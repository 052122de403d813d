/**
 * Where rate limits keep their counts: in memory, written behind to a file in small batches. So a check never waits for the disk,
 * a restart takes up the counts of a second or two before, and without the file the limits hold all the same.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { letOthersRun } from "../../sqlite/EventLoop.ts"
import { ExpendableFile } from "../../sqlite/ExpendableFile.ts"
import { LimitsFile } from "./LimitsFile.ts"
import { type Bucket, TokenBuckets } from "./TokenBuckets.ts"
import {
  type OrderedViolation,
  type Refused,
  VIOLATION_AGE_MS,
  Violations,
  VIOLATIONS_MAX,
} from "./Violations.ts"

/** Buckets of keys and users: about 10 MB. */
const CALLERS_MAX = 50_000
/** Buckets of network addresses, apart, so that many addresses drive out no keys and users. */
const ADDRESSES_MAX = 50_000
/** Changes wait this long to be written, in milliseconds: a crash forgets as much. */
export const WRITE_INTERVAL_MS = 2_000
/** Rows of one transaction: 3 ms (measured). */
const ROWS_TOGETHER = 500
/** Rows of one interval. What is left waits for the next, and is mostly full by then. */
const ROWS_PER_INTERVAL = 5_000
/** Full buckets and old violations are looked for this often, in milliseconds. */
const SWEEP_INTERVAL_MS = 60_000
/** A file that gave trouble is tried again after this long, in milliseconds. */
export const FILE_RETRY_MS = 30_000

/** Addresses' keys begin with the name of their policy and a space; there is none in the id of a key or user. */
export const addressKey = (policy: string, address: string): string => `${policy} ${address}`
const isAddressKey = (key: string): boolean => key.includes(" ")

export interface LimitsStoreOptions {
  readonly filename: string
  readonly callersMax?: number
  readonly addressesMax?: number
  readonly violationsMax?: number
}

export interface LimitsStoreStats {
  /** Buckets in memory. */
  readonly callers: number
  readonly addresses: number
  /** Buckets that made room for others before they were full. */
  readonly evictions: number
  /** `false`: the file gave trouble and is done without. */
  readonly isFileInUse: boolean
}

export class LimitsStore extends Context.Service<
  LimitsStore,
  {
    /** For Effect's `RateLimiter`. */
    readonly store: RateLimiter.RateLimiterStore["Service"]
    /** What `store.tokenBucket` does, at once. */
    readonly take: TokenBuckets["take"]
    readonly refused: (refused: Refused, now: number) => void
    /** The newest first, of those before a `sequence`. */
    readonly violations: (before?: number) => ReadonlyArray<OrderedViolation>
    readonly stats: () => LimitsStoreStats
  }
>()("renderowl/http/rate-limits/LimitsStore") {
  static readonly layer = (options: LimitsStoreOptions): Layer.Layer<LimitsStore> =>
    Layer.effect(LimitsStore, make(options)).pipe(Layer.provide(RateLimiter.layerStoreMemory))
}

const make = Effect.fnUntraced(function* (options: LimitsStoreOptions) {
  const fork = Effect.runForkWith(yield* Effect.context<never>())
  // What is not a token bucket is in memory alone: nobody here asks for it.
  const inMemory = yield* RateLimiter.RateLimiterStore
  const callers = new TokenBuckets(options.callersMax ?? CALLERS_MAX)
  const addresses = new TokenBuckets(options.addressesMax ?? ADDRESSES_MAX)
  const bucketsOf = (key: string) => (isAddressKey(key) ? addresses : callers)
  const violationsMax = options.violationsMax ?? VIOLATIONS_MAX
  const violations = new Violations(violationsMax)

  let isTroubled = false
  let retryAt = 0
  const { filename } = options
  const file = new ExpendableFile({
    filename,
    title: "the file of rate limits",
    open: () => LimitsFile.open(filename),
    onTrouble: ({ cause, message }) => {
      isTroubled = true
      fork(Effect.logWarning(message, { file: filename }, cause))
    },
  })

  /** After the file was used: if it gave trouble, what it had is lost, and what is in memory is to be written again. */
  const settle = (now: number): void => {
    if (!isTroubled) return
    isTroubled = false
    retryAt = now + (file.isOpen ? 0 : FILE_RETRY_MS)
    callers.markAllChanged()
    addresses.markAllChanged()
    violations.markAllChanged()
  }

  const takeUp = (now: number): void => {
    const most = (options.callersMax ?? CALLERS_MAX) + (options.addressesMax ?? ADDRESSES_MAX)
    for (const bucket of file.use((open) => open.buckets(now, most)) ?? [])
      bucketsOf(bucket.key).restore(bucket)
    violations.restore(file.use((open) => open.violations(now - VIOLATION_AGE_MS, violationsMax)) ?? [])
    settle(now)
  }

  const takeChanged = (now: number): ReadonlyArray<Bucket> => {
    const changed = callers.takeChanged(ROWS_TOGETHER, now)
    return changed.length > 0 ? changed : addresses.takeChanged(ROWS_TOGETHER, now)
  }

  /** Whether the file has buckets that become full and go. */
  let hasFiledBuckets = true
  const write = Effect.fnUntraced(function* (rowsMax: number) {
    const now = yield* Clock.currentTimeMillis
    if (!file.isOpen && (now < retryAt || !file.reopen())) return settle(now)
    const changes = violations.takeChanges()
    file.use((open) => {
      if (hasFiledBuckets) hasFiledBuckets = open.deleteFullBuckets(now)
      if (changes.updated.length + changes.removed.length > 0) open.writeViolations(changes)
    })
    for (let rows = 0; rows < rowsMax; rows += ROWS_TOGETHER) {
      const changed = takeChanged(now)
      if (changed.length === 0) break
      if (rows > 0) yield* letOthersRun
      file.use((open) => open.writeBuckets(changed))
      hasFiledBuckets = true
    }
    settle(now)
  })

  let sweptAt = yield* Clock.currentTimeMillis
  const sweep = Effect.map(Clock.currentTimeMillis, (now) => {
    if (now - sweptAt < SWEEP_INTERVAL_MS) return
    sweptAt = now
    callers.removeFull(now)
    addresses.removeFull(now)
    violations.removeOlderThan(now - VIOLATION_AGE_MS)
  })

  takeUp(sweptAt)
  yield* Effect.addFinalizer(() =>
    Effect.andThen(
      write(Infinity),
      Effect.sync(() => file.close()),
    ),
  )
  yield* Effect.sleep(WRITE_INTERVAL_MS).pipe(
    Effect.andThen(sweep),
    Effect.andThen(write(ROWS_PER_INTERVAL)),
    Effect.forever,
    Effect.forkScoped,
  )

  const take: TokenBuckets["take"] = (taking, now) => bucketsOf(taking.key).take(taking, now)
  return LimitsStore.of({
    take,
    store: RateLimiter.RateLimiterStore.of({
      ...inMemory,
      tokenBucket: ({ refillRate, ...taking }) =>
        Effect.map(Clock.currentTimeMillis, (now) =>
          take({ ...taking, refillMs: Duration.toMillis(refillRate) }, now),
        ),
    }),
    refused: (refused, now) => violations.record(refused, now),
    violations: (before) => violations.list(before),
    stats: () => ({
      callers: callers.size,
      addresses: addresses.size,
      evictions: callers.evictions + addresses.evictions,
      isFileInUse: file.isOpen,
    }),
  })
})
