/**
 * Projections that are part of the append itself: their rows commit in the same transaction as the events, so a reader
 * never sees one without the other. They are functions of the events alone, so that replaying the journal into empty
 * tables gives the same rows – also after streams have left it for the archive.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import type { RecordedEvent } from "./Journal.ts"

/** Events → rows, synchronously, inside the journal's transaction. */
export interface InlineProjection {
  readonly name: string
  /** The tables that it alone writes: the fold of the journal, row for row. */
  readonly tables: ReadonlyArray<string>
  /**
   * Tables that give names the numbers by which `tables` know them. They only grow, and a rebuild keeps them: which
   * number a name has is no fact.
   */
  readonly dictionaries?: ReadonlyArray<string>
  /**
   * Applies recorded events in order. Whatever it throws undoes the append that carried them. In a replay the `events` table
   * holds later ones already, and a call gets more events than any append had: neither may make a difference.
   */
  readonly project: (db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>) => void
  /** Which of the streams that these events are all of must stay, since something else here refers to them. */
  readonly retained?: (db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>) => ReadonlySet<string>
  /**
   * Undoes what whole streams have made of the tables, as if their events had never been: they leave for the archive in
   * this transaction, and are still in `events`. Absent: it makes nothing of streams that can be archived.
   */
  readonly remove?: (db: SqliteDatabase, events: ReadonlyArray<RecordedEvent>) => void
  /** A transaction was rolled back: whatever is remembered of the tables may be wrong now. */
  readonly forget: () => void
}
