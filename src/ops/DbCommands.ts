/**
 * `db`: everything about the database as a whole; here whether the rows are what the journal says, and making them so.
 */
import { Console, Effect } from "effect"
import { Command } from "effect/cli"
import * as Config from "../Config.ts"
import { eventModel as model } from "../EventModel.ts"
import { archiveCommand } from "./ArchiveCommand.ts"
import { backupCommand, restoreCommand } from "./backup/BackupCommands.ts"
import { cleanupCommand } from "./CleanupCommand.ts"
import { counted, dryRun, json, number, progress } from "./CommandLine.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import { DatabaseFaulty, faultText } from "./Findings.ts"
import { integrityCommand } from "./IntegrityCommand.ts"
import { optimiseCommand } from "./OptimiseCommand.ts"
import { rebuild, type Rebuilt } from "./Rebuild.ts"
import { statsCommand } from "./StatsCommand.ts"
import { isSame } from "./TableDiff.ts"
import { isMendable, type Verification, verify } from "./Verify.ts"

const examine = Effect.gen(function* () {
  const { archivePath, queueDbPath } = yield* Config.load
  const { onProgress } = yield* progress
  return yield* verify({ filename: queueDbPath, archive: archivePath, model, onProgress })
}).pipe(Effect.scoped)

const refusal = (verification: Verification): DatabaseFaulty =>
  DatabaseFaulty.of(verification.database, verification.faults, isMendable(verification))

const verifyCommand = Command.make(
  "verify",
  { json },
  Effect.fn(function* ({ json }) {
    const verification = yield* examine
    yield* Console.log(json ? JSON.stringify(verificationJson(verification)) : verificationText(verification))
    if (verification.faults.length > 0) return yield* refusal(verification)
  }),
).pipe(
  Command.withDescription(
    "Folds the journal and compares every row of every projection with what comes out; reads only, also beside a running server",
  ),
)

const rebuildCommand = Command.make(
  "rebuild",
  {
    json,
    dryRun,
  },
  Effect.fn(function* ({ dryRun, json }) {
    if (dryRun) {
      const verification = yield* examine
      yield* Console.log(json ? JSON.stringify(verificationJson(verification)) : dryRunText(verification))
      const isInTheWay = verification.faults.some(({ check }) => check !== "table" && check !== "snapshots")
      return isInTheWay ? yield* refusal(verification) : undefined
    }
    const { archivePath, queueDbPath } = yield* Config.load
    yield* DatabaseFile.requireFile(queueDbPath)
    const database = yield* DatabaseFile.openOwned(queueDbPath)
    yield* DatabaseFile.requireSchema(database)
    const { close, onProgress } = yield* progress
    const rebuilt = yield* rebuild(database, model, onProgress, archivePath)
    close()
    yield* Console.log(json ? JSON.stringify(rebuiltJson(rebuilt)) : rebuiltText(rebuilt))
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Makes every projection's rows anew from the journal and drops the snapshots; refused while a server runs",
  ),
)

/** Commands about the database as a whole. */
export const dbCommand = Command.make("db").pipe(
  Command.withDescription("Looks at, proves, copies, mends and keeps small the database"),
  Command.withSubcommands([
    statsCommand,
    integrityCommand,
    cleanupCommand,
    optimiseCommand,
    backupCommand,
    restoreCommand,
    verifyCommand,
    rebuildCommand,
    archiveCommand,
  ]),
)

const sizeText = ({ events, snapshots, streams, tables }: Verification): string =>
  [
    `${counted(events, "event")} in ${counted(streams, "stream")}`,
    `${counted(tables.length, "table")}`,
    `${counted(snapshots, "snapshot")}`,
  ].join(", ")

const verificationText = (verification: Verification): string =>
  [
    `${verification.database}: ${sizeText(verification)}, looked through in ${number(verification.durationMs)} ms`,
    ...(verification.faults.length === 0
      ? ["everything is as the journal says"]
      : verification.faults.flatMap(faultText)),
  ].join("\n")

const verificationJson = ({ durationMs, faults, ...rest }: Verification) => ({
  ok: faults.length === 0,
  ...rest,
  duration_ms: durationMs,
  faults,
})

const dryRunText = (verification: Verification): string =>
  [
    ...verification.tables.map((table) => {
      const { changed, extra, missing, rows } = table
      const what = isSame(table)
        ? "the same again"
        : `${number(missing)} to add, ${number(extra)} to remove, ${number(changed)} to correct`
      return `${table.table.padEnd(16)} ${number(rows).padStart(12)} rows, ${what}`
    }),
    `${"snapshots".padEnd(16)} ${number(verification.snapshots).padStart(12)} rows, to remove`,
    ...verification.faults.filter(({ check }) => check !== "table").flatMap(faultText),
    "nothing was changed",
  ].join("\n")

const rebuiltText = ({ durationMs, events, snapshotsDropped, tables }: Rebuilt): string =>
  [
    ...tables.map(
      ({ after, before, table }) =>
        `${table.padEnd(16)} ${number(after).padStart(12)} rows, ${number(before)} before`,
    ),
    `rebuilt from ${counted(events, "event")} in ${number(durationMs)} ms, ${counted(snapshotsDropped, "snapshot")} dropped`,
  ].join("\n")

const rebuiltJson = ({ durationMs, snapshotsDropped, ...rest }: Rebuilt) => ({
  ...rest,
  snapshots_dropped: snapshotsDropped,
  duration_ms: durationMs,
})
