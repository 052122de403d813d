/**
 * `db stats`: how large the database is, and what fills it.
 */
import { Effect } from "effect"
import { Command } from "effect/cli"
import * as Config from "../Config.ts"
import { bytes, columns, counted, json, number, print, progress } from "./CommandLine.ts"
import { type Stats, stats } from "./Stats.ts"

/** Event types and tables that are shown to people; programs get all of them. */
const SHOWN_MAX = 20

export const statsCommand = Command.make(
  "stats",
  { json },
  Effect.fn(function* ({ json }) {
    const { archivePath, queueDbPath } = yield* Config.load
    const { close, onProgress } = yield* progress
    const found = yield* stats({ filename: queueDbPath, archive: archivePath, onProgress })
    close()
    yield* print(json, found, () => text(found))
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Shows sizes, rows, events, jobs and the archive; reads only, also beside a running server",
  ),
)

const text = (found: Stats): string => {
  const { archive, disk, eventTypes, jobs, oldestUnfinishedJob, owner, tables } = found
  const free = found.freePages * found.pageSize
  return [
    ...columns(
      [
        ["database", found.database],
        ["file", `${bytes(found.bytes)}, of which ${bytes(free)} are free to be used again`],
        ["write-ahead log", bytes(found.walBytes)],
        ["disk", `${bytes(disk.freeBytes)} of ${bytes(disk.totalBytes)} free`],
        [
          "in use by",
          owner === null ? "nobody" : `process ${owner.pid} on ${owner.host} since ${owner.started_at}`,
        ],
        ["journal", `${counted(found.events, "event")}, head ${number(found.head)}`],
        ["oldest event", found.oldestEvent ?? "none"],
        ["newest event", found.newestEvent ?? "none"],
        [
          "oldest unfinished job",
          oldestUnfinishedJob === null
            ? "none"
            : `${oldestUnfinishedJob.id} of ${oldestUnfinishedJob.createdAt}`,
        ],
        ["archive", archiveText(archive)],
      ].map(([name, value]) => [`${name!.padEnd(21)}  ${value}`]),
    ),
    "",
    ...columns([
      ["jobs", ""],
      ...Object.entries(jobs).map(([status, count]) => [`  ${status}`, number(count)]),
    ]),
    "",
    ...columns([
      ["table", "rows", "bytes", "indexes"],
      ...tables
        .slice(0, SHOWN_MAX)
        .map((table) => [
          `  ${table.table}`,
          number(table.rows),
          bytes(table.bytes),
          bytes(table.indexBytes),
        ]),
    ]),
    "",
    ...columns([
      ["event type", "events", "data"],
      ...eventTypes
        .slice(0, SHOWN_MAX)
        .map((type) => [`  ${type.type}`, number(type.events), bytes(type.bytes)]),
    ]),
  ].join("\n")
}

const archiveText = ({ bytes: size, events, file, problem, streams }: Stats["archive"]): string => {
  const given = `${counted(streams, "job")} of ${counted(events, "event")}`
  if (problem !== null) return `${file} cannot be read: ${problem}; ${given} were moved there`
  return streams === 0 ? "nothing was archived" : `${file}, ${bytes(size)}, ${given}`
}
