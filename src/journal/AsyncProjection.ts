/**
 * Projections that follow the journal: they cost an append next to nothing, and are behind it by moments. What a projection has made
 * of events is written in one transaction with its checkpoint, so that a crash neither loses nor doubles anything.
 * `AsyncProjector` runs them; `db verify` and `db rebuild` fold them anew.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import type { RecordedEvent } from "./Journal.ts"

/** The events of a stream below a version, oldest first. */
export type EarlierEvents = (stream: string, belowVersion: number) => ReadonlyArray<RecordedEvent>

/**
 * Events → rows, in portions. The rows are a function of what happened in each stream: the events of a stream come in order
 * and each once, but how streams are interleaved must make no difference. Archived ones come first when a projection
 * is made from the beginning, and nothing leaves for the archive that has not been taken and saved.
 */
export interface AsyncProjection {
  readonly name: string
  /** The tables that it alone writes. */
  readonly tables: ReadonlyArray<string>
  /** Conditions on rows of its tables that are not kept any more: they may still be there, or not. */
  readonly expired?: Readonly<Record<string, string>>
  /** Tags of the events that it is made of. It gets no others, and their data is not even decoded. */
  readonly eventTypes: ReadonlySet<string>
  /**
   * Takes events in, in memory. `earlier` answers what it remembers nothing of, and costs a seek and a row for each event of
   * the stream.
   */
  readonly take: (events: ReadonlyArray<RecordedEvent>, earlier: EarlierEvents) => void
  /** Rows, at most, that `save` would write now: more than a few hundred are saved before more is taken. */
  readonly pending: () => number
  /** Writes what was taken since the last `save`, in the transaction that moves the checkpoint. */
  readonly save: (db: SqliteDatabase) => void
  /** What was taken will be taken again, from the last checkpoint on: nothing that is remembered holds. */
  readonly forget: () => void
}
