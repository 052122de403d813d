/**
 * The command line: `serve`, the migrations, and what `ops/` has for operators. It wires Layers and nothing else.
 */
// Compiles schemas instead of interpreting them: first, so that no schema is used before.
import "effect/schema/SchemaJITCompiler/enable"
import { setFlagsFromString } from "node:v8"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Config as EffectConfig, Console, Effect } from "effect"
import { CliError, Command } from "effect/cli"
import { HttpServer } from "effect/http"
import packageJson from "../package.json" with { type: "json" }
import * as Config from "./Config.ts"
import { exitCode, STOPPED } from "./ops/CommandLine.ts"
import { dbCommand } from "./ops/DbCommands.ts"
import { jobCommand } from "./ops/JobCommands.ts"
import { loadCommand } from "./ops/load/LoadCommand.ts"
import { migrateCommand } from "./ops/MigrateCommands.ts"
import { scrub } from "./telemetry/Redaction.ts"
import * as UncaughtErrors from "./telemetry/UncaughtErrors.ts"

// V8 moves what its statistics say lives long to the old generation at its birth. Objects of a request that are there keep the
// rest of it alive until a full collection: 3.5 of 38 MB survived each collection of the young generation, which took 8 ms
// instead of 0.4, and an answer from the cache a fifth more of the processor (measured, Node 24.21).
setFlagsFromString("--no-allocation-site-pretenuring")

/** After this a stop that hangs is cut short; the journal makes up for it at the next start. */
const STOP_DEADLINE_MS = 15_000

const announce = Effect.gen(function* () {
  const { address } = yield* HttpServer.HttpServer
  const url = HttpServer.formatAddress(address)
  yield* Console.log(`RenderOwl listens on ${url} (documentation: ${url}/docs)`)
})

/** A server is stopped, which is no failure; a command that is stopped has not done what it should. */
let isServing = false

const serve = Command.make(
  "serve",
  {},
  Effect.fn(function* () {
    const settings = yield* Config.load
    isServing = true
    // A fifth of what there is to load, and no other command needs it.
    const { layer } = yield* Effect.promise(() => import("./App.ts"))
    yield* Effect.andThen(announce, UncaughtErrors.first).pipe(Effect.scoped, Effect.provide(layer(settings)))
  }),
).pipe(
  Command.withDescription(
    `Serves RenderOwl over HTTP.\n\nSettings, from the environment:\n${Config.settingsHelp}`,
  ),
)

const renderowl = Command.make("renderowl").pipe(
  Command.withDescription("Durable jobs and video renders behind an HTTP API"),
  Command.withSubcommands([serve, migrateCommand, dbCommand, jobCommand, loadCommand]),
)

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, () => setTimeout(() => process.exit(1), STOP_DEADLINE_MS).unref())
}

/** An error without words of its own has them from what caused it. */
const explain = (error: Error): string =>
  error.message === "" && error.cause instanceof Error ? explain(error.cause) : error.message

/** What stops a start says so in one line; only what nobody foresaw comes with its stack. */
const report = (cause: Cause.Cause<unknown>) => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.void
  const failure = cause.reasons.find(Cause.isFailReason)?.error
  // The command line has already explained its own errors.
  if (CliError.isCliError(failure)) return Effect.void
  const message =
    failure instanceof EffectConfig.ConfigError
      ? `a setting is wrong: ${failure.cause.message}`
      : failure instanceof Error
        ? explain(failure)
        : Cause.pretty(cause)
  return Console.error(`renderowl: ${scrub(message.replaceAll(/\s*\n\s*/g, " "))}`)
}

renderowl.pipe(
  Command.run({ version: packageJson.version }),
  Effect.tapCause(report),
  Effect.provide(NodeServices.layer),
  NodeRuntime.runMain({
    disableErrorReporting: true,
    teardown: (exit, onExit) => onExit(exitCode(exit, isServing ? 0 : STOPPED)),
  }),
)
