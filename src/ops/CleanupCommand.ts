/**
 * `db cleanup`: what is old or left over goes.
 */
import { Duration, Effect, Option } from "effect"
import { Command } from "effect/cli"
import { join } from "node:path"
import * as Config from "../Config.ts"
import { snapshotKinds } from "../EventModel.ts"
import { olderThanFlag } from "./ArchiveCommand.ts"
import { type CleanedUp, cleanUp } from "./Cleanup.ts"
import { bytes, counted, dryRun, json, number, print, progress } from "./CommandLine.ts"

export const cleanupCommand = Command.make(
  "cleanup",
  { olderThan: olderThanFlag, dryRun, json },
  Effect.fn(function* ({ dryRun, json, olderThan: wanted }) {
    const settings = yield* Config.load
    const olderThan = Option.getOrElse(wanted, () => settings.archiveAfter)
    const { close, onProgress } = yield* progress
    const cleaned = yield* cleanUp({
      filename: settings.queueDbPath,
      archive: settings.archivePath,
      backups: join(settings.dataDir, "backups"),
      cache: settings.cacheDbPath,
      synchronous: settings.synchronous,
      olderThan,
      snapshotKinds,
      dryRun,
      onProgress,
    })
    close()
    yield* print(json, { dryRun, ...cleaned }, () => text(cleaned, olderThan, dryRun))
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Archives old jobs, drops snapshots that cannot be loaded and leftovers of killed commands; refused while a server runs",
  ),
)

const text = (cleaned: CleanedUp, olderThan: Duration.Duration | undefined, dryRun: boolean): string => {
  const { jobs, leftovers, snapshots } = cleaned
  const done = dryRun ? "would be" : "were"
  return [
    ...(jobs.ripe === null || olderThan === undefined
      ? ["no age is set for jobs (ARCHIVE_AFTER or --older-than): all stay"]
      : [
          `${counted(jobs.ripe, "job")} ended more than ${Duration.format(olderThan)} ago` +
            (dryRun ? "" : `; ${number(jobs.archived)} were archived`),
        ]),
    ...(jobs.unreadable > 0 ? [`${counted(jobs.unreadable, "job")} cannot be read by this release`] : []),
    `${counted(snapshots.found, "snapshot")} that cannot be loaded ${done} dropped, ${bytes(snapshots.bytes)}`,
    ...leftovers.map((leftover) => `${leftover.path} ${done} removed, ${bytes(leftover.bytes)}`),
    ...(dryRun ? ["nothing was changed"] : []),
  ].join("\n")
}
