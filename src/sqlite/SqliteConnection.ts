/**
 * Effect's `Connection` contract over one `SqliteDatabase`: what `SqlClient` calls to run compiled SQL. Every statement
 * runs synchronously within its turn, so only a transaction or a stream keeps the connection busy across turns. Values
 * SQLite has no type for are refused instead of being stored as NULL.
 */
import { Effect, Option, Stream } from "effect"
import { SafeIntegers } from "effect/sql/SqlClient"
import type { Connection } from "effect/sql/SqlConnection"
import type { SqlError } from "effect/sql/SqlError"
import type { SQLInputValue, SQLOutputValue, StatementSync } from "node:sqlite"
import type { SqliteDatabase } from "./SqliteDatabase.ts"
import { toSqlError } from "./SqliteError.ts"

/** Rows a stream reads in one turn before other work gets the thread. */
const STREAM_ROWS_PER_TURN = 128

type Row = Record<string, SQLOutputValue>
type TransformRows = Parameters<Connection["execute"]>[2]

/** A `Connection` that keeps its database at hand, so that the client can ask whether a transaction is open. */
export interface SqliteConnection extends Connection {
  readonly database: SqliteDatabase
}

/** Wraps a database in the `Connection` contract. It does not own the database and never closes it. */
export const makeSqliteConnection = (database: SqliteDatabase): SqliteConnection => {
  const prepare = (sql: string) => database.prepare(sql)
  const prepareUncached = (sql: string) => database.prepareUncached(sql)
  return {
    database,
    execute: (sql, params, transform) => run("execute", prepare, sql, selectRows(params, transform)),
    executeRaw: (sql, params) => run("executeRaw", prepare, sql, rowsOrChanges(params)),
    executeValues: (sql, params) => run("executeValues", prepare, sql, selectValues(params)),
    executeValuesUnprepared: (sql, params) =>
      run("executeValuesUnprepared", prepareUncached, sql, selectValues(params)),
    executeUnprepared: (sql, params, transform) =>
      run("executeUnprepared", prepareUncached, sql, selectRows(params, transform)),
    executeStream: (sql, params, transform) => streamRows(database, sql, params, transform),
  }
}

/** Runs one statement to its end within this turn. */
const run = <A>(
  operation: string,
  prepare: (sql: string) => StatementSync,
  sql: string,
  use: (statement: StatementSync) => A,
): Effect.Effect<A, SqlError> =>
  Effect.withFiber((fiber) => {
    const safeIntegers = fiber.getRef(SafeIntegers)
    return attempt(operation, () => {
      const statement = prepare(sql)
      if (!safeIntegers) return use(statement)
      // Cached statements are shared, so the setting is undone before anyone else sees it.
      statement.setReadBigInts(true)
      try {
        return use(statement)
      } finally {
        statement.setReadBigInts(false)
      }
    })
  })

const attempt = <A>(operation: string, body: () => A): Effect.Effect<A, SqlError> =>
  Effect.try({ try: body, catch: (cause) => toSqlError(cause, operation) })

const selectRows =
  (params: ReadonlyArray<unknown>, transform: TransformRows) => (statement: StatementSync) => {
    const rows = statement.all(...params.map(toInputValue))
    return transform === undefined ? rows : transform(rows)
  }

const rowsOrChanges = (params: ReadonlyArray<unknown>) => (statement: StatementSync) => {
  const values = params.map(toInputValue)
  return statement.columns().length > 0 ? statement.all(...values) : statement.run(...values)
}

const selectValues =
  (params: ReadonlyArray<unknown>) =>
  (statement: StatementSync): ReadonlyArray<ReadonlyArray<unknown>> => {
    statement.setReturnArrays(true)
    try {
      // The types of node:sqlite do not know `setReturnArrays`.
      return statement.all(...params.map(toInputValue)) as unknown as ReadonlyArray<ReadonlyArray<unknown>>
    } finally {
      statement.setReturnArrays(false)
    }
  }

const streamRows = (
  database: SqliteDatabase,
  sql: string,
  params: ReadonlyArray<unknown>,
  transform: TransformRows,
): Stream.Stream<Row, SqlError> =>
  Stream.unwrap(
    Effect.gen(function* () {
      const safeIntegers = yield* SafeIntegers
      const rows = yield* attempt("executeStream", () => {
        // A statement of its own: the stream stays open while the same connection may run the same SQL again.
        const statement = database.prepareUncached(sql)
        statement.setReadBigInts(safeIntegers)
        return statement.iterate(...params.map(toInputValue))
      })
      const pages = Stream.paginate(undefined, () =>
        attempt("executeStream", () => nextPage(rows, transform)),
      )
      return Stream.ensuring(
        pages,
        Effect.sync(() => rows.return?.()),
      )
    }),
  )

const nextPage = (
  rows: Iterator<Row>,
  transform: TransformRows,
): readonly [ReadonlyArray<Row>, Option.Option<undefined>] => {
  const page: Array<Row> = []
  while (page.length < STREAM_ROWS_PER_TURN) {
    const next = rows.next()
    if (next.done === true) return [transform === undefined ? page : transform(page), Option.none()]
    page.push(next.value)
  }
  return [transform === undefined ? page : transform(page), Option.some(undefined)]
}

/**
 * What node:sqlite binds for a parameter. A plain object in first place would be taken for named parameters, and bind
 * NULL without a word, so everything that is no SQLite value is refused.
 */
const toInputValue = (value: unknown): SQLInputValue => {
  switch (typeof value) {
    case "string":
    case "number":
    case "bigint":
      return value
    case "boolean":
      return value ? 1 : 0
    case "undefined":
      return null
  }
  if (value === null) return null
  if (ArrayBuffer.isView(value)) return value as NodeJS.ArrayBufferView
  throw new TypeError(`A SQLite parameter is text, a number, bytes or null, not ${describe(value)}`)
}

const describe = (value: unknown): string =>
  typeof value === "object" && value !== null
    ? `an object (${value.constructor?.name ?? "no class"})`
    : `a ${typeof value}`
