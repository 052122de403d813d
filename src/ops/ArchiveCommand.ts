/**
 * `db archive`: moves old finished jobs to the archive by hand, as the server does every hour when `ARCHIVE_AFTER` is set.
 */
import { Duration, Effect, Option, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import * as Config from "../Config.ts"
import { Retention, type RetentionReport } from "../jobs/Retention.ts"
import * as RenderOwl from "../RenderOwl.ts"
import { dryRun, json, number, print, USAGE } from "./CommandLine.ts"
import * as DatabaseFile from "./DatabaseFile.ts"

/** Nobody has said how old a job must be. */
export class NoAge extends Schema.TaggedError<NoAge>()("NoAge", {}) {
  override readonly [Runtime.errorExitCode] = USAGE
  override get message() {
    return 'say which jobs: --older-than "30 days", or set ARCHIVE_AFTER'
  }
}

/** How old jobs must be. */
export const olderThanFlag = Flag.String("older-than").pipe(
  Flag.withSchema(Config.ArchiveAge),
  Flag.withDescription("How long ago they must have ended, such as 30 days (default: ARCHIVE_AFTER)"),
  Flag.optional,
)

export const archiveCommand = Command.make(
  "archive",
  {
    olderThan: olderThanFlag,
    dryRun,
    json,
  },
  Effect.fn(function* ({ dryRun, json, olderThan: wanted }) {
    const settings = yield* Config.load
    const olderThan = Option.getOrElse(wanted, () => settings.archiveAfter)
    if (olderThan === undefined) return yield* new NoAge()
    const filename = settings.queueDbPath
    yield* DatabaseFile.requireFile(filename)
    const report = yield* Effect.flatMap(Retention, (retention) => retention.run({ olderThan, dryRun })).pipe(
      Effect.provide(
        RenderOwl.retentionLayer({
          database: { filename, synchronous: settings.synchronous },
          archive: settings.archivePath,
        }),
      ),
    )
    yield* print(json, { dryRun, archive: settings.archivePath, ...report }, () =>
      dryRun ? wouldMove(report, olderThan) : hasMoved(report, settings.archivePath),
    )
  }),
).pipe(
  Command.withDescription(
    "Moves completed and cancelled jobs that ended long ago to the archive; refused while a server runs",
  ),
)

const jobs = (count: number): string => `${number(count)} ${count === 1 ? "job" : "jobs"}`

const wouldMove = ({ ripe }: RetentionReport, olderThan: Duration.Duration): string =>
  `${jobs(ripe)} ended more than ${Duration.format(olderThan)} ago; nothing was moved`

const hasMoved = (report: RetentionReport, archive: string): string => {
  const { bytes, compressedBytes, events, firstUnreadable, stayed, streams, unreadable } = report
  return [
    `${jobs(streams)} of ${number(events)} events moved to ${archive}, ${number(bytes)} bytes compressed to ${number(compressedBytes)}`,
    ...(stayed > 0
      ? [`${jobs(stayed)} stayed, since other jobs wait for them or the analytics have yet to read them`]
      : []),
    ...(unreadable > 0
      ? [`${jobs(unreadable)} stayed, since this release cannot read them: ${firstUnreadable}`]
      : []),
  ].join("\n")
}
