/**
 * `db integrity`: whether the files are sound, in less time than `db verify` takes to prove it.
 */
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as Config from "../Config.ts"
import { counted, json, number, print, progress } from "./CommandLine.ts"
import { DatabaseFaulty, faultText } from "./Findings.ts"
import { type Integrity, integrity } from "./Integrity.ts"

export const integrityCommand = Command.make(
  "integrity",
  { json },
  Effect.fn(function* ({ json }) {
    const { archivePath, queueDbPath } = yield* Config.load
    const { close, onProgress } = yield* progress
    const found = yield* integrity({ filename: queueDbPath, archive: archivePath, onProgress })
    close()
    yield* print(json, { ok: found.faults.length === 0, ...found }, () => text(found))
    if (found.faults.length > 0) return yield* DatabaseFaulty.of(found.database, found.faults)
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Checks pages, indexes, foreign keys and invariants of the database and the archive; reads only, also beside a running server",
  ),
)

const text = ({ checks, database, durationMs, faults }: Integrity): string =>
  [
    `${database}: ${counted(checks.length, "check")} in ${number(durationMs)} ms`,
    ...(faults.length === 0 ? ["nothing is wrong"] : faults.flatMap(faultText)),
  ].join("\n")
