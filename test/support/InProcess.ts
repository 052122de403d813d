/**
 * A command of operators in this process, for what it refuses before it begins: to start a process for each takes most of a
 * second. What it prints goes nowhere.
 */
import { NodeServices } from "@effect/platform-node"
import { ConfigProvider, Console, Effect } from "effect"
import { Command } from "effect/cli"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { exitCode, STOPPED } from "../../src/ops/CommandLine.ts"

/** Should it not refuse after all, it finds neither a database nor a server. */
const NOWHERE = ConfigProvider.fromEnvRecord({ DATA_DIR: join(tmpdir(), "renderowl-nowhere"), PORT: "1" })

/** The exit code that its process would have. */
export const exitCodeOf = <Name extends string, Input, ContextInput, E>(
  command: Command.Command<Name, Input, ContextInput, E, never>,
  flags: ReadonlyArray<string>,
): Effect.Effect<number> =>
  Command.runWith(command, { version: "test", renderErrors: false })(flags).pipe(
    Effect.provideService(Console.Console, { ...globalThis.console, log: () => {} }),
    Effect.provideService(ConfigProvider.ConfigProvider, NOWHERE),
    Effect.provide(NodeServices.layer),
    Effect.exit,
    Effect.map((exit) => exitCode(exit, STOPPED)),
  )
