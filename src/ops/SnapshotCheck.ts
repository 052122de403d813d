/**
 * Whether snapshots are what they stand for: the fold of their stream up to their version. Only a snapshot of the present
 * shape is folded; one of another shape, or of a kind that nobody knows, is never loaded and need only not be newer than
 * its stream.
 */
import { isDeepStrictEqual } from "node:util"
import type { HostedBehavior } from "../actor/ActorSystem.ts"
import type { SnapshotKind } from "../EventModel.ts"
import type { EventCatalog } from "../journal/DomainEvent.ts"
import { fromRow, SELECT_STREAM, SELECT_VERSION } from "../journal/EventRows.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import type { Findings } from "./Findings.ts"

/** Checks the snapshots in `table`, one stream read each (index: UNIQUE (stream, version)); answers their number. */
export const checkSnapshots = (
  db: SqliteDatabase,
  table: string,
  kinds: ReadonlyArray<SnapshotKind>,
  catalog: EventCatalog,
  findings: Findings,
): number => {
  let snapshots = 0
  const rows = db.prepareUncached(`SELECT stream, version, revision, state FROM ${table} ORDER BY stream`)
  for (const row of rows.iterate()) {
    snapshots++
    const stream = row["stream"] as string
    const version = row["version"] as number
    const newest = db.prepare(SELECT_VERSION).get(stream)!["version"] as number
    if (version < 1 || version > newest) {
      findings.add(
        "snapshots",
        "snapshots",
        `${stream} has a snapshot of version ${version}, and is at ${newest}`,
      )
      continue
    }
    const behavior = kinds.find(({ prefix }) => stream.startsWith(prefix))?.behavior
    if (behavior?.snapshots === undefined || behavior.snapshots.revision !== row["revision"]) continue
    const fault = compare(
      db,
      catalog,
      behavior,
      behavior.snapshots.encode,
      stream,
      version,
      row["state"] as string,
    )
    if (fault !== undefined)
      findings.add("snapshots", "snapshots", `${stream} at version ${version}: ${fault}`)
  }
  return snapshots
}

/** A behavior that fails on a stream must not end the check of all others. */
const compare = (
  db: SqliteDatabase,
  catalog: EventCatalog,
  behavior: HostedBehavior,
  encode: (state: unknown) => unknown,
  stream: string,
  version: number,
  kept: string,
): string | undefined => {
  try {
    let state = behavior.initial
    for (const row of db.prepareUncached(SELECT_STREAM).iterate(stream, 0, version)) {
      const { event, recordedAt } = fromRow(catalog, row)
      state = behavior.evolve(state, event, recordedAt)
    }
    const folded: unknown = JSON.parse(JSON.stringify(encode(state)))
    return isDeepStrictEqual(JSON.parse(kept), folded) ? undefined : "the state is not the fold of the stream"
  } catch (cause) {
    return cause instanceof Error ? cause.message : String(cause)
  }
}
