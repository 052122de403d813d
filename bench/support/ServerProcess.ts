/**
 * A server in a process of its own, as it would run, for as long as the scope is open.
 */
import { Effect, type Scope } from "effect"
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"

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

/** Starts a script that prints its address; what it prints later is read and forgotten. */
export const start = (
  script: string,
  arguments_: ReadonlyArray<string> = [],
  environment: Readonly<Record<string, string>> = {},
): Effect.Effect<ServerProcess, never, Scope.Scope> =>
  Effect.gen(function* () {
    const child = yield* Effect.acquireRelease(
      Effect.sync(() =>
        spawn(process.execPath, [script, ...arguments_], {
          env: { ...process.env, ...environment },
          stdio: ["ignore", "pipe", "inherit"],
        }),
      ),
      (child) =>
        Effect.promise(
          () =>
            new Promise<void>((resolve) => {
              child.once("exit", () => resolve())
              child.kill("SIGTERM")
            }),
        ),
    )
    const port = yield* Effect.promise(
      () =>
        new Promise<number>((resolve, reject) => {
          let output = ""
          const onOutput = (chunk: Buffer) => {
            output += chunk.toString()
            const port = /http:\/\/[^\s:]+:(\d+)/.exec(output)?.[1]
            if (port === undefined) return
            child.stdout.off("data", onOutput).resume()
            resolve(Number(port))
          }
          child.stdout.on("data", onOutput)
          child.once("exit", () => reject(new Error(`${script} ended: ${output}`)))
        }),
    )
    return { port, processorUs: processorOf(child.pid!) }
  })
