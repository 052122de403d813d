/**
 * The command line: `serve`, the migrations, and what `ops/` has for operators. It wires Layers and nothing else.
 */
// Compiles schemas instead of interpreting them: first, so that no schema is used before.
import "effect/schema/SchemaJITCompiler/enable"
import { setFlagsFromString } from "node:v8"
import * as NodeRuntime from "@effect/platform-node/NodeRuntime"
import * as NodeServices from "@effect/platform-node/NodeServices"
import { Cause, Config as EffectConfig, Console, Effect, Exit, FileSystem } from "effect"
import { CliError, Command, Flag } from "effect/cli"
import { HttpServer } from "effect/http"
import packageJson from "../package.json" with { type: "json" }
import * as App from "./App.ts"
import * as Config from "./Config.ts"
import * as DatabaseFile from "./ops/DatabaseFile.ts"
import { dbCommand } from "./ops/DbCommands.ts"
import { jobCommand } from "./ops/JobCommands.ts"
import { Migrations } from "./sqlite/Migrations.ts"
import { scrub } from "./telemetry/Redaction.ts"
import * as UncaughtErrors from "./telemetry/UncaughtErrors.ts"
import { IN_MEMORY } from "./sqlite/SqliteDatabase.ts"

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

const serve = Command.make(
  "serve",
  {},
  Effect.fn(function* () {
    const settings = yield* Config.load
    yield* Effect.andThen(announce, UncaughtErrors.first).pipe(
      Effect.scoped,
      Effect.provide(App.layer(settings)),
    )
  }),
).pipe(
  Command.withDescription(
    `Serves RenderOwl over HTTP.\n\nSettings, from the environment:\n${Config.settingsHelp}`,
  ),
)

/** The database to migrate, opened for this alone: refused while a server owns it. */
const owned = Effect.flatMap(Config.load, ({ queueDbPath }) => DatabaseFile.openOwned(queueDbPath))

const apply = Command.make(
  "migrate",
  {},
  Effect.fn(function* () {
    const runs = yield* Migrations.run(yield* owned, yield* Migrations.load(Migrations.defaultFolder))
    for (const { durationMs, file } of runs)
      yield* Console.log(`applied ${file} in ${durationMs.toFixed(1)} ms`)
    if (runs.length === 0) yield* Console.log("nothing to apply")
  }, Effect.scoped),
)

const status = Command.make(
  "status",
  {},
  Effect.fn(function* () {
    const { queueDbPath } = yield* Config.load
    const files = yield* FileSystem.FileSystem
    // Where there is no database yet, everything is pending, as in an empty one.
    const exists = yield* files.exists(queueDbPath)
    const database = yield* DatabaseFile.open(
      exists ? { filename: queueDbPath, readOnly: true } : { filename: IN_MEMORY },
    )
    for (const { appliedAt, file, state } of yield* Migrations.status(
      database,
      yield* Migrations.load(Migrations.defaultFolder),
    )) {
      const when = appliedAt === undefined ? "" : new Date(appliedAt).toISOString()
      yield* Console.log(`${state.padEnd(8)} ${file.padEnd(32)} ${when}`)
    }
  }, Effect.scoped),
).pipe(Command.withDescription("Shows every migration and whether it is applied"))

const rollback = Command.make(
  "rollback",
  {
    steps: Flag.Int("steps").pipe(
      Flag.withDescription("How many migrations to undo, newest first"),
      Flag.withDefault(1),
    ),
  },
  Effect.fn(function* ({ steps }) {
    const migrations = yield* Migrations.load(Migrations.defaultFolder)
    const runs = yield* Migrations.rollback(yield* owned, migrations, steps)
    for (const { file } of runs) yield* Console.log(`undone ${file}`)
    if (runs.length === 0) yield* Console.log("nothing to undo")
  }, Effect.scoped),
).pipe(Command.withDescription("Undoes the newest migrations"))

const migrate = apply.pipe(
  Command.withDescription("Brings the database's schema up to date"),
  Command.withSubcommands([status, rollback]),
)

const renderowl = Command.make("renderowl").pipe(
  Command.withDescription("Durable jobs and video renders behind an HTTP API"),
  Command.withSubcommands([serve, migrate, dbCommand, jobCommand]),
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
    // A stop that was asked for is not a failure.
    teardown: (exit, onExit) => onExit(Exit.isSuccess(exit) || Cause.hasInterruptsOnly(exit.cause) ? 0 : 1),
  }),
)
