/**
 * `db optimize`: makes the database quick and small.
 */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import * as Config from "../Config.ts"
import { bytes, dryRun, json, number, print, progress } from "./CommandLine.ts"
import { type Optimised, optimise } from "./Optimise.ts"

export const optimiseCommand = Command.make(
  "optimize",
  {
    vacuum: Flag.Boolean("vacuum").pipe(
      Flag.withDefault(false),
      Flag.withDescription(
        "Rewrite the whole file, so that it gets smaller; needs twice its size on the disk",
      ),
    ),
    dryRun,
    json,
  },
  Effect.fn(function* ({ dryRun, json, vacuum }) {
    const { queueDbPath: filename } = yield* Config.load
    const { close, onProgress } = yield* progress
    const result = yield* optimise({ filename, vacuum, dryRun, onProgress })
    close()
    yield* print(json, { dryRun, ...result }, () => (dryRun ? planText(result) : doneText(result)))
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Tells the query planner what the tables hold, frees pages and writes the log back; refused while a server runs",
  ),
)

const VACUUM_WORDS = {
  full: "would rewrite the file",
  incremental: "would give free pages back",
  none: "would keep the size of the file; --vacuum rewrites it",
} as const

const needs = ({ diskFreeBytes, vacuumNeedsBytes }: Optimised): string =>
  `a VACUUM needs ${bytes(vacuumNeedsBytes)} on the disk, which has ${bytes(diskFreeBytes)}`

const planText = (plan: Optimised): string =>
  [
    `would analyse ${plan.database} and write back ${bytes(plan.before.walBytes)} of its log`,
    `${VACUUM_WORDS[plan.vacuum]}: ${bytes(plan.before.freeBytes)} of ${bytes(plan.before.bytes)} are free; ${needs(plan)}`,
    "nothing was changed",
  ].join("\n")

const doneText = (done: Optimised): string => {
  const { after, before, vacuum } = done
  return [
    `${done.database} optimised in ${number(done.durationMs)} ms`,
    `${bytes(before.bytes)} before, ${bytes(after.bytes)} after`,
    ...(vacuum === "none" && after.freeBytes > 0
      ? [
          `${bytes(after.freeBytes)} of it are free and will be used again; --vacuum gives them back: ${needs(done)}`,
        ]
      : []),
  ].join("\n")
}
