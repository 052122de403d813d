/**
 * One reader of the pool, seen from the server: a child process with a read-only connection, asked one query at a time.
 *
 * A process and not a worker thread, because node:sqlite cannot interrupt a running statement: `terminate()` waits for
 * the current step, which for an aggregate is the whole query (measured: an endless `count(*)` outlived `terminate()`
 * and kept `process.exit` from ending the program). A process can be killed at any point, and dies alone.
 */
import { Deferred, Effect, type Scope } from "effect"
import { type ChildProcess, fork } from "node:child_process"
import { fileURLToPath } from "node:url"
import { QueryFailed, TooManyRows, WorkerDied } from "./PoolError.ts"
import type { NativeErrorFields, ReaderAnswer, ReaderRequest, ReaderRow } from "./ReaderProtocol.ts"
import { toSqlError } from "./SqliteError.ts"

const ENTRY = fileURLToPath(new URL("./ReaderMain.ts", import.meta.url))

/** How long to wait for the kernel to take a killed reader away; longer only when its disk hangs. */
const KILL_GRACE = "1 second"

/** How long a reader may take to open the database (measured: 0.1 s). */
const START_TIMEOUT = "5 seconds"

type Reply = (answer: Effect.Effect<ReaderAnswer, WorkerDied>) => void

/** A running reader process. */
export class ReaderProcess {
  readonly #child: ChildProcess
  readonly #ended = Deferred.makeUnsafe<void>()
  #death: string | undefined
  #reply: Reply | undefined

  private constructor(filename: string) {
    this.#child = fork(ENTRY, [filename], {
      serialization: "advanced",
      // Only what SQLite's date functions read. Options meant for the server (NODE_OPTIONS) are not for its readers.
      env: process.env["TZ"] === undefined ? {} : { TZ: process.env["TZ"] },
      execArgv: [],
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    })
    this.#child.on("message", (answer: ReaderAnswer) => this.#settle(Effect.succeed(answer)))
    this.#child.on("error", (cause) => this.#die(cause.message))
    this.#child.on("exit", (code, signal) => {
      this.#die(signal === null ? `exit code ${String(code)}` : `signal ${signal}`)
      Deferred.doneUnsafe(this.#ended, Effect.void)
    })
  }

  /** Starts a reader and waits until it has opened the database. It is killed when the scope closes. */
  static readonly start = Effect.fnUntraced(function* (
    filename: string,
  ): Effect.fn.Return<ReaderProcess, WorkerDied | QueryFailed, Scope.Scope> {
    const reader = yield* Effect.acquireRelease(
      Effect.sync(() => new ReaderProcess(filename)),
      (reader) => reader.#end,
    )
    // It announces itself; nothing needs to be asked.
    const answer = yield* Effect.timeoutOrElse(
      reader.#answerTo(() => {}),
      {
        duration: START_TIMEOUT,
        orElse: () => Effect.fail(new WorkerDied({ detail: `not ready within ${START_TIMEOUT}` })),
      },
    )
    if (answer._tag === "Failed") return yield* queryFailed(answer.error, `open ${filename}`)
    return reader
  })

  /** The operating system's id of the process. */
  get pid(): number | undefined {
    return this.#child.pid
  }

  /** False once the process has ended or been killed; it then answers nothing any more. */
  get isAlive(): boolean {
    return this.#death === undefined
  }

  /** Whether a query is running. */
  get isBusy(): boolean {
    return this.#reply !== undefined
  }

  /** Runs one query. Interrupting it kills the process: nothing less stops a statement of node:sqlite. */
  query(
    request: ReaderRequest,
  ): Effect.Effect<ReadonlyArray<ReaderRow>, WorkerDied | QueryFailed | TooManyRows> {
    const answer = this.#answerTo(() =>
      this.#child.send(request, (error) => {
        if (error !== null) this.kill(error.message)
      }),
    )
    return Effect.flatMap(answer, (answer) => outcomeOf(answer, request.rowsMax))
  }

  /** Ends the process now; a query it runs fails with `WorkerDied`. */
  kill(reason: string): void {
    this.#die(reason)
    this.#child.kill("SIGKILL")
  }

  /** Asks in the same turn as it starts to listen, so that no answer can come too early. */
  #answerTo(ask: () => void): Effect.Effect<ReaderAnswer, WorkerDied> {
    return Effect.callback((resume) => {
      if (this.#death !== undefined) return resume(Effect.fail(new WorkerDied({ detail: this.#death })))
      this.#reply = resume
      ask()
      return Effect.sync(() => {
        this.#reply = undefined
        this.kill("interrupted")
      })
    })
  }

  get #end(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.kill("closed")
      return Effect.asVoid(Effect.timeoutOption(Deferred.await(this.#ended), KILL_GRACE))
    })
  }

  #die(detail: string): void {
    this.#death ??= detail
    this.#settle(Effect.fail(new WorkerDied({ detail: this.#death })))
    // A process that never started has nothing to wait for.
    if (this.#child.pid === undefined) Deferred.doneUnsafe(this.#ended, Effect.void)
  }

  #settle(answer: Effect.Effect<ReaderAnswer, WorkerDied>): void {
    const reply = this.#reply
    this.#reply = undefined
    reply?.(answer)
  }
}

/** What an answer means to whoever asked. */
export const outcomeOf = (
  answer: ReaderAnswer,
  rowsMax: number,
): Effect.Effect<ReadonlyArray<ReaderRow>, QueryFailed | TooManyRows> => {
  switch (answer._tag) {
    case "Rows":
      return Effect.succeed(answer.rows)
    case "TooManyRows":
      return Effect.fail(new TooManyRows({ rowsMax }))
    case "Failed":
      return queryFailed(answer.error, "query")
    case "Ready":
      return Effect.die(new Error("A reader announced itself twice"))
  }
}

const queryFailed = (error: NativeErrorFields, operation: string): Effect.Effect<never, QueryFailed> => {
  const { message, ...codes } = error
  return Effect.fail(
    new QueryFailed({ cause: toSqlError(Object.assign(new Error(message), codes), operation) }),
  )
}
