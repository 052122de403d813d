/**
 * The `events` table as statements: inserting (many rows a statement, where there are many) and reading back.
 */
import type { SQLOutputValue } from "node:sqlite"
import { limitTo } from "../sqlite/Limit.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import type { DomainEvent, EventCatalog } from "./DomainEvent.ts"
import type { EventMetadata, RecordedEvent } from "./Journal.ts"
import { MultiRowInsert } from "./MultiRowInsert.ts"

export const EVENT_COLUMNS = [
  "position",
  "stream",
  "version",
  "type",
  "revision",
  "data",
  "metadata",
  "recorded_at",
] as const
const COLUMNS = EVENT_COLUMNS.join(", ")
const INSERT = new MultiRowInsert({ into: `INSERT INTO events (${COLUMNS})`, columns: 8 })

/** One stream after a version. Index: UNIQUE (stream, version). */
export const SELECT_STREAM = `SELECT ${COLUMNS} FROM events WHERE stream = ? AND version > ? ORDER BY version ${limitTo()}`
/** The journal after a position. Index: the primary key. */
export const SELECT_ALL = `SELECT ${COLUMNS} FROM events WHERE position > ? ORDER BY position ${limitTo()}`
/** The last position, of what is here and of what was archived. Indexes: two primary keys, one seek each. */
export const SELECT_HEAD = `SELECT max(last_position, coalesce((SELECT max(position) FROM events), 0)) AS position
  FROM archived WHERE id = 1`
/** The last version of a stream. Index: UNIQUE (stream, version), one seek. */
export const SELECT_VERSION = "SELECT coalesce(max(version), 0) AS version FROM events WHERE stream = ?"
/**
 * Those of `{stream: version}` that do not exist. Index: UNIQUE (stream, version), one seek each; half the cost of a
 * statement each (measured: 1.4 and 3 µs a stream).
 */
export const SELECT_MISSING_VERSIONS = `SELECT key AS stream, atom AS version FROM json_each(?)
  WHERE NOT EXISTS (SELECT 1 FROM events WHERE stream = key AND version = atom)`

/** A row of `events` as SQLite gives it: the data as the text that was written, whatever this release makes of it. */
export type EventRow = {
  readonly position: number
  readonly stream: string
  readonly version: number
  readonly type: string
  readonly revision: number
  readonly data: string
  readonly metadata: string | null
  readonly recorded_at: number
}

const encodeMetadata = (metadata: EventMetadata | undefined): string | null => {
  if (metadata === undefined) return null
  const json = JSON.stringify(metadata)
  return json === "{}" ? null : json
}

/** Inserts recorded events. Throws node:sqlite's error, a unique violation for a version conflict among others. */
export const insertEvents = (
  db: SqliteDatabase,
  catalog: EventCatalog,
  events: ReadonlyArray<RecordedEvent>,
): void => {
  INSERT.run(db, events, (recorded, values, at) => {
    const { type, revision, data } = catalog.encode(recorded.event)
    values[at] = recorded.position
    values[at + 1] = recorded.stream
    values[at + 2] = recorded.version
    values[at + 3] = type
    values[at + 4] = revision
    values[at + 5] = data
    values[at + 6] = encodeMetadata(recorded.metadata)
    values[at + 7] = recorded.recordedAt
  })
}

type Row = Record<string, SQLOutputValue>

const toRecorded = (row: Row, event: DomainEvent): RecordedEvent => ({
  position: row["position"] as number,
  stream: row["stream"] as string,
  version: row["version"] as number,
  recordedAt: row["recorded_at"] as number,
  metadata: row["metadata"] === null ? undefined : (JSON.parse(row["metadata"] as string) as EventMetadata),
  event,
})

/** The recorded event in a row of {@link SELECT_STREAM} or {@link SELECT_ALL}. Throws `UnreadableEvent`. */
export const fromRow = (catalog: EventCatalog, row: Row): RecordedEvent =>
  toRecorded(row, catalog.decode(row["type"] as string, row["revision"] as number, row["data"] as string))

/** Like {@link fromRow}, and the data must fit the event's schema: for verification, not for hot paths. */
export const fromRowChecked = (catalog: EventCatalog, row: Row): RecordedEvent =>
  toRecorded(
    row,
    catalog.decodeChecked(row["type"] as string, row["revision"] as number, row["data"] as string),
  )
