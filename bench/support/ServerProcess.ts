/**
 * A server in a process of its own, as it would run, for as long as the scope is open.
 */
import { Effect, type Scope } from "effect"
import { type ChildProcess, spawn } from "node:child_process"
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs"
import { join } from "node:path"
import { benchFolder } from "./BenchFolder.ts"

const NANOSECONDS_PER_MICROSECOND = 1_000

/** A server that runs. */
export interface ServerProcess {
  readonly port: number
  /** Microseconds of the processor that all its threads have used so far; `undefined` where there is no `/proc` to tell. */
  readonly processorUs: (() => number) | undefined
}

/** Linux counts it per thread, in nanoseconds: the first number of `schedstat`. */
const processorOf = (pid: number): ServerProcess["processorUs"] => {
  const tasks = `/proc/${pid}/task`
  if (!existsSync(`${tasks}/${pid}/schedstat`)) return undefined
  return () => {
    let nanoseconds = 0
    for (const task of readdirSync(tasks))
      nanoseconds += Number(readFileSync(`${tasks}/${task}/schedstat`, "utf8").split(" ", 1)[0])
    return nanoseconds / NANOSECONDS_PER_MICROSECOND
  }
}

/** One that a signal has ended has no exit code. */
const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

/** How often a server that starts is looked at. */
const LOOK_MS = 20

/**
 * Starts a script that prints its address. What it prints goes to a file: a log that the load had to read would slow the load, and
 * count as what it costs to write it.
 */
export const start = (
  script: string,
  arguments_: ReadonlyArray<string> = [],
  environment: Readonly<Record<string, string>> = {},
): Effect.Effect<ServerProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const output = join(yield* benchFolder, "output")
    const child = yield* Effect.acquireRelease(
      Effect.sync(() => {
        const file = openSync(output, "w")
        const child = spawn(process.execPath, [script, ...arguments_], {
          env: { ...process.env, ...environment },
          stdio: ["ignore", file, "inherit"],
        })
        closeSync(file)
        return child
      }),
      (child) =>
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              if (hasEnded(child)) return resolve()
              child.once("exit", () => resolve())
              child.kill("SIGTERM")
            }),
        ),
    )
    const portOf = (): number | undefined => {
      const printed = readFileSync(output, "utf8")
      const port = /http:\/\/[^\s:]+:(\d+)/.exec(printed)?.[1]
      if (port === undefined && hasEnded(child)) throw new Error(`${script} ended: ${printed}`)
      return port === undefined ? undefined : Number(port)
    }
    let port = portOf()
    while (port === undefined) {
      yield* Effect.sleep(LOOK_MS)
      port = portOf()
    }
    return { port, processorUs: processorOf(child.pid!) }
  })
