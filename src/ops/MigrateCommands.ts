/**
 * `migrate`, `migrate status` and `migrate rollback`: the schema of the database, forwards and back.
 */
import { Effect, FileSystem } from "effect"
import { Command, Flag } from "effect/cli"
import * as Config from "../Config.ts"
import type { Migration } from "../sqlite/Migration.ts"
import { Migrations, type MigrationRun, type MigrationStatus } from "../sqlite/Migrations.ts"
import { IN_MEMORY } from "../sqlite/SqliteDatabase.ts"
import { dryRun, json, print } from "./CommandLine.ts"
import * as DatabaseFile from "./DatabaseFile.ts"

const load = Migrations.load(Migrations.defaultFolder)

/** The database to migrate, opened for this alone: refused while a server owns it. */
const owned = Effect.flatMap(Config.load, ({ queueDbPath }) => DatabaseFile.openOwned(queueDbPath))

/** The database as it is; where there is none yet, everything is pending, as in an empty one. */
const readable = Effect.gen(function* () {
  const { queueDbPath } = yield* Config.load
  const exists = yield* (yield* FileSystem.FileSystem).exists(queueDbPath)
  return yield* DatabaseFile.open(
    exists ? { filename: queueDbPath, readOnly: true } : { filename: IN_MEMORY },
  )
})

const apply = Command.make(
  "migrate",
  { dryRun, json },
  Effect.fn(function* ({ dryRun, json }) {
    if (dryRun) {
      const pending = (yield* Migrations.pending(yield* readable, yield* load)).map(named)
      const words = () => pending.map(({ file }) => `would apply ${file}`)
      return yield* print(json, { dryRun, applied: pending }, () =>
        [...words(), "nothing was changed"].join("\n"),
      )
    }
    const applied = yield* Migrations.run(yield* owned, yield* load)
    yield* print(json, { dryRun, applied }, () =>
      linesOr(
        "nothing to apply",
        applied.map(({ durationMs, file }) => `applied ${file} in ${durationMs.toFixed(1)} ms`),
      ),
    )
  }, Effect.scoped),
)

const status = Command.make(
  "status",
  { json },
  Effect.fn(function* ({ json }) {
    const migrations = (yield* Migrations.status(yield* readable, yield* load)).map(statusOf)
    yield* print(json, { migrations }, () =>
      migrations
        .map(({ appliedAt, file, state }) => `${state.padEnd(8)} ${file.padEnd(32)} ${appliedAt ?? ""}`)
        .join("\n"),
    )
  }, Effect.scoped),
).pipe(Command.withDescription("Shows every migration and whether it is applied"))

const statusOf = ({ appliedAt, durationMs, file, id, state }: MigrationStatus) => ({
  id,
  file,
  state,
  appliedAt: appliedAt === undefined ? null : new Date(appliedAt).toISOString(),
  durationMs: durationMs ?? null,
})

const rollback = Command.make(
  "rollback",
  {
    steps: Flag.Int("steps").pipe(
      Flag.withDescription("How many migrations to undo, newest first"),
      Flag.filter(
        (steps) => steps >= 1,
        () => "must be at least 1",
      ),
      Flag.withDefault(1),
    ),
    dryRun,
    json,
  },
  Effect.fn(function* ({ dryRun, json, steps }) {
    const migrations = yield* load
    if (dryRun) {
      const undone = (yield* Migrations.undoable(yield* readable, migrations, steps)).map(named)
      const words = () => undone.map(({ file }) => `would undo ${file}`)
      return yield* print(json, { dryRun, undone }, () => [...words(), "nothing was changed"].join("\n"))
    }
    const undone: ReadonlyArray<MigrationRun> = yield* Migrations.rollback(yield* owned, migrations, steps)
    yield* print(json, { dryRun, undone }, () =>
      linesOr(
        "nothing to undo",
        undone.map(({ file }) => `undone ${file}`),
      ),
    )
  }, Effect.scoped),
).pipe(Command.withDescription("Undoes the newest migrations"))

const named = ({ file, id }: Migration) => ({ id, file })

const linesOr = (nothing: string, lines: ReadonlyArray<string>): string =>
  lines.length === 0 ? nothing : lines.join("\n")

export const migrateCommand = apply.pipe(
  Command.withDescription("Brings the database's schema up to date"),
  Command.withSubcommands([status, rollback]),
)
