/**
 * Running a benchmark from the command line: the machine, a table, and with `--json` the figures as one last line. The
 * exit code says nothing about budgets: a busy machine is no failure.
 */
import { Effect, type Scope } from "effect"
import { type Figure, table } from "./Figure.ts"
import { describeMachine } from "./Machine.ts"

/** One question and how it is answered. */
export interface Benchmark<E> {
  readonly question: string
  /** What RenderOwl is measured against, in a word. Default: ceiling. */
  readonly ceiling?: string
  /** `note` prints a line beside the table, such as the settings of the database. */
  readonly run: (note: (line: string) => void) => Effect.Effect<ReadonlyArray<Figure>, E, Scope.Scope>
}

/** Runs a benchmark and prints its figures. */
export const runBenchmark = async <E>(benchmark: Benchmark<E>): Promise<void> => {
  const print = (line: string) => process.stdout.write(`${line}\n`)
  print(`\n${benchmark.question}\n${describeMachine()}`)
  const figures = await Effect.runPromise(Effect.scoped(benchmark.run(print)))
  print(`\n${table(figures, benchmark.ceiling)}`)
  if (process.argv.includes("--json")) print(JSON.stringify(figures))
}
