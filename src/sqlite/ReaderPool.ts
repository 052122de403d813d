/**
 * Where queries go that scan: lists over large tables, analytics, integrity checks. They run in a few supervised reader
 * processes with read-only connections, so that none of them can hold up the event loop, and one that takes too long
 * or dies costs its caller a typed error and nobody else anything. Point reads are faster on `SqliteClient.reader`.
 */
import { Context, Duration, Effect, Layer, Pool, Scope } from "effect"
import type { SQLInputValue } from "node:sqlite"
import * as DatabaseReport from "../telemetry/DatabaseReport.ts"
import { CurrentObserver } from "../telemetry/Observer.ts"
import {
  AcquireTimeout,
  DeadlineExceeded,
  PoolError,
  PoolSaturated,
  type QueryFailed,
  type WorkerDied,
} from "./PoolError.ts"
import { outcomeOf, ReaderProcess } from "./ReaderProcess.ts"
import { answerRequest, type ReaderRow } from "./ReaderProtocol.ts"
import { SqliteClient } from "./SqliteClient.ts"
import { IN_MEMORY, type SqliteDatabase } from "./SqliteDatabase.ts"

/** Readers kept once the pool has been used. */
const READERS_MIN = 2

/** Readers at most. */
const READERS_MAX = 10

/** How long a caller waits for a free reader. */
const ACQUIRE_TIMEOUT: Duration.Input = "5 seconds"

/** Readers above the minimum are closed when unused for this long; looked at once per period. */
const IDLE_TIMEOUT: Duration.Input = "5 minutes"

/** How long a query may run unless it says otherwise. */
const QUERY_DEADLINE: Duration.Input = "30 seconds"

/** Rows in one answer unless the query says otherwise: the server has to read them in one turn. */
const ROWS_MAX = 10_000

/** Callers that may wait for a reader. */
const WAITING_MAX = 256

/** The limits of a pool. */
export interface ReaderPoolOptions {
  readonly min?: number | undefined
  readonly max?: number | undefined
  readonly acquireTimeout?: Duration.Input | undefined
  readonly idleTimeout?: Duration.Input | undefined
  readonly deadline?: Duration.Input | undefined
  readonly waitingMax?: number | undefined
}

/** What one query may use. */
interface ReaderQueryOptions {
  /** Default: `QUERY_DEADLINE`. Waiting for a reader does not count. */
  readonly deadline?: Duration.Input | undefined
  /** Default: `ROWS_MAX`. */
  readonly rowsMax?: number | undefined
}

/** The pool right now: reader processes alive, those running a query, callers waiting for one. */
export interface ReaderPoolStats {
  readonly size: number
  readonly busy: number
  readonly waiting: number
  readonly min: number
  readonly max: number
}

type Query = (
  sql: string,
  params?: ReadonlyArray<SQLInputValue>,
  options?: ReaderQueryOptions,
) => Effect.Effect<ReadonlyArray<ReaderRow>, PoolError>

/**
 * Runs scanning queries away from the event loop.
 *
 * No process is started before the first query. A `:memory:` database cannot be seen from another process: its queries
 * run on the main thread, where deadlines cannot be enforced.
 */
export class ReaderPool extends Context.Service<
  ReaderPool,
  {
    /** The rows of a read-only query, in order. Interrupting the caller stops the query. */
    readonly query: Query
    readonly stats: Effect.Effect<ReaderPoolStats>
  }
>()("renderowl/sqlite/ReaderPool") {
  /** A pool over the database of the `SqliteClient`, closed with its scope; queries still running then fail. */
  static layer(options: ReaderPoolOptions = {}): Layer.Layer<ReaderPool, never, SqliteClient> {
    return Layer.effect(
      ReaderPool,
      Effect.gen(function* () {
        const { filename, reader } = yield* SqliteClient
        return filename === IN_MEMORY ? onMainThread(reader) : yield* inProcesses(filename, options)
      }),
    )
  }
}

const inProcesses = Effect.fnUntraced(function* (filename: string, options: ReaderPoolOptions) {
  const { min = READERS_MIN, max = READERS_MAX, waitingMax = WAITING_MAX } = options
  const acquireTimeout = options.acquireTimeout ?? ACQUIRE_TIMEOUT
  const observer = yield* CurrentObserver
  const readers = new Set<ReaderProcess>()
  let waiting = 0

  const scope = yield* Effect.scope
  const lazyPool = yield* Effect.cached(
    makePool(filename, readers, { min, max, timeToLive: options.idleTimeout ?? IDLE_TIMEOUT }).pipe(
      Scope.provide(scope),
      Effect.uninterruptible,
    ),
  )
  const enterQueue = Effect.suspend(() => {
    if (waiting >= waitingMax) return Effect.fail(new PoolSaturated({ waiting }))
    waiting++
    return Effect.void
  })
  const leaveQueue = Effect.sync(() => void waiting--)
  const acquire = (pool: ReaderProcesses) =>
    Effect.acquireUseRelease(
      enterQueue,
      () =>
        Effect.timeoutOrElse(acquireAlive(pool), {
          duration: acquireTimeout,
          orElse: () => Effect.fail(new AcquireTimeout({ timeoutMs: Duration.toMillis(acquireTimeout) })),
        }),
      () => leaveQueue,
    )
  const query: Query = Effect.fnUntraced(
    function* (sql, params = [], { deadline = options.deadline ?? QUERY_DEADLINE, rowsMax = ROWS_MAX } = {}) {
      const pool = yield* lazyPool
      const reader = yield* acquire(pool)
      return yield* DatabaseReport.scan(observer, sql, reader.query({ sql, params, rowsMax })).pipe(
        Effect.timeoutOrElse({
          duration: deadline,
          orElse: () => Effect.fail(new DeadlineExceeded({ deadlineMs: Duration.toMillis(deadline) })),
        }),
        Effect.ensuring(Effect.suspend(() => (reader.isAlive ? Effect.void : Pool.invalidate(pool, reader)))),
      )
    },
    Effect.scoped,
    Effect.mapError((reason) => new PoolError({ reason })),
  )
  const stats = Effect.sync(() => {
    const alive = Array.from(readers).filter((reader) => reader.isAlive)
    return { size: alive.length, busy: alive.filter((reader) => reader.isBusy).length, waiting, min, max }
  })
  return ReaderPool.of({ query, stats })
})

type ReaderProcesses = Pool.Pool<ReaderProcess, WorkerDied | QueryFailed>

const makePool = (
  filename: string,
  readers: Set<ReaderProcess>,
  limits: { readonly min: number; readonly max: number; readonly timeToLive: Duration.Input },
): Effect.Effect<ReaderProcesses, never, Scope.Scope> => {
  const start = Effect.gen(function* () {
    const reader = yield* ReaderProcess.start(filename)
    readers.add(reader)
    yield* Effect.addFinalizer(() => Effect.sync(() => readers.delete(reader)))
    return reader
  })
  // The pool's own finalizer waits for every borrower; killing the readers first sends the borrowers home.
  const killAll = Effect.sync(() => readers.forEach((reader) => reader.kill("the pool was closed")))
  return Effect.tap(Pool.makeWithTTL({ acquire: start, ...limits }), () => Effect.addFinalizer(() => killAll))
}

/** A reader that died while idle is found here and replaced; each turn removes one, so this ends. */
const acquireAlive = (
  pool: ReaderProcesses,
): Effect.Effect<ReaderProcess, WorkerDied | QueryFailed, Scope.Scope> =>
  Effect.flatMap(Pool.get(pool), (reader) =>
    reader.isAlive
      ? Effect.succeed(reader)
      : Effect.andThen(Pool.invalidate(pool, reader), acquireAlive(pool)),
  )

const onMainThread = (reader: SqliteDatabase) =>
  ReaderPool.of({
    query: (sql, params = [], { rowsMax = ROWS_MAX } = {}) =>
      Effect.mapError(
        Effect.suspend(() => outcomeOf(answerRequest(reader, { sql, params, rowsMax }), rowsMax)),
        (reason) => new PoolError({ reason }),
      ),
    stats: Effect.succeed({ size: 0, busy: 0, waiting: 0, min: 0, max: 0 }),
  })
