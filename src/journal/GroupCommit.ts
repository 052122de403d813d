/**
 * The journal's one writer. Appends that arrive within the same turn of the event loop (the same step, where they have been
 * gathered before) are committed together: every event row and every inline projection row in one transaction, and only then is anybody answered. An append that
 * cannot be applied (a version conflict) fails alone; a commit that fails, fails them all and leaves nothing behind.
 */
import { Effect, Exit, type Semaphore } from "effect"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { isDiskFull, isUniqueViolation } from "../sqlite/SqliteError.ts"
import type { Observer } from "../telemetry/Observer.ts"
import { type Archive, archivedTotals, mayHaveLeft } from "./Archive.ts"
import type { StoredStream } from "./ArchiveBlock.ts"
import type { EventCatalog } from "./DomainEvent.ts"
import { insertEvents, SELECT_HEAD, SELECT_MISSING_VERSIONS, SELECT_VERSION } from "./EventRows.ts"
import type { InlineProjection } from "./InlineProjection.ts"
import {
  JournalError,
  type RecordedEvent,
  StoreFailed,
  StoreFull,
  type StreamAppend,
  VersionConflict,
} from "./Journal.ts"
import { removeStreams } from "./StreamRemoval.ts"

/** Events that one transaction takes at most, unless a single append holds more. The rest waits one turn. */
const MAX_EVENTS_PER_COMMIT = 8_192
/** Streams whose last version is remembered at least, so that most appends need no look-up. About 100 bytes each. */
const VERSIONS_REMEMBERED = 4_000

/** Events of a commit whose traces are told, and traces. */
const TRACED_EVENTS_MAX = 256
const TRACES_MAX = 16

type Answer = (exit: Exit.Exit<ReadonlyArray<RecordedEvent>, JournalError>) => void

interface PendingAppend {
  readonly appends: ReadonlyArray<StreamAppend>
  readonly recordedAt: number
  readonly size: number
  readonly answer: Answer
}

/** What the writer has done, for metrics. */
export interface CommitStats {
  readonly commits: number
  readonly events: number
  readonly failures: number
}

/** Collects appends and commits them in groups. It is bounded by its callers: an actor has one append under way. */
export class GroupCommit {
  readonly #db: SqliteDatabase
  readonly #writeLock: Semaphore.Semaphore
  readonly #archive: Archive
  readonly #commitNext: Effect.Effect<void>
  readonly #catalog: EventCatalog
  readonly #projections: ReadonlyArray<InlineProjection>
  readonly #onCommit: (events: ReadonlyArray<RecordedEvent>) => void
  readonly #observer: Observer
  /** When the commit under way began, by `performance.now()`. */
  #startedAt = 0
  #pending: Array<PendingAppend> = []
  /** Whether there will be a commit after this turn of the event loop, and one after the step under way. */
  #isScheduled = false
  #isScheduledSoon = false
  #isCommitting = false
  #closed = false
  #head: number
  /** Last versions of streams, as they would be if the transaction under way commits; in two generations. */
  #versions = new Map<string, number>()
  #olderVersions = new Map<string, number>()
  /** What has left for the archive. */
  #archived
  #stats = { commits: 0, events: 0, failures: 0 }

  constructor(options: {
    readonly db: SqliteDatabase
    /** Held while a transaction is open: others write to the same file. */
    readonly writeLock: Semaphore.Semaphore
    readonly catalog: EventCatalog
    readonly projections: ReadonlyArray<InlineProjection>
    readonly archive: Archive
    readonly onCommit: (events: ReadonlyArray<RecordedEvent>) => void
    readonly observer: Observer
  }) {
    this.#db = options.db
    this.#writeLock = options.writeLock
    this.#archive = options.archive
    this.#archived = archivedTotals(options.db)
    this.#commitNext = options.writeLock.withPermit(
      Effect.sync(() => {
        this.#isScheduled = this.#isScheduledSoon = false
        this.#isCommitting = true
        if (this.#pending.length > 0) this.#flush()
        if (this.#pending.length > 0) this.#schedule()
        this.#isCommitting = false
      }),
    )
    this.#catalog = options.catalog
    this.#projections = options.projections
    this.#onCommit = options.onCommit
    this.#observer = options.observer
    this.#head = options.db.prepare(SELECT_HEAD).get()!["position"] as number
  }

  /** The position of the last durable event. */
  get head(): number {
    return this.#head
  }

  get stats(): CommitStats {
    return { ...this.#stats }
  }

  /** Submits an append; the effect ends when its transaction has. */
  append(
    appends: ReadonlyArray<StreamAppend>,
    recordedAt: number,
    hasGathered = false,
  ): Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError> {
    return Effect.callback<ReadonlyArray<RecordedEvent>, JournalError>((resume) => {
      if (this.#closed) return resume(Effect.fail(storeFailed(new Error("the journal is closed"))))
      let size = 0
      for (const append of appends) size += append.events.length
      this.#pending.push({ appends, recordedAt, size, answer: resume })
      this.#schedule(hasGathered)
    })
  }

  /**
   * Takes whole streams out of the journal, with the rows that projections made of them, in one transaction: the archive
   * has them. Answers those that went; one that was written to since it was read stays.
   */
  remove(streams: ReadonlyArray<StoredStream>): Effect.Effect<ReadonlyArray<StoredStream>, JournalError> {
    return this.#writeLock.withPermit(
      Effect.try({
        try: () => {
          if (this.#closed) throw new Error("the journal is closed")
          const gone = removeStreams(this.#db, this.#catalog, this.#projections, streams)
          for (const { stream } of gone) {
            this.#versions.delete(stream)
            this.#olderVersions.delete(stream)
          }
          this.#archived = archivedTotals(this.#db)
          return gone
        },
        catch: (cause) => {
          this.#forget()
          return isDiskFull(cause) ? storeFull(cause) : storeFailed(cause)
        },
      }),
    )
  }

  /** Commits what is pending and refuses what comes later. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      this.#closed = true
      return Effect.whileLoop({
        while: () => this.#pending.length > 0,
        body: () => this.#commitNext,
        step: () => {},
      })
    })
  }

  /**
   * After every fiber that is ready in this turn of the event loop has had its own, so that all of them share one fsync; where they
   * have gathered already, after the step under way. What a commit itself gives rise to waits until the event loop has looked after
   * everything else.
   */
  #schedule(isSoon = false): void {
    const commit = () => void Effect.runFork(this.#commitNext)
    if (isSoon && !this.#isCommitting) {
      if (this.#isScheduledSoon) return
      this.#isScheduledSoon = true
      queueMicrotask(commit)
    } else if (!this.#isScheduled) {
      this.#isScheduled = true
      setImmediate(commit)
    }
  }

  #takeGroup(): Array<PendingAppend> {
    let events = 0
    let count = 0
    while (count < this.#pending.length) {
      events += this.#pending[count]!.size
      if (count > 0 && events > MAX_EVENTS_PER_COMMIT) break
      count++
    }
    if (count === this.#pending.length) {
      const all = this.#pending
      this.#pending = []
      return all
    }
    return this.#pending.splice(0, count)
  }

  #flush(): void {
    const group = this.#takeGroup()
    this.#startedAt = performance.now()
    try {
      this.#commitTogether(group)
    } catch (cause) {
      this.#forget()
      // One bad append must not fail its neighbours: find it by giving each a savepoint. This path costs more and
      // is rare, so the ordinary one carries no savepoints at all.
      if (group.length > 1 || isConflict(cause)) this.#commitSeparately(group)
      else this.#refuse(group, cause)
    }
  }

  /** The ordinary path: one insert pass and one projection pass over the whole group. */
  #commitTogether(group: ReadonlyArray<PendingAppend>): void {
    const recorded: Array<RecordedEvent> = []
    const ends: Array<number> = []
    let position = this.#head
    const unseen = new Map<string, number>()
    for (const pending of group) {
      position = this.#record(pending, position, recorded, unseen)
      ends.push(recorded.length)
    }
    this.#requireVersions(unseen)
    this.#db.transaction(() => this.#apply(recorded))
    this.#committed(recorded)
    group.forEach((pending, i) =>
      pending.answer(Exit.succeed(group.length === 1 ? recorded : recorded.slice(ends[i - 1] ?? 0, ends[i]))),
    )
  }

  #commitSeparately(group: ReadonlyArray<PendingAppend>): void {
    const all: Array<RecordedEvent> = []
    const answers: Array<() => void> = []
    try {
      this.#db.transaction(() => {
        let position = this.#head
        for (const pending of group) {
          const recorded: Array<RecordedEvent> = []
          this.#db.exec("SAVEPOINT append")
          try {
            const unseen = new Map<string, number>()
            const end = this.#record(pending, position, recorded, unseen)
            this.#requireVersions(unseen)
            this.#apply(recorded)
            this.#db.exec("RELEASE append")
            position = end
          } catch (cause) {
            // Some errors end the whole transaction; then there is nothing left to save.
            if (!this.#db.isTransaction) throw cause
            this.#db.exec("ROLLBACK TO append; RELEASE append")
            this.#forget()
            const refusal = this.#refusalOf(pending, cause)
            answers.push(() => pending.answer(Exit.fail(refusal)))
            continue
          }
          for (const event of recorded) all.push(event)
          answers.push(() => pending.answer(Exit.succeed(recorded)))
        }
      })
    } catch (cause) {
      this.#forget()
      return this.#refuse(group, cause)
    }
    this.#committed(all)
    for (const answer of answers) answer()
  }

  /**
   * Gives the events of an append their versions and positions; answers the last position used. A version that does
   * not exist yet is refused, since it would leave a gap: here, or later when it is `unseen`. One that is taken is
   * refused by the unique index, or by the archive where the stream is there.
   */
  #record(
    pending: PendingAppend,
    after: number,
    into: Array<RecordedEvent>,
    unseen: Map<string, number>,
  ): number {
    const { recordedAt } = pending
    let position = after
    for (const { stream, expectedVersion, events, metadata, requires } of pending.appends) {
      if (expectedVersion > 0) {
        const known = this.#versions.get(stream) ?? this.#olderVersions.get(stream)
        if (known === undefined) unseen.set(stream, expectedVersion)
        else if (known !== expectedVersion) throw versionConflict(stream, expectedVersion)
      } else if (mayHaveLeft(this.#archived, stream) && this.#archive.has(this.#archived, stream)) {
        throw versionConflict(stream, expectedVersion)
      }
      if (requires !== undefined) this.#require(requires, unseen)
      let version = expectedVersion
      for (const event of events) {
        into.push({ position: ++position, stream, version: ++version, recordedAt, metadata, event })
      }
      this.#versions.set(stream, version)
    }
    if (this.#versions.size > VERSIONS_REMEMBERED) {
      this.#olderVersions = this.#versions
      this.#versions = new Map()
    }
    return position
  }

  /** Notes streams that must be there and are not known to be: those of the transaction under way are. */
  #require(streams: ReadonlyArray<string>, unseen: Map<string, number>): void {
    for (const stream of streams) {
      const isKnown = this.#versions.has(stream) || this.#olderVersions.has(stream) || unseen.has(stream)
      if (!isKnown) unseen.set(stream, 1)
    }
  }

  /** Refuses versions that the journal does not have. */
  #requireVersions(versions: ReadonlyMap<string, number>): void {
    if (versions.size === 0) return
    const json = JSON.stringify(Object.fromEntries(versions))
    const missing = this.#db.prepare(SELECT_MISSING_VERSIONS).get(json)
    if (missing === undefined) return
    throw versionConflict(missing["stream"] as string, missing["version"] as number)
  }

  #storedVersionOf(stream: string): number {
    return this.#db.prepare(SELECT_VERSION).get(stream)!["version"] as number
  }

  #apply(recorded: ReadonlyArray<RecordedEvent>): void {
    insertEvents(this.#db, this.#catalog, recorded)
    for (const projection of this.#projections) projection.project(this.#db, recorded)
  }

  #committed(recorded: ReadonlyArray<RecordedEvent>): void {
    // Every append of the group was refused.
    if (recorded.length === 0) return
    this.#head += recorded.length
    this.#stats.commits++
    this.#stats.events += recorded.length
    this.#tell(recorded)
    this.#onCommit(recorded)
  }

  #tell(recorded: ReadonlyArray<RecordedEvent>, cause?: unknown): void {
    if (!this.#observer.hears("database")) return
    const traces = new Set<string>()
    for (let i = 0; i < recorded.length && i < TRACED_EVENTS_MAX && traces.size < TRACES_MAX; i++) {
      const traceparent = recorded[i]!.metadata?.traceparent
      if (traceparent !== undefined) traces.add(traceparent)
    }
    this.#observer.tell("database", {
      name: "COMMIT",
      ok: cause === undefined,
      cause,
      startedAt: performance.timeOrigin + this.#startedAt,
      durationMs: performance.now() - this.#startedAt,
      sql: undefined,
      rows: undefined,
      events: recorded.length,
      traces: [...traces],
      parent: undefined,
    })
  }

  #refuse(group: ReadonlyArray<PendingAppend>, cause: unknown): void {
    this.#stats.failures++
    this.#tell([], cause)
    const exit = Exit.fail(isDiskFull(cause) ? storeFull(cause) : storeFailed(cause))
    for (const pending of group) pending.answer(exit)
  }

  /** Inside the transaction: a version that is there already is a conflict; everything else is the store's fault. */
  #refusalOf(pending: PendingAppend, cause: unknown): JournalError {
    if (cause instanceof JournalError) return cause
    if (isUniqueViolation(cause)) {
      const seen = new Set<string>()
      for (const { stream, expectedVersion } of pending.appends) {
        if (seen.has(stream)) continue
        seen.add(stream)
        if (this.#storedVersionOf(stream) !== expectedVersion) return versionConflict(stream, expectedVersion)
      }
    }
    return isDiskFull(cause) ? storeFull(cause) : storeFailed(cause)
  }

  #forget(): void {
    this.#versions = new Map()
    this.#olderVersions = new Map()
    for (const projection of this.#projections) projection.forget()
  }
}

const storeFull = (cause: unknown) => new JournalError({ reason: new StoreFull({ cause }) })
const storeFailed = (cause: unknown) => new JournalError({ reason: new StoreFailed({ cause }) })
const versionConflict = (stream: string, expectedVersion: number) =>
  new JournalError({ reason: new VersionConflict({ stream, expectedVersion }) })

/** What only the append itself is to blame for. */
const isConflict = (cause: unknown) => cause instanceof JournalError || isUniqueViolation(cause)
