/**
 * An INSERT that takes any number of rows, many of them a statement: a call into SQLite costs about as much as the row
 * itself. It knows no table; whoever has one says how a row becomes values.
 */
import type { SQLInputValue } from "node:sqlite"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"

/**
 * Rows that one statement takes, largest first. More gain nothing (measured, an event a row: 1 → 4.1 µs, 8 → 3.2, 32 →
 * 2.8, 125 → 2.5); the small sizes are for the rest of a batch, which would otherwise be up to 63 statements.
 */
const ROWS_PER_STATEMENT = [64, 16, 4, 1]

/** Writes the values of a row from `at` on, in the order of the columns. */
export type BindRow<Row> = (row: Row, values: Array<SQLInputValue>, at: number) => void

export class MultiRowInsert {
  readonly #columns: number
  readonly #statements: ReadonlyArray<{
    readonly rows: number
    readonly sql: string
    /** Used by every call, so that none has to grow one. */
    readonly values: Array<SQLInputValue>
  }>

  /** `INSERT INTO … VALUES` with as many columns, and a conflict clause if there is one. */
  constructor(options: { readonly into: string; readonly columns: number; readonly onConflict?: string }) {
    const { columns, into } = options
    const row = `(${Array.from({ length: columns }, () => "?").join(",")})`
    this.#columns = columns
    this.#statements = ROWS_PER_STATEMENT.map((rows) => ({
      rows,
      sql: `${into} VALUES ${Array.from({ length: rows }, () => row).join(",")} ${options.onConflict ?? ""}`,
      values: Array.from({ length: rows * columns }, () => null),
    }))
  }

  /** Inserts the rows in their order. Throws node:sqlite's error; then some of them may have been inserted. */
  run<Row>(db: SqliteDatabase, rows: ReadonlyArray<Row>, bind: BindRow<Row>): void {
    let next = 0
    for (const { rows: size, sql, values } of this.#statements) {
      if (rows.length - next < size) continue
      const statement = db.prepare(sql)
      for (; rows.length - next >= size; next += size) {
        for (let i = 0; i < size; i++) bind(rows[next + i]!, values, i * this.#columns)
        statement.run(...values)
      }
      // What was bound may be large and is of no more use.
      values.fill(null)
    }
  }
}
