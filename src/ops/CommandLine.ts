/**
 * What the commands of operators have in common: the flags that mean the same everywhere, progress on standard error, the
 * result on standard output as words or as one JSON object, and what the exit code says: 0 all is well, 1 something was
 * found or failed, 2 the command was not understood.
 */
import { Cause, Console, Effect, type Exit, Exit as Exits, Runtime, type Scope } from "effect"
import { CliError, Flag } from "effect/cli"
import { type OnProgress, showProgress } from "./Progress.ts"

/** The exit code for a command line that cannot be meant. An error says so with `[Runtime.errorExitCode]`. */
export const USAGE = 2

const KIBIBYTE = 1024
const BYTE_UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB"] as const

export const json = Flag.Boolean("json").pipe(
  Flag.withDefault(false),
  Flag.withDescription("Print one JSON object"),
)

export const dryRun = Flag.Boolean("dry-run").pipe(
  Flag.withDefault(false),
  Flag.withDescription("Only say what would change"),
)

/** Shows progress until the scope closes. */
export const progress: Effect.Effect<
  { readonly onProgress: OnProgress; readonly close: () => void },
  never,
  Scope.Scope
> = Effect.acquireRelease(
  Effect.sync(() => showProgress(process.stderr)),
  (shown) => Effect.sync(() => shown.close()),
)

/** Prints a result for programs or for people. */
export const print = (asJson: boolean, result: object, words: () => string): Effect.Effect<void> =>
  Console.log(asJson ? JSON.stringify(snakeCased(result)) : words())

/** With keys as the API has them. What is a value stays as it is. */
const snakeCased = (value: unknown): unknown => {
  if (Array.isArray(value)) return value.map(snakeCased)
  if (typeof value !== "object" || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, each]) => [
      key.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
      snakeCased(each),
    ]),
  )
}

/** The exit code of a command that was stopped before its end, as shells have it for SIGINT. */
export const STOPPED = 130

/** The exit code of the process for how its program ended; `stopped` is the one for a stop that was asked for. */
export const exitCode = (exit: Exit.Exit<unknown, unknown>, stopped: number): number => {
  if (Exits.isSuccess(exit)) return 0
  if (Cause.hasInterruptsOnly(exit.cause)) return stopped
  const error = Cause.squash(exit.cause)
  if (CliError.isCliError(error)) return error._tag === "ShowHelp" && error.errors.length === 0 ? 0 : USAGE
  return Runtime.getErrorExitCode(error)
}

export const number = (value: number): string => value.toLocaleString("en")

export const counted = (count: number, what: string): string =>
  `${number(count)} ${what}${count === 1 ? "" : "s"}`

/** `1.5 MiB`: three digits that count. */
export const bytes = (value: number): string => {
  let unit = 0
  let left = value
  while (left >= KIBIBYTE && unit < BYTE_UNITS.length - 1) {
    left /= KIBIBYTE
    unit++
  }
  return `${unit === 0 ? number(left) : left.toPrecision(left < 1000 ? 3 : 4)} ${BYTE_UNITS[unit]}`
}

/** A table without lines: the first column to the left, the others to the right. */
export const columns = (rows: ReadonlyArray<ReadonlyArray<string>>): ReadonlyArray<string> => {
  const widths = rows.reduce<Array<number>>((widest, row) => {
    row.forEach((cell, i) => (widest[i] = Math.max(widest[i] ?? 0, cell.length)))
    return widest
  }, [])
  return rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd(),
  )
}
