/**
 * What a reader is asked and what it answers, and how it finds the answer. Shared by both sides of the process
 * boundary and free of Effect, because the reader's start time is mostly the time to load its modules.
 */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite"
import type { SqliteDatabase } from "./SqliteDatabase.ts"

/** One row by column name. */
export type ReaderRow = Record<string, SQLOutputValue>

export interface ReaderRequest {
  readonly sql: string
  readonly params: ReadonlyArray<SQLInputValue>
  readonly rowsMax: number
}

export type ReaderAnswer =
  | { readonly _tag: "Ready" }
  | { readonly _tag: "Rows"; readonly rows: ReadonlyArray<ReaderRow> }
  | { readonly _tag: "TooManyRows" }
  | { readonly _tag: "Failed"; readonly error: NativeErrorFields }

/** The parts of a native error that matter; sending the error itself would lose its result code. */
export interface NativeErrorFields {
  readonly message: string
  readonly code: unknown
  readonly errcode: unknown
  readonly errstr: unknown
}

/** Runs the query, stopping at the first row that is too many. Never throws. */
export const answerRequest = (database: SqliteDatabase, request: ReaderRequest): ReaderAnswer => {
  try {
    const rows: Array<ReaderRow> = []
    for (const row of database.prepare(request.sql).iterate(...request.params)) {
      if (rows.length === request.rowsMax) return { _tag: "TooManyRows" }
      rows.push(row)
    }
    return { _tag: "Rows", rows }
  } catch (cause) {
    return { _tag: "Failed", error: nativeErrorFields(cause) }
  }
}

export const nativeErrorFields = (cause: unknown): NativeErrorFields => {
  const { message, code, errcode, errstr } = (cause ?? {}) as Partial<NativeErrorFields>
  return { message: message ?? String(cause), code, errcode, errstr }
}
