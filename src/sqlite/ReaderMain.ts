/**
 * The program of a reader process: opens the database given as its argument read-only, answers one query after the
 * other, and ends when its parent does. Started by `ReaderProcess`, never imported.
 */
import { constants, setPriority } from "node:os"
import { SqliteDatabase } from "./SqliteDatabase.ts"
import { answerRequest, nativeErrorFields, type ReaderAnswer, type ReaderRequest } from "./ReaderProtocol.ts"

const MEBIBYTE = 1024 * 1024

/** Less than a main connection has: there may be ten readers, and they read mostly through the memory map. */
const READER_PAGE_CACHE_BYTES = 16 * MEBIBYTE

const send = (answer: ReaderAnswer, sent: (error: Error | null) => void): void => {
  process.send?.(answer, undefined, undefined, sent)
}

const exitIfUnsent = (error: Error | null): void => {
  if (error !== null) process.exit(1)
}

const serve = (filename: string): void => {
  const database = SqliteDatabase.open({
    filename,
    readOnly: true,
    pageCacheBytes: READER_PAGE_CACHE_BYTES,
  })
  process.on("message", (request: ReaderRequest) => send(answerRequest(database, request), exitIfUnsent))
  send({ _tag: "Ready" }, exitIfUnsent)
}

// Ctrl-C reaches every process of the terminal; the parent decides when its readers end, after it has drained.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => {})
process.on("disconnect", () => process.exit(0))

// Scans yield to the parent, which answers requests, when both want the same core.
setPriority(constants.priority.PRIORITY_BELOW_NORMAL)

try {
  serve(process.argv[2] ?? "")
} catch (cause) {
  send({ _tag: "Failed", error: nativeErrorFields(cause) }, () => process.exit(1))
}
