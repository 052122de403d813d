/**
 * RenderOwl as its users run it: `node src/main.ts …` in a process of its own, on a port of its own, seen through its
 * output, its exit and HTTP.
 */
import { Effect, Schema, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { fileURLToPath } from "node:url"
import { Client } from "./Client.ts"

/** The entry point of this repository. */
const MAIN = fileURLToPath(new URL("../../src/main.ts", import.meta.url))

/** The process ended before it served anything; `stderr` is what it said about that. */
export class NotStarted extends Schema.TaggedError<NotStarted>()("NotStarted", {
  code: Schema.NullOr(Schema.Number),
  stdout: Schema.String,
  stderr: Schema.String,
}) {
  override get message() {
    return `exit code ${this.code}: ${this.stdout}${this.stderr}`
  }
}

/** How a process ended, and all that it said. */
export interface Ended {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stdout: string
  readonly stderr: string
}

export interface ProcessOptions {
  readonly dataDir: string
  readonly env?: Readonly<Record<string, string>>
  /** Another copy of `src/main.ts`. */
  readonly main?: string
  /** What runs it: it gets the command line behind its own, and must become what it runs. */
  readonly under?: ReadonlyArray<string>
}

/** A running command, until its end is awaited. */
export class RenderOwlProcess {
  readonly child: ChildProcess
  readonly ended: Promise<Ended>
  stdout = ""
  stderr = ""
  #hasEnded = false
  #onOutput: Array<() => void> = []

  constructor(command: ReadonlyArray<string>, { dataDir, env, main = MAIN, under = [] }: ProcessOptions) {
    const [program, ...args] = [...under, process.execPath, main, ...command]
    this.child = spawn(program!, args, {
      stdio: ["ignore", "pipe", "pipe"],
      env: {
        PATH: process.env["PATH"],
        PORT: "0",
        DATA_DIR: dataDir,
        LOG_LEVEL: "warn",
        VIDEO_ENCODER: "wasm",
        // What tests send without credentials in a second is more than anonymous callers have by default.
        ANONYMOUS_TIER: "enterprise",
        NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"],
        ...env,
      },
    })
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.stdout += text
      this.#tell()
    })
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text
      this.#tell()
    })
    this.ended = new Promise((resolve) => {
      this.child.once("close", (code, signal) => {
        this.#hasEnded = true
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr })
        this.#tell()
      })
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Returns the first match in what is written to stdout; undefined when the process ends without one. */
  async said(pattern: RegExp): Promise<RegExpExecArray | undefined> {
    for (;;) {
      const match = pattern.exec(this.stdout)
      if (match !== null) return match
      if (this.#hasEnded) return undefined
      await new Promise<void>((resolve) => this.#onOutput.push(resolve))
    }
  }

  /** Sends a signal; the effect ends with the process. */
  end(signal: NodeJS.Signals): Effect.Effect<Ended> {
    return Effect.promise(() => {
      this.child.kill(signal)
      return this.ended
    })
  }

  #tell(): void {
    const waiting = this.#onOutput
    this.#onOutput = []
    for (const resolve of waiting) resolve()
  }
}

/** A server that accepts requests. */
export interface Server {
  readonly process: RenderOwlProcess
  readonly url: string
  readonly dataDir: string
  /** Calls it with the admin key. */
  readonly client: Client
}

/** Starts a command; whatever is left of it when the scope closes is killed. */
const launch = (command: ReadonlyArray<string>, options: ProcessOptions) =>
  Effect.acquireRelease(
    Effect.sync(() => new RenderOwlProcess(command, options)),
    (process) => process.end("SIGKILL"),
  )

/** Runs a command to its end. */
export const run = (command: ReadonlyArray<string>, options: ProcessOptions): Effect.Effect<Ended> =>
  launch(command, options).pipe(
    Effect.flatMap(({ ended }) => Effect.promise(() => ended)),
    Effect.scoped,
  )

/** Starts a server and waits until it serves. */
export const start = Effect.fnUntraced(function* (
  options: ProcessOptions,
): Effect.fn.Return<Server, NotStarted, Scope.Scope> {
  const process = yield* launch(["serve"], options)
  const match = yield* Effect.promise(() => process.said(/listens on (\S+)/))
  if (match === undefined) {
    const { code, stderr, stdout } = yield* Effect.promise(() => process.ended)
    return yield* new NotStarted({ code, stdout, stderr })
  }
  const url = match[1]!
  return { process, url, dataDir: options.dataDir, client: new Client(url, adminKey(options.dataDir)) }
})

/** A folder for `DATA_DIR`, removed with the scope. */
export const dataFolder: Effect.Effect<string, never, Scope.Scope> = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "renderowl-"))),
  (folder) => Effect.sync(() => rmSync(folder, { recursive: true, force: true })),
)

/** A server on a fresh `DATA_DIR`, both gone with the scope. */
export const startFresh = (env: Readonly<Record<string, string>> = {}) =>
  Effect.flatMap(dataFolder, (dataDir) => start({ dataDir, env }))

export const adminKey = (dataDir: string): string => readFileSync(join(dataDir, "admin.key"), "utf8").trim()

/** Looks into the database of a running server through a connection of one's own that cannot write. */
export const look = <A>(dataDir: string, read: (database: DatabaseSync) => A): A => {
  const database = new DatabaseSync(join(dataDir, "queue.db"), { readOnly: true })
  try {
    return read(database)
  } finally {
    database.close()
  }
}

/** The position of the last event. */
export const journalHead = (dataDir: string): number =>
  look(
    dataDir,
    (database) => database.prepare("SELECT coalesce(max(position), 0) AS head FROM events").get()!["head"],
  ) as number
