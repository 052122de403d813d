/**
 * What the database did and how long it took: by kind of operation since the start, by statement where it is told which, and the slow
 * ones of late. Statements come without their parameters, and there is room for a bounded number of them.
 */
import { LatencyHistogram } from "./LatencyHistogram.ts"
import { type DatabaseOperation, SLOW_QUERY_MS } from "./Observer.ts"

/** Statements with a place of their own; later ones are counted by kind alone. */
export const STATEMENTS_MAX = 200
/** Slow operations that are kept, the newest. */
export const SLOW_MAX = 100

export interface OperationReport {
  readonly operation: DatabaseOperation["name"]
  readonly count: number
  readonly failures: number
  readonly times: LatencyHistogram
}

export interface StatementReport {
  readonly sql: string
  readonly count: number
  readonly failures: number
  /** That it has answered in all. */
  readonly rows: number
  readonly totalMs: number
  readonly maxMs: number
}

export interface SlowOperation {
  readonly operation: DatabaseOperation["name"]
  readonly sql: string | undefined
  /** Milliseconds since 1970. */
  readonly startedAt: number
  readonly durationMs: number
}

type Counted<Report> = { -readonly [Name in keyof Report]: Report[Name] }

export class QueryTimes {
  readonly #operations = new Map<string, Counted<OperationReport>>()
  readonly #statements = new Map<string, Counted<StatementReport>>()
  readonly #slow: Array<SlowOperation> = []

  record({ durationMs, name: operation, ok, rows, sql, startedAt }: DatabaseOperation): void {
    let kind = this.#operations.get(operation)
    if (kind === undefined) {
      kind = { operation, count: 0, failures: 0, times: new LatencyHistogram() }
      this.#operations.set(operation, kind)
    }
    kind.count++
    kind.times.record(durationMs)
    if (!ok) kind.failures++
    if (sql !== undefined) this.#recordStatement(sql, durationMs, ok, rows)
    if (durationMs < SLOW_QUERY_MS) return
    if (this.#slow.length === SLOW_MAX) this.#slow.shift()
    this.#slow.push({ operation, sql, startedAt, durationMs })
  }

  get operations(): ReadonlyArray<OperationReport> {
    return [...this.#operations.values()]
  }

  /** Those that took the most time together first. */
  get statements(): ReadonlyArray<StatementReport> {
    return [...this.#statements.values()].sort((one, other) => other.totalMs - one.totalMs)
  }

  /** The newest first. */
  get slow(): ReadonlyArray<SlowOperation> {
    return this.#slow.toReversed()
  }

  #recordStatement(sql: string, durationMs: number, ok: boolean, rows = 0): void {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      if (this.#statements.size >= STATEMENTS_MAX) return
      statement = { sql, count: 0, failures: 0, rows: 0, totalMs: 0, maxMs: 0 }
      this.#statements.set(sql, statement)
    }
    statement.count++
    statement.rows += rows
    statement.totalMs += durationMs
    statement.maxMs = Math.max(statement.maxMs, durationMs)
    if (!ok) statement.failures++
  }
}
