/**
 * `db backup` and `db restore`.
 */
import { Clock, Effect, Option } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { join } from "node:path"
import * as Config from "../../Config.ts"
import { eventModel as model } from "../../EventModel.ts"
import { bytes, counted, dryRun, json, number, print, progress } from "../CommandLine.ts"
import * as DatabaseFile from "../DatabaseFile.ts"
import { diskOf } from "../../telemetry/DiskSpace.ts"
import { type BackupTaken, neededBytes, takeBackup } from "./Backup.ts"
import type { Manifest } from "./Manifest.ts"
import { type Restored, restoreBackup } from "./Restore.ts"

/** Names of folders: `20260131T120000Z`. */
const stampOf = (millis: number): string => new Date(millis).toISOString().replaceAll(/[-:]|\.\d+/g, "")

export const backupCommand = Command.make(
  "backup",
  {
    to: Flag.String("to").pipe(
      Flag.withDescription("The folder to make (default: one named by the time in DATA_DIR/backups)"),
      Flag.optional,
    ),
    unproven: Flag.Boolean("unproven").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Copy without folding the journal, for a database that is known to be wrong"),
    ),
    dryRun,
    json,
  },
  Effect.fn(function* ({ dryRun, json, to, unproven }) {
    const { archivePath: archive, dataDir, queueDbPath: filename } = yield* Config.load
    const now = yield* Clock.currentTimeMillis
    const folder = Option.getOrElse(to, () => join(dataDir, "backups", stampOf(now)))
    if (dryRun) {
      yield* DatabaseFile.requireFile(filename)
      const needed = neededBytes(filename, archive)
      const { freeBytes } = yield* diskOf(folder)
      return yield* print(json, { dryRun, folder, neededBytes: needed, freeBytes }, () =>
        [
          `would copy to ${folder}; about ${bytes(needed)} are needed, ${bytes(freeBytes)} are free`,
          "nothing was written",
        ].join("\n"),
      )
    }
    const { close, onProgress } = yield* progress
    const taken = yield* takeBackup({ filename, archive, folder, model, unproven, onProgress })
    close()
    yield* print(json, { dryRun, ...taken }, () => takenText(taken))
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Copies the database and the archive to a folder, proven and with checksums; also while a server runs",
  ),
)

export const restoreCommand = Command.make(
  "restore",
  {
    folder: Argument.String("folder").pipe(Argument.withDescription("Of the backup")),
    dryRun,
    json,
  },
  Effect.fn(function* ({ dryRun, folder, json }) {
    const { archivePath: archive, cacheDbPath: cache, queueDbPath: filename } = yield* Config.load
    const { close, onProgress } = yield* progress
    const restored = yield* restoreBackup({ folder, filename, archive, cache, model, dryRun, onProgress })
    close()
    yield* print(json, { dryRun, ...restored }, () => restoredText(restored, dryRun))
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Puts a backup in the place of the database and keeps the old files beside it; refused while a server runs",
  ),
)

const PROOF_WORDS = {
  journal: "its whole journal was folded",
  file: "its pages were checked",
  none: "nothing was proven",
} as const

const contents = ({
  archive,
  archived,
  created_at,
  database,
  head,
  proof,
}: Manifest): ReadonlyArray<string> => [
  `of ${created_at}, head ${number(head)}, ${bytes(database.bytes)}; ${PROOF_WORDS[proof]}`,
  ...(archive === null ? [] : [`archive of ${counted(archived.streams, "job")}, ${bytes(archive.bytes)}`]),
]

const takenText = ({ durationMs, folder, manifest }: BackupTaken): string =>
  [`backup in ${folder}, taken in ${number(durationMs)} ms`, ...contents(manifest)].join("\n")

const restoredText = (restored: Restored, dryRun: boolean): string => {
  const { database, durationMs, folder, manifest, setAside } = restored
  return [
    ...contents(manifest),
    ...(dryRun
      ? [`would be restored to ${database}`, "nothing was changed"]
      : [
          `${folder} restored to ${database} in ${number(durationMs)} ms`,
          ...setAside.map((path) => `the file that was there is ${path}`),
        ]),
  ].join("\n")
}
