/**
 * What node:sqlite throws, and what it means. Turns native errors into Effect's `SqlError` with a reason, and tells
 * apart the result codes the system acts on: a unique violation, a lock, a full disk, a failing or corrupt file.
 * It classifies only; what to do about a failure is decided where it happens.
 */
import { Predicate } from "effect"
import { classifySqliteError, isSqlError, SqlError, UniqueViolation } from "effect/sql/SqlError"

/** Primary result codes (the low byte of an extended code), from https://sqlite.org/rescode.html. */
const RESULT_CODE = { busy: 5, locked: 6, readOnly: 8, ioError: 10, corrupt: 11, full: 13, notADatabase: 26 }

/** Extended codes that all mean that a key exists already: UNIQUE, PRIMARY KEY, and rowid. */
const SQLITE_CONSTRAINT_UNIQUE = 2067
const SQLITE_CONSTRAINT_PRIMARYKEY = 1555
const SQLITE_CONSTRAINT_ROWID = 2579

const UNIQUE_MESSAGE_PREFIX = "UNIQUE constraint failed: "

/**
 * The extended SQLite result code of a native error, or of the `SqlError` made from one; `undefined` when the error
 * did not come from SQLite itself.
 */
export const resultCodeOf = (error: unknown): number | undefined => {
  if (isSqlError(error)) return resultCodeOf(error.reason.cause)
  if (!Predicate.hasProperty(error, "errcode")) return undefined
  return typeof error.errcode === "number" ? error.errcode : undefined
}

const hasPrimaryCode =
  (...codes: ReadonlyArray<number>) =>
  (error: unknown): boolean => {
    const code = resultCodeOf(error)
    return code !== undefined && codes.includes(code & 0xff)
  }

/** A row with this key exists already (UNIQUE index, primary key or rowid). */
export const isUniqueViolation = (error: unknown): boolean => {
  const code = resultCodeOf(error)
  return (
    code === SQLITE_CONSTRAINT_UNIQUE ||
    code === SQLITE_CONSTRAINT_PRIMARYKEY ||
    code === SQLITE_CONSTRAINT_ROWID
  )
}

/** Another connection held the lock for longer than the busy timeout. */
export const isBusy = hasPrimaryCode(RESULT_CODE.busy, RESULT_CODE.locked)

/** The disk, quota or `max_page_count` is full: nothing was written, and it may work again once space is freed. */
export const isDiskFull = hasPrimaryCode(RESULT_CODE.full)

/** The operating system failed a read, write or sync. */
export const isIoError = hasPrimaryCode(RESULT_CODE.ioError)

/** The file is damaged or is not a SQLite database. */
export const isCorrupt = hasPrimaryCode(RESULT_CODE.corrupt, RESULT_CODE.notADatabase)

/** The file or the connection does not allow writing. */
export const isReadOnly = hasPrimaryCode(RESULT_CODE.readOnly)

/**
 * Turns what node:sqlite threw into a `SqlError` that keeps the native error as its cause.
 *
 * Key violations become `UniqueViolation` (Effect's classifier leaves primary keys among the other constraints), locks
 * `LockTimeoutError`, unopenable files `ConnectionError`, other constraints `ConstraintError`; disk full, I/O errors
 * and corruption stay `UnknownError`, told apart by the predicates of this module.
 *
 * @param operation what was being done, for the person reading the error: `"append"`, `"prepare"`
 */
export const toSqlError = (cause: unknown, operation: string): SqlError => {
  const message = `${operation}: ${messageOf(cause)}`
  if (isUniqueViolation(cause)) {
    return new SqlError({
      reason: new UniqueViolation({ cause, message, operation, constraint: constraintOf(cause) }),
    })
  }
  return new SqlError({ reason: classifySqliteError(withErrno(cause), { message, operation }) })
}

const messageOf = (cause: unknown): string =>
  Predicate.hasProperty(cause, "message") && typeof cause.message === "string" ? cause.message : String(cause)

const constraintOf = (cause: unknown): string => {
  const message = messageOf(cause)
  return message.startsWith(UNIQUE_MESSAGE_PREFIX) ? message.slice(UNIQUE_MESSAGE_PREFIX.length) : "unknown"
}

/** node:sqlite keeps the number in `errcode`; Effect's classifier looks for it in `errno`. */
const withErrno = (cause: unknown): unknown => {
  const errno = resultCodeOf(cause)
  if (errno === undefined || !(cause instanceof Error)) return cause
  return Object.defineProperty(cause, "errno", { value: errno, configurable: true })
}
