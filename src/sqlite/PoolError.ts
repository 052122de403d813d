/**
 * Why the reader pool did not answer a query. Every reason leaves the pool usable; the reader that was involved has
 * been replaced where it had to be.
 */
import { Schema } from "effect"
import { SqlError } from "effect/sql/SqlError"

/** No reader became free in time: all are busy, or they do not start. */
export class AcquireTimeout extends Schema.TaggedError<AcquireTimeout>()("AcquireTimeout", {
  timeoutMs: Schema.Finite,
}) {
  override get message(): string {
    return `no reader became free within ${this.timeoutMs} ms`
  }
}

/** Too many callers wait already, so this one was not queued. */
export class PoolSaturated extends Schema.TaggedError<PoolSaturated>()("PoolSaturated", {
  waiting: Schema.Int,
}) {
  override get message(): string {
    return `${this.waiting} callers are waiting for a reader already`
  }
}

/** The query ran longer than allowed; its reader was killed, so it costs nothing any more. */
export class DeadlineExceeded extends Schema.TaggedError<DeadlineExceeded>()("DeadlineExceeded", {
  deadlineMs: Schema.Finite,
}) {
  override get message(): string {
    return `the query did not finish within ${this.deadlineMs} ms`
  }
}

/** The reader ended while it worked or while it started. */
export class WorkerDied extends Schema.TaggedError<WorkerDied>()("WorkerDied", {
  detail: Schema.String,
}) {
  override get message(): string {
    return `the reader ended: ${this.detail}`
  }
}

/** SQLite refused the query. */
export class QueryFailed extends Schema.TaggedError<QueryFailed>()("QueryFailed", {
  cause: SqlError,
}) {
  override get message(): string {
    return this.cause.message
  }
}

/** The query has more rows than one answer may hold; ask for a page of them. */
export class TooManyRows extends Schema.TaggedError<TooManyRows>()("TooManyRows", {
  rowsMax: Schema.Int,
}) {
  override get message(): string {
    return `the query has more than ${this.rowsMax} rows`
  }
}

/** A query on the reader pool failed; `reason` says how. */
export class PoolError extends Schema.TaggedError<PoolError>()("PoolError", {
  reason: Schema.Union([
    AcquireTimeout,
    PoolSaturated,
    DeadlineExceeded,
    WorkerDied,
    QueryFailed,
    TooManyRows,
  ]),
}) {
  override readonly cause = this.reason

  override get message(): string {
    return this.reason.message
  }
}
