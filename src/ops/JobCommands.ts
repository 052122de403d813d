/**
 * `job history`: what happened to one job, for people on a terminal and for programs.
 */
import { styleText } from "node:util"
import { Clock, Console, Effect, Stream } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import * as Config from "../Config.ts"
import * as DatabaseFile from "./DatabaseFile.ts"
import { history, jobIdOf, jobStreamsOf } from "./JobHistory.ts"
import { JobTimeline } from "./JobTimeline.ts"
import { entryJson, entryLines, headline, type Paint, summaryJson, summaryLines } from "./TimelineText.ts"

/** Colours on a terminal that has them, unless NO_COLOR is set. */
const paint: Paint = (style, text) => styleText(style, text)

const historyCommand = Command.make(
  "history",
  {
    id: Argument.String("id").pipe(Argument.withDescription("Of a job, or of a render")),
    follow: Flag.Boolean("follow").pipe(
      Flag.withDefault(false),
      Flag.withDescription("Go on until the job ends"),
    ),
    json: Flag.Boolean("json").pipe(
      Flag.withDefault(false),
      Flag.withDescription("One JSON object a line, the sums in the last"),
    ),
  },
  Effect.fn(function* ({ follow, id: given, json }) {
    const id = yield* Effect.fromResult(jobIdOf(given))
    const { archivePath, queueDbPath } = yield* Config.load
    const database = yield* DatabaseFile.openExisting(queueDbPath)
    const archive = yield* DatabaseFile.openArchive(archivePath)
    const timeline = new JobTimeline()
    yield* history(jobStreamsOf(database, archive), id, timeline, { follow }).pipe(
      Stream.runForEach((entry) => {
        if (json) return Console.log(entryJson(entry))
        const isFirst = entry.recorded.version === 1
        return Console.log(
          [...(isFirst ? [headline(id, paint)] : []), ...entryLines(entry, paint)].join("\n"),
        )
      }),
    )
    const summary = timeline.summary(yield* Clock.currentTimeMillis)
    yield* Console.log(json ? summaryJson(id, summary) : `\n${summaryLines(summary, paint).join("\n")}`)
  }, Effect.scoped),
).pipe(Command.withDescription("Prints everything that happened to a job, also beside a running server"))

/** Commands about single jobs. */
export const jobCommand = Command.make("job").pipe(
  Command.withDescription("Looks at single jobs"),
  Command.withSubcommands([historyCommand]),
)
