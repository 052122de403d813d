/**
 * Where log lines go: gathered, written a few at a time, and never waited for. What its reader does not take in time is
 * counted and dropped, and a reader that has gone is nobody's loss: neither stops the server.
 */
import { Context, Effect, Layer } from "effect"
import { fstatSync, writeSync } from "node:fs"

/** Lines wait at most this long, so that many of them share one write. Those that warn are written within the same turn. */
const GATHER_MS = 50
/** Characters that are written without waiting any longer. */
const GATHERED_CHARACTERS_MAX = 32 * 1024
/** Characters that may wait for a slow reader; what comes beyond is dropped. */
const WAITING_CHARACTERS_MAX = 1024 * 1024
/** How long the stop waits for a slow reader. */
const LAST_WORDS_MS = 1_000

/** Takes text; says once when it may have more, and with an error when it took nothing. */
export interface LogTarget {
  readonly write: (text: string, done: (error?: Error | null) => void) => void
  /** Writes what is left while the process exits, as far as that needs no waiting. */
  readonly writeNow: (text: string) => void
}

export interface LogSinkStats {
  readonly lines: number
  /** Lines that nobody will see. */
  readonly dropped: number
}

export class LogSink {
  readonly #target: LogTarget
  /** How a number of lost lines is said. */
  readonly #lost: (lines: number) => string
  #waiting = ""
  #waitingLines = 0
  #isWriting = false
  #timer: NodeJS.Timeout | undefined
  #isUrgent = false
  #lines = 0
  #dropped = 0
  /** Dropped since the last time that this was said. */
  #unsaid = 0

  constructor(target: LogTarget, lost: (lines: number) => string = (lines) => `${lines} log lines lost\n`) {
    this.#target = target
    this.#lost = lost
  }

  get stats(): LogSinkStats {
    return { lines: this.#lines, dropped: this.#dropped }
  }

  /** Takes a line, which ends with its line break. `urgent`: it is not to be lost if the process dies a moment later. */
  write(line: string, urgent = false): void {
    this.#lines++
    if (this.#waiting.length + line.length > WAITING_CHARACTERS_MAX) {
      this.#dropped++
      this.#unsaid++
      return
    }
    this.#waiting += line
    this.#waitingLines++
    if (this.#isWriting) return
    if (this.#waiting.length >= GATHERED_CHARACTERS_MAX) this.#flush()
    else if (urgent) this.#flushSoon()
    else this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS).unref()
  }

  /** Ends when everything was written, or its time is up. */
  get settled(): Effect.Effect<void> {
    return Effect.promise(
      () =>
        new Promise<void>((resolve) => {
          const deadline = setTimeout(resolve, LAST_WORDS_MS)
          const look = () => {
            if (!this.#isWriting && this.#waiting === "") {
              clearTimeout(deadline)
              resolve()
              return
            }
            this.#flush()
            setTimeout(look, 5).unref()
          }
          look()
        }),
    )
  }

  /** The process exits: what can be written without waiting is. */
  writeNow(): void {
    const text = this.#take()
    if (text !== "") this.#target.writeNow(text)
  }

  /** Once for all lines of the code that runs. */
  #flushSoon(): void {
    if (this.#isUrgent) return
    this.#isUrgent = true
    process.nextTick(() => {
      this.#isUrgent = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isWriting) return
    const lines = this.#waitingLines
    const text = this.#take()
    if (text === "") return
    this.#isWriting = true
    this.#target.write(text, (error) => {
      this.#isWriting = false
      if (error !== undefined && error !== null) {
        this.#dropped += lines
        this.#unsaid += lines
      }
      if (this.#waiting !== "") this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS).unref()
    })
  }

  #take(): string {
    clearTimeout(this.#timer)
    this.#timer = undefined
    let text = this.#waiting
    if (text === "") return ""
    if (this.#unsaid > 0) {
      text += this.#lost(this.#unsaid)
      this.#unsaid = 0
    }
    this.#waiting = ""
    this.#waitingLines = 0
    return text
  }
}

/**
 * Standard output. A file is written with a call that can fail and be tried again, since a full disk gets room again but a
 * stream that has failed once is gone for good. Everything else goes through Node's stream, which does not block on a pipe
 * whose reader is slow.
 */
export const standardOutput = (stream: typeof process.stdout = process.stdout): LogTarget => {
  // Without a listener an error of the stream would end the process; `write` hears of it as well.
  stream.on("error", () => {})
  const isFile = !stream.isTTY && isRegularFile(stream.fd)
  if (!isFile) {
    // What a pipe has room for goes out within the call.
    return {
      write: (text, done) => void stream.write(text, done),
      writeNow: (text) => void stream.write(text),
    }
  }
  /** A write that failed halfway has left half a line. */
  let isBroken = false
  const writeAll = (text: string) => {
    let rest: Uint8Array = Buffer.from(isBroken ? `\n${text}` : text)
    isBroken = true
    while (rest.length > 0) rest = rest.subarray(writeSync(stream.fd, rest))
    isBroken = false
  }
  return {
    write: (text, done) => {
      try {
        writeAll(text)
        done()
      } catch (error) {
        done(error as Error)
      }
    },
    writeNow: (text) => {
      try {
        writeAll(text)
      } catch {
        // Nobody is left to be told.
      }
    },
  }
}

const isRegularFile = (fd: number): boolean => {
  try {
    return fstatSync(fd).isFile()
  } catch {
    return false
  }
}

/** The sink of a program, emptied when its scope closes. */
export class Logs extends Context.Service<Logs, LogSink>()("renderowl/telemetry/Logs") {
  static readonly layer = (make: () => LogSink): Layer.Layer<Logs> =>
    Layer.effect(
      Logs,
      Effect.acquireRelease(
        Effect.sync(() => {
          const sink = make()
          const atExit = () => sink.writeNow()
          process.once("exit", atExit)
          return { sink, atExit }
        }),
        ({ atExit, sink }) =>
          Effect.andThen(
            sink.settled,
            Effect.sync(() => void process.off("exit", atExit)),
          ),
      ).pipe(Effect.map(({ sink }) => sink)),
    )
}
