/**
 * Whether every event is there: positions run 1, 2, 3 … over the journal and versions 1, 2, 3 … within each stream. Events
 * that were moved to an archive on purpose leave positions behind that are not missing.
 */
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import type { Findings } from "./Findings.ts"

/** Positions whose events are known to be elsewhere. */
export interface ArchivedPositions {
  /** How many of the positions from `first` to `last`, both included, were archived. */
  readonly countWithin: (first: number, last: number) => number
}

/** No event was ever moved away. */
export const NOTHING_ARCHIVED: ArchivedPositions = { countWithin: () => 0 }

/** Looks at the positions one after the other, as a fold comes by them. */
export class PositionDensity {
  readonly #archived: ArchivedPositions
  readonly #findings: Findings
  #last = 0
  #events = 0

  constructor(findings: Findings, archived: ArchivedPositions) {
    this.#findings = findings
    this.#archived = archived
  }

  /** The newest position seen. */
  get head(): number {
    return this.#last
  }

  /** Positions seen. */
  get events(): number {
    return this.#events
  }

  take(position: number): void {
    if (position > this.#last + 1) this.#gap(this.#last + 1, position - 1)
    this.#last = position
    this.#events++
  }

  /** After the last event: the journal has given positions up to `head`. */
  end(head: number): void {
    if (head > this.#last) this.#gap(this.#last + 1, head)
  }

  #gap(first: number, last: number): void {
    const missing = last - first + 1 - this.#archived.countWithin(first, last)
    if (missing <= 0) return
    const range =
      first === last
        ? `position ${first} is missing`
        : `of positions ${first} to ${last}, ${missing} are missing`
    this.#findings.add("positions", "events", range, missing)
  }
}

/** Streams whose versions are not dense. Index: UNIQUE (stream, version) alone, from its start to its end. */
const SELECT_VERSION_GAPS = `SELECT stream, count(*) AS events, min(version) AS first, max(version) AS last
  FROM events GROUP BY stream HAVING count(*) <> max(version) OR min(version) <> 1`

/** The same index. */
const COUNT_STREAMS = "SELECT count(DISTINCT stream) AS streams FROM events"

/** Finds streams with missing versions; answers how many streams there are. */
export const checkVersions = (db: SqliteDatabase, findings: Findings): number => {
  for (const { events, first, last, stream } of db.prepareUncached(SELECT_VERSION_GAPS).iterate()) {
    findings.add("versions", "events", `${stream} has ${events} events, of versions ${first} to ${last}`)
  }
  return db.prepareUncached(COUNT_STREAMS).get()!["streams"] as number
}
