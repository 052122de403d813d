/**
 * What a handler logs, on its way to the journal: kept with the job, a few lines an event, at once when nothing was logged
 * for a while and otherwise at most once a second. It never makes the handler wait, and it is bounded: a handler that logs
 * without end fills neither the memory nor the journal.
 */
import { Cause, Effect, Fiber, Inspectable, Logger } from "effect"
import type { Json } from "effect/Schema"
import type { LogLine } from "./JobEvents.ts"

/** Lines of one attempt that are kept. */
export const LINES_MAX = 1_000
/** Characters of a line that are kept. */
const MESSAGE_CHARACTERS_MAX = 2_000
/** Lines reach the journal at most this often, and when the attempt ends. */
const INTERVAL_MS = 1_000

const LEVELS: Readonly<Record<string, LogLine["level"]>> = {
  Trace: "trace",
  Debug: "debug",
  Info: "info",
  Warn: "warn",
  Error: "error",
  Fatal: "fatal",
}

export class AttemptLog {
  readonly #write: (log: { readonly lines: ReadonlyArray<LogLine>; readonly dropped?: number }) => void
  readonly #fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
  #lines: Array<LogLine> = []
  #kept = 0
  #dropped = 0
  #writtenAt = Number.NEGATIVE_INFINITY
  #later: Fiber.Fiber<void> | undefined

  constructor(
    write: (log: { readonly lines: ReadonlyArray<LogLine>; readonly dropped?: number }) => void,
    fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>,
  ) {
    this.#write = write
    this.#fork = fork
  }

  /** Takes a line in. Data that has no JSON is left out. */
  add(at: number, level: LogLine["level"], message: string, data?: Json): void {
    if (this.#kept >= LINES_MAX) {
      this.#dropped++
      return
    }
    this.#kept++
    const text = message.slice(0, MESSAGE_CHARACTERS_MAX)
    this.#lines.push({ at, level, message: text, ...(data === undefined ? {} : { data }) })
    if (at - this.#writtenAt >= INTERVAL_MS) {
      this.#writtenAt = at
      this.flush()
    } else
      this.#later ??= this.#fork(
        Effect.andThen(
          Effect.sleep(INTERVAL_MS),
          Effect.sync(() => {
            this.#later = undefined
            this.flush()
          }),
        ),
      )
  }

  /** Hands over what is here. */
  flush(): void {
    if (this.#lines.length === 0 && this.#dropped === 0) return
    const lines = this.#lines
    this.#lines = []
    this.#write({ lines, ...(this.#dropped === 0 ? {} : { dropped: this.#dropped }) })
  }

  /** The attempt ends: what is here goes before its end. */
  close(): void {
    this.#later?.interruptUnsafe()
    this.#later = undefined
    this.flush()
  }

  /** Takes in what a handler logs with `Effect.log` and its like. */
  readonly logger: Logger.Logger<unknown, void> = Logger.make(({ cause, date, logLevel, message }) => {
    const parts = Array.isArray(message) ? message : [message]
    const text = parts.map((part) => (typeof part === "string" ? part : Inspectable.toStringUnknown(part, 0)))
    if (cause.reasons.length > 0) text.push(Cause.pretty(cause))
    this.add(date.getTime(), LEVELS[logLevel] ?? "info", text.join(" "))
  })
}
