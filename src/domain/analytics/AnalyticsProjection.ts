/**
 * The analytics tables as an async projection: hours and days of what happened, altogether and by queue, type, project,
 * principal, composition and group of routes. Everything in a row is a sum, an extreme or a count of buckets, so the order in
 * which jobs are told makes no difference. A table has at most a row for each event and dimension, and mostly far fewer.
 */
import { isJobEvent, type JobEvent } from "../../jobs/JobEvents.ts"
import type { AsyncProjection, EarlierEvents } from "../../journal/AsyncProjection.ts"
import type { RecordedEvent } from "../../journal/Journal.ts"
import { MultiRowInsert } from "../../journal/MultiRowInsert.ts"
import type { SqliteDatabase } from "../../sqlite/SqliteDatabase.ts"
import {
  Aggregate,
  AGGREGATE_COLUMNS,
  bindAggregate,
  type Count,
  type Dimension,
  fromRow,
} from "./Aggregate.ts"
import { type ApiUseRecorded, isApiUseRecorded } from "./ApiUseEvents.ts"
import { evolve, JOB_FACT_EVENTS, type JobMemory, nameWithin } from "./JobFacts.ts"

export const HOUR_MS = 3_600_000
export const DAY_MS = 24 * HOUR_MS

/** Jobs remembered at least, so that their next event needs no look-up. About 300 bytes each. */
const JOBS_REMEMBERED = 4_000

const TABLES = { hourly: "analytics_hourly", daily: "analytics_daily" } as const
type Table = keyof typeof TABLES

const COLUMNS = ["start", "dimension", "name", ...AGGREGATE_COLUMNS]

const insertInto = (table: Table) =>
  new MultiRowInsert({
    into: `INSERT OR REPLACE INTO ${TABLES[table]} (${COLUMNS.join(", ")})`,
    columns: COLUMNS.length,
  })

/** The rows of a JSON array of keys. Index: the primary key, one seek each. */
export const SELECT_HOURS = `SELECT a.* FROM json_each(?) wanted CROSS JOIN analytics_hourly a
  ON a.start = wanted.value ->> 0 AND a.dimension = wanted.value ->> 1 AND a.name = wanted.value ->> 2`
export const SELECT_DAYS = `SELECT a.* FROM json_each(?) wanted CROSS JOIN analytics_daily a
  ON a.start = wanted.value ->> 0 AND a.dimension = wanted.value ->> 1 AND a.name = wanted.value ->> 2`
const SELECT_RETENTION = "SELECT hourly_from, daily_from FROM analytics_retention WHERE id = 1"

/** A row to be. */
interface Cell {
  readonly start: number
  readonly dimension: Dimension
  readonly name: string
  readonly aggregate: Aggregate
}

const keyOf = (start: number, dimension: string, name: string): string => `${start} ${dimension} ${name}`

/** What is to be added to the rows of a table. */
class Cells {
  readonly #cells = new Map<string, Cell>()

  get size(): number {
    return this.#cells.size
  }

  values(): IteratorObject<Cell> {
    return this.#cells.values()
  }

  at(start: number, dimension: Dimension, name: string): Aggregate {
    const key = keyOf(start, dimension, name)
    let cell = this.#cells.get(key)
    if (cell === undefined) {
      cell = { start, dimension, name, aggregate: new Aggregate() }
      this.#cells.set(key, cell)
    }
    return cell.aggregate
  }

  clear(): void {
    this.#cells.clear()
  }
}

/** Keeps the analytics tables behind the journal. */
export const analyticsProjection = (): AsyncProjection => {
  const hours = new Cells()
  /** In two generations, the younger of which becomes the older when it is full. */
  let jobs = new Map<string, JobMemory>()
  let olderJobs = new Map<string, JobMemory>()
  const inserts = { hourly: insertInto("hourly"), daily: insertInto("daily") }

  const recall = (
    { stream, version }: RecordedEvent<JobEvent>,
    earlier: EarlierEvents,
  ): JobMemory | undefined => {
    if (version === 1) return undefined
    const known = jobs.get(stream) ?? olderJobs.get(stream)
    if (known !== undefined) return known
    let memory: JobMemory | undefined
    for (const before of earlier(stream, version)) if (isJob(before)) memory = evolve(memory, before).memory
    return memory
  }

  const takeJob = (recorded: RecordedEvent<JobEvent>, earlier: EarlierEvents): void => {
    const { memory, note } = evolve(recall(recorded, earlier), recorded)
    const { stream } = recorded
    if (memory.isFinished) {
      jobs.delete(stream)
      olderJobs.delete(stream)
    } else jobs.set(stream, memory)
    if (note === undefined) return
    const start = startOf("hourly", recorded.recordedAt)
    for (const [dimension, name] of memory.names) note(hours.at(start, dimension, name))
  }

  const takeUse = ({ hour, uses }: ApiUseRecorded): void => {
    const start = startOf("hourly", hour)
    const add = (dimension: Dimension, name: string, requests: number, what: Count = "requests") =>
      hours.at(start, dimension, name).count(what, requests)
    for (const { principal, requests, route } of uses) {
      add("all", "", requests)
      add("principal", nameWithin(principal), requests)
      add("route", nameWithin(route), requests)
    }
  }

  const write = (db: SqliteDatabase, table: Table, cells: Iterable<Cell>): void => {
    const rows = [...cells]
    if (rows.length === 0) return
    const keys = JSON.stringify(rows.map(({ dimension, name, start }) => [start, dimension, name]))
    const kept = new Map(
      db
        .prepare(table === "hourly" ? SELECT_HOURS : SELECT_DAYS)
        .all(keys)
        .map((row) => [
          keyOf(row["start"] as number, row["dimension"] as string, row["name"] as string),
          fromRow(row),
        ]),
    )
    for (const { aggregate, dimension, name, start } of rows) {
      const before = kept.get(keyOf(start, dimension, name))
      if (before !== undefined) aggregate.merge(before)
    }
    inserts[table].run(db, rows, ({ aggregate, dimension, name, start }, values, at) => {
      values[at] = start
      values[at + 1] = dimension
      values[at + 2] = name
      bindAggregate(aggregate, values, at + 3)
    })
  }

  return {
    name: "analytics",
    tables: [TABLES.hourly, TABLES.daily],
    expired: {
      [TABLES.hourly]: "start < (SELECT hourly_from FROM analytics_retention)",
      [TABLES.daily]: "start < (SELECT daily_from FROM analytics_retention)",
    },
    eventTypes: new Set<string>([...JOB_FACT_EVENTS, "ApiUseRecorded"]),
    take: (events, earlier) => {
      for (const recorded of events) {
        if (isJob(recorded)) takeJob(recorded, earlier)
        else if (isApiUseRecorded(recorded.event)) takeUse(recorded.event)
      }
      if (jobs.size <= JOBS_REMEMBERED) return
      olderJobs = jobs
      jobs = new Map()
    },
    // An hour's row and its day's.
    pending: () => 2 * hours.size,
    save: (db) => {
      const retention = db.prepare(SELECT_RETENTION).get()!
      const hourlyFrom = retention["hourly_from"] as number
      const dailyFrom = retention["daily_from"] as number
      const days = new Cells()
      for (const { aggregate, dimension, name, start } of hours.values()) {
        const day = startOf("daily", start)
        if (day >= dailyFrom) days.at(day, dimension, name).merge(aggregate)
      }
      write(db, "daily", days.values())
      write(
        db,
        "hourly",
        hours.values().filter(({ start }) => start >= hourlyFrom),
      )
      hours.clear()
    },
    forget: () => {
      hours.clear()
      jobs = new Map()
      olderJobs = new Map()
    },
  }
}

/** The start of the hour or day of a moment, in UTC. */
export const startOf = (table: Table, millis: number): number => {
  const length = table === "hourly" ? HOUR_MS : DAY_MS
  return Math.floor(millis / length) * length
}

const isJob = (recorded: RecordedEvent): recorded is RecordedEvent<JobEvent> => isJobEvent(recorded.event)
