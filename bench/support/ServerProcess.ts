/**
 * A server in a process of its own, as it would run, for as long as the scope is open.
 */
import { Effect, type Scope } from "effect"
import { spawn } from "node:child_process"

/** Starts a script that prints its address; answers its port. */
export const start = (
  script: string,
  arguments_: ReadonlyArray<string> = [],
  environment: Readonly<Record<string, string>> = {},
): Effect.Effect<number, never, Scope.Scope> =>
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
    return yield* Effect.promise(
      () =>
        new Promise<number>((resolve, reject) => {
          let output = ""
          child.stdout.on("data", (chunk: Buffer) => {
            output += chunk.toString()
            const port = /http:\/\/[^\s:]+:(\d+)/.exec(output)?.[1]
            if (port !== undefined) resolve(Number(port))
          })
          child.once("exit", () => reject(new Error(`${script} ended: ${output}`)))
        }),
    )
  })
