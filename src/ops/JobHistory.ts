/**
 * The history of one job, read straight from the files: page by page, so that a long one takes no memory, and beside
 * whoever owns the database. It can go on until the job ends.
 */
import { Effect, Result, Schema, Stream } from "effect"
import type { SqlError } from "effect/sql/SqlError"
import type { Archive } from "../journal/Archive.ts"
import { EventCatalog } from "../journal/DomainEvent.ts"
import type { RecordedEvent } from "../journal/Journal.ts"
import { StreamReader } from "../journal/StreamReader.ts"
import { isJobEvent, type JobEvent, jobEventTypes } from "../jobs/JobEvents.ts"
import * as TypeId from "../security/TypeId.ts"
import type { SqliteDatabase } from "../sqlite/SqliteDatabase.ts"
import { resultCodeOf, toSqlError } from "../sqlite/SqliteError.ts"
import type { JobTimeline, TimelineEntry } from "./JobTimeline.ts"

/** Events read at a time. */
const PAGE_EVENTS = 256
/** How often a followed job is looked at. */
const POLL_INTERVAL = "200 millis"

/** This is no id of a job. */
export class NotAJobId extends Schema.TaggedError<NotAJobId>()("NotAJobId", { given: Schema.String }) {
  override get message(): string {
    return `${JSON.stringify(this.given.slice(0, 100))} is not the id of a job; one looks like job_01k8w3e5r7fm2vx9q4ztd6yhbn`
  }
}

/** Nothing is known of this job. */
export class UnknownJob extends Schema.TaggedError<UnknownJob>()("UnknownJob", {
  id: Schema.String,
  filename: Schema.String,
}) {
  override get message(): string {
    return `there is no job ${this.id} in ${this.filename}`
  }
}

/** An event of the job cannot be read by this release. */
export class UnreadableHistory extends Schema.TaggedError<UnreadableHistory>()("UnreadableHistory", {
  id: Schema.String,
  detail: Schema.String,
}) {
  override get message(): string {
    return `the history of ${this.id} cannot be read: ${this.detail}`
  }
}

const isJobId = Schema.is(TypeId.schema("job"))
const isRenderId = Schema.is(TypeId.schema("rnd"))

/** The job that an id of a job or of a render stands for. */
export const jobIdOf = (given: string): Result.Result<string, NotAJobId> => {
  if (isJobId(given)) return Result.succeed(given)
  return isRenderId(given)
    ? Result.succeed(TypeId.withPrefix(given, "job"))
    : Result.fail(new NotAJobId({ given }))
}

/** Where streams are read. What it throws is a `SqlError` if it comes from SQLite. */
export interface StreamSource {
  /** Where it is, for people. */
  readonly filename: string
  readonly read: (
    stream: string,
    range: { readonly afterVersion: number; readonly limit: number },
  ) => ReadonlyArray<RecordedEvent>
}

/** The journal in a database and the archive beside it, for streams of jobs. */
export const jobStreamsOf = (db: SqliteDatabase, archive: Archive): StreamSource => {
  const streams = new StreamReader({ journal: db, archive, catalog: new EventCatalog(jobEventTypes) })
  return { filename: db.filename, read: (stream, range) => streams.read(stream, range) }
}

type HistoryError = SqlError | UnknownJob | UnreadableHistory

/**
 * The entries of a job's timeline, oldest first, taken in by `timeline`. With `follow` the stream goes on until the job
 * ends; it fails when the job has no events.
 */
export const history = (
  source: StreamSource,
  id: string,
  timeline: JobTimeline,
  options: { readonly follow: boolean },
): Stream.Stream<TimelineEntry, HistoryError> => {
  const page = Effect.suspend((): Effect.Effect<ReadonlyArray<TimelineEntry>, HistoryError> => {
    const range = { afterVersion: timeline.version, limit: PAGE_EVENTS }
    return Effect.try({
      try: () =>
        source
          .read(id, range)
          .filter((recorded): recorded is RecordedEvent<JobEvent> => isJobEvent(recorded.event))
          .map((recorded) => timeline.take(recorded)),
      catch: (cause) => errorOf(id, cause),
    })
  })

  const more: Effect.Effect<ReadonlyArray<TimelineEntry> | undefined, HistoryError> = Effect.flatMap(
    page,
    (entries) => {
      if (entries.length > 0) return Effect.succeed(entries)
      if (timeline.version === 0) return Effect.fail(new UnknownJob({ id, filename: source.filename }))
      if (!options.follow || timeline.isFinished) return Effect.succeed(undefined)
      return Effect.andThen(Effect.sleep(POLL_INTERVAL), more)
    },
  )

  return Stream.fromEffectRepeat(more).pipe(
    Stream.takeWhile((entries) => entries !== undefined),
    Stream.flattenIterable,
  )
}

const errorOf = (id: string, cause: unknown): SqlError | UnreadableHistory =>
  resultCodeOf(cause) === undefined
    ? new UnreadableHistory({ id, detail: cause instanceof Error ? cause.message : String(cause) })
    : toSqlError(cause, `read ${id}`)
