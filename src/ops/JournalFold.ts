/**
 * Replays a journal through inline projections, page by page, from its first event on. The database must resolve `events`
 * to the journal and the projections' tables to the ones to be filled. An event that cannot be read, or a projection that
 * fails, is told and left behind; whether that is the end of it is the caller's decision.
 */
import type { EventCatalog } from "../journal/DomainEvent.ts"
import { fromRow, fromRowChecked, SELECT_ALL } from "../journal/EventRows.ts"
import type { InlineProjection } from "../journal/InlineProjection.ts"
import type { RecordedEvent } from "../journal/Journal.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"

/** Events replayed at a time. Not how they were committed: the fold must not depend on that. */
const PAGE_EVENTS = 1_000

/** An event that does not fit its schema, or cannot be read at all. */
export interface Misfit {
  readonly position: number
  readonly stream: string
  readonly type: string
  readonly detail: string
}

/** A projection that could not take these events. It gets no more of them. */
export interface Breakdown {
  readonly projection: InlineProjection
  readonly first: number
  readonly last: number
  readonly detail: string
}

/** What one step of the fold has seen. */
export interface FoldPage {
  /** In order; also of events that cannot be read. */
  readonly positions: ReadonlyArray<number>
  /** Those that could be read, in order. */
  readonly events: ReadonlyArray<RecordedEvent>
  readonly misfits: ReadonlyArray<Misfit>
  readonly breakdowns: ReadonlyArray<Breakdown>
}

export class JournalFold {
  readonly #db: SqliteDatabase
  readonly #catalog: EventCatalog
  readonly #checked: boolean
  #projections: ReadonlyArray<InlineProjection>
  #after = 0

  /** `checked`: every event is held against its schema, which about doubles the time. */
  constructor(options: {
    readonly db: SqliteDatabase
    readonly catalog: EventCatalog
    /** Fresh ones: they remember rows. */
    readonly projections: ReadonlyArray<InlineProjection>
    readonly checked: boolean
  }) {
    this.#db = options.db
    this.#catalog = options.catalog
    this.#projections = options.projections
    this.#checked = options.checked
  }

  /** Replays the next page; undefined at the end. Throws what reading the database throws. */
  next(): FoldPage | undefined {
    const rows = this.#db.prepare(SELECT_ALL).all(this.#after, PAGE_EVENTS)
    if (rows.length === 0) return undefined
    const misfits: Array<Misfit> = []
    const events: Array<RecordedEvent> = []
    for (const row of rows) {
      const event = this.#read(row, misfits)
      if (event !== undefined) events.push(event)
    }
    const positions = rows.map((row) => row["position"] as number)
    this.#after = positions.at(-1)!
    return { positions, events, misfits, breakdowns: events.length === 0 ? [] : this.#project(events) }
  }

  #read(row: Parameters<typeof fromRow>[1], misfits: Array<Misfit>): RecordedEvent | undefined {
    try {
      return this.#checked ? fromRowChecked(this.#catalog, row) : fromRow(this.#catalog, row)
    } catch (cause) {
      misfits.push({
        position: row["position"] as number,
        stream: row["stream"] as string,
        type: row["type"] as string,
        detail: messageOf(cause),
      })
      return this.#checked ? this.#readAsItIs(row) : undefined
    }
  }

  /** What does not fit its schema was projected all the same when it was appended. */
  #readAsItIs(row: Parameters<typeof fromRow>[1]): RecordedEvent | undefined {
    try {
      return fromRow(this.#catalog, row)
    } catch {
      return undefined
    }
  }

  #project(events: ReadonlyArray<RecordedEvent>): ReadonlyArray<Breakdown> {
    const breakdowns: Array<Breakdown> = []
    for (const projection of this.#projections) {
      try {
        projection.project(this.#db, events)
      } catch (cause) {
        const [first, last] = [events[0]!.position, events.at(-1)!.position]
        breakdowns.push({ projection, first, last, detail: messageOf(cause) })
      }
    }
    const broken = new Set(breakdowns.map(({ projection }) => projection))
    if (broken.size > 0) this.#projections = this.#projections.filter((projection) => !broken.has(projection))
    return breakdowns
  }
}

const messageOf = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause))
