/**
 * One life of `LoadProcess.ts`, as the test that watches it sees it: all that it told, and how it ended. It may be killed
 * on what it tells, and run under a command of the test's.
 */
import { Effect } from "effect"
import { spawn } from "node:child_process"
import { createInterface } from "node:readline"
import type { Readable } from "node:stream"
import { fileURLToPath } from "node:url"
import type { Synchronous } from "../../src/sqlite/SqliteDatabase.ts"
import type { Mode, Told } from "./LoadProtocol.ts"

const PROGRAM = fileURLToPath(new URL("./LoadProcess.ts", import.meta.url))

export interface Life {
  readonly told: ReadonlyArray<Told>
  /** Null when it was killed. */
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
  readonly stderr: string
}

export interface LifeOptions {
  readonly folder: string
  readonly seed: string
  readonly mode: Mode
  /** Default: `FULL`. */
  readonly synchronous?: Synchronous
  /** What runs the program: it gets the command line behind its own, and must become what it runs. */
  readonly under?: ReadonlyArray<string>
  /** Milliseconds after this line at which to kill it. */
  readonly killAfter?: (line: Told) => number | undefined
}

/** Starts it, and answers when it has ended. */
export const live = ({
  folder,
  killAfter = () => undefined,
  mode,
  seed,
  synchronous = "FULL",
  under = [],
}: LifeOptions): Effect.Effect<Life> =>
  Effect.callback((resume) => {
    const [command, ...args] = [...under, process.execPath, PROGRAM, folder, seed, mode, synchronous]
    const child = spawn(command!, args, {
      stdio: ["ignore", "ignore", "pipe", "pipe"],
      // Without the cache when files are traced: its own are none of the test's.
      env: {
        PATH: process.env["PATH"],
        ...(under.length === 0 ? { NODE_COMPILE_CACHE: process.env["NODE_COMPILE_CACHE"] } : {}),
      },
    })
    const told: Array<Told> = []
    let stderr = ""
    child.stderr!.setEncoding("utf8").on("data", (text: string) => (stderr += text))
    const kill = () => child.kill("SIGKILL")
    createInterface(child.stdio[3] as Readable).on("line", (line) => {
      const one = JSON.parse(line) as Told
      told.push(one)
      const delay = killAfter(one)
      if (delay === 0) kill()
      else if (delay !== undefined) setTimeout(kill, delay)
    })
    child.once("close", (code, signal) => resume(Effect.succeed({ told, code, signal, stderr })))
    return Effect.sync(() => void kill())
  })
