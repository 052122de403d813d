/**
 * Looks through the journal of a database that nobody has open, and compares its projections with what the events make of
 * an empty one. It only reads, so the next owner finds the write-ahead log as the last one left it.
 */
import { Effect, type Scope } from "effect"
import { DatabaseSync, type SQLInputValue, type SQLOutputValue } from "node:sqlite"
import { eventTypes, projections } from "../../src/EventModel.ts"
import { JobBehavior } from "../../src/jobs/JobBehavior.ts"
import { isJobEvent, type JobEvent } from "../../src/jobs/JobEvents.ts"
import { absent, isFinished, type JobState } from "../../src/jobs/JobState.ts"
import { EventCatalog } from "../../src/journal/DomainEvent.ts"
import { fromRow } from "../../src/journal/EventRows.ts"
import type { RecordedEvent } from "../../src/journal/Journal.ts"
import { Migrations } from "../../src/sqlite/Migrations.ts"
import { SqliteDatabase } from "../../src/sqlite/SqliteDatabase.ts"

/** Faults of one kind that are spelled out. */
const FAULTS_SHOWN = 5
/** Events replayed in one transaction. Not how they were committed: the fold must not depend on that. */
const REPLAY_CHUNK = 700

const INSERT_EVENT = "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

/** A job as the journal tells it. */
export interface AuditedJob {
  readonly state: JobState
  readonly version: number
}

export class JournalAudit {
  readonly #source: string
  readonly #replicaFile: string
  readonly #replica: SqliteDatabase
  readonly #catalog = new EventCatalog(eventTypes)
  readonly #projections = projections()
  readonly jobs = new Map<string, AuditedJob>()
  /** Attempts that were ever started: `<job> <attempt>`. */
  readonly started = new Set<string>()
  #head = 0

  private constructor(source: string, replicaFile: string, replica: SqliteDatabase) {
    this.#source = source
    this.#replicaFile = replicaFile
    this.#replica = replica
  }

  /** An audit of `source` with a database of its own at `replicaFile`, which must not exist. */
  static readonly make = (
    source: string,
    replicaFile: string,
  ): Effect.Effect<JournalAudit, unknown, Scope.Scope> =>
    Effect.gen(function* () {
      const replica = yield* Effect.acquireRelease(
        Effect.sync(() => SqliteDatabase.open({ filename: replicaFile, synchronous: "OFF" })),
        (database) => Effect.sync(() => database.close()),
      )
      yield* Migrations.run(replica, yield* Migrations.load(Migrations.defaultFolder))
      return new JournalAudit(source, replicaFile, replica)
    })

  /** Events seen so far. */
  get head(): number {
    return this.#head
  }

  /** Takes in what the journal has got since the last check, and answers everything that is wrong. */
  check(): ReadonlyArray<string> {
    const source = new DatabaseSync(this.#source, { readOnly: true })
    try {
      const gaps = this.#density(source)
      // What comes after a gap makes no sense.
      return gaps.length > 0 ? gaps : [...this.#replay(source), ...this.#compare(source)]
    } finally {
      source.close()
    }
  }

  #density(source: DatabaseSync): ReadonlyArray<string> {
    const all = source
      .prepare("SELECT count(*) AS events, coalesce(max(position), 0) AS head FROM events")
      .get()!
    const gaps = source
      .prepare(
        `SELECT stream, count(*) AS events, min(version) AS first, max(version) AS last FROM events
         GROUP BY stream HAVING events <> last OR first <> 1 LIMIT ${FAULTS_SHOWN}`,
      )
      .all()
    return [
      ...(all["events"] === all["head"] ? [] : [`positions have gaps: ${JSON.stringify(all)}`]),
      ...gaps.map((row) => `versions have gaps: ${JSON.stringify(row)}`),
      ...((all["head"] as number) < this.#head ? [`events are gone: ${all["head"]} < ${this.#head}`] : []),
    ]
  }

  /** A process that starts remembers nothing of what the last one had in memory, and neither does this. */
  #replay(source: DatabaseSync): ReadonlyArray<string> {
    for (const projection of this.#projections) projection.forget()
    const faults: Array<string> = []
    const rows = source.prepare("SELECT * FROM events WHERE position > ? ORDER BY position").all(this.#head)
    for (let start = 0; start < rows.length; start += REPLAY_CHUNK) {
      const chunk = rows.slice(start, start + REPLAY_CHUNK)
      const events = chunk.map((row) => {
        this.#catalog.decodeChecked(row["type"] as string, row["revision"] as number, row["data"] as string)
        return fromRow(this.#catalog, row)
      })
      this.#replica.transaction(() => {
        for (const row of chunk)
          this.#replica.prepare(INSERT_EVENT).run(...(Object.values(row) as Array<SQLInputValue>))
        for (const projection of this.#projections) projection.project(this.#replica, events)
      })
      for (const event of events) faults.push(...this.#fold(event))
    }
    this.#head += rows.length
    return faults.slice(0, FAULTS_SHOWN)
  }

  #fold({ event, recordedAt, stream, version }: RecordedEvent): ReadonlyArray<string> {
    if (!isJobEvent(event)) return []
    const { state } = this.jobs.get(stream) ?? { state: absent }
    const fault = illegal(state, event)
    this.jobs.set(stream, { state: JobBehavior.evolve(state, event, recordedAt), version })
    if (event._tag === "JobStarted") this.started.add(`${stream} ${event.attempt}`)
    return fault === undefined ? [] : [`${stream} version ${version}, ${event._tag}: ${fault}`]
  }

  #compare(source: DatabaseSync): ReadonlyArray<string> {
    source.exec(`ATTACH '${this.#replicaFile}' AS replica`)
    const difference = (
      table: string,
      left: string,
      right: string,
    ): ReadonlyArray<Record<string, SQLOutputValue>> =>
      source
        .prepare(
          `SELECT * FROM ${left}.${table} EXCEPT SELECT * FROM ${right}.${table} LIMIT ${FAULTS_SHOWN}`,
        )
        .all()
    const faults: Array<string> = []
    for (const table of this.#projections.flatMap(({ dictionaries = [], tables }) => [
      ...tables,
      ...dictionaries,
    ])) {
      for (const row of difference(table, "main", "replica"))
        faults.push(`${table} has what no event made: ${JSON.stringify(row)}`)
      for (const row of difference(table, "replica", "main"))
        faults.push(`${table} lacks ${JSON.stringify(row)}`)
    }
    return faults
  }
}

/** What no job may go through: two leases at a time, a stale token, an attempt too many, a life after the end. */
const illegal = (state: JobState, event: JobEvent): string | undefined => {
  switch (event._tag) {
    case "JobEnqueued":
      return state.status === "absent" ? undefined : "enqueued twice"
    case "JobStarted":
      if (state.status !== "waiting") return `started while ${state.status}`
      if (event.attempt !== state.attempt + 1) return `attempt ${event.attempt} after ${state.attempt}`
      return state.failures < state.maxAttempts ? undefined : "more attempts than allowed"
    case "JobProgressed":
    case "JobStepCompleted":
    case "JobCompleted":
    case "JobAttemptFailed":
    case "JobStalled":
      if (state.status !== "processing") return `told while ${state.status}`
      return event.attempt === state.attempt
        ? undefined
        : `token ${event.attempt} while ${state.attempt} holds`
    case "JobRedriven":
      return isFinished(state) ? undefined : `redriven while ${state.status}`
    case "JobDeadLettered":
      return state.status === "processing" ? undefined : `dead while ${state.status}`
    default:
      return isFinished(state) || state.status === "absent" ? `changed while ${state.status}` : undefined
  }
}
