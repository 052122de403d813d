/**
 * What is looked up in the table of schedules: who is due, who is next, and lists for people.
 */
import { Context, Effect, Layer } from "effect"
import { JournalError, StoreFailed } from "../../journal/Journal.ts"
import { limitTo } from "../../sqlite/Limit.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"

/** Index: schedules_due; each id costs one primary-key look-up. */
export const SELECT_DUE = `SELECT e.stream
  FROM schedules s INDEXED BY schedules_due CROSS JOIN events e ON e.position = s.position
  WHERE s.paused = 0 AND s.next_tick_at <= ? ORDER BY s.next_tick_at ${limitTo()}`
/** Index: schedules_due, one seek. */
export const SELECT_NEXT = `SELECT min(next_tick_at) AS next_tick_at FROM schedules INDEXED BY schedules_due
  WHERE paused = 0 AND next_tick_at > ?`
/** Index: the primary key, backwards; each id costs one primary-key look-up. */
export const SELECT_SCHEDULES = `SELECT s.position, e.stream
  FROM schedules s CROSS JOIN events e ON e.position = s.position
  WHERE s.position < ? ORDER BY s.position DESC ${limitTo()}`
/** Ticks whose job is not there. Looks through all schedules, which are bounded, once at a start. */
const SELECT_UNSUBMITTED = `SELECT e.stream, s.owed_job
  FROM schedules s CROSS JOIN events e ON e.position = s.position WHERE s.owed_job IS NOT NULL`
const COUNT = "SELECT count(*) AS schedules FROM schedules"

/** One entry of a list: the id, and the position to go on from. */
export interface ListedSchedule {
  readonly id: string
  readonly position: number
}

export class ScheduleStore extends Context.Service<
  ScheduleStore,
  {
    /** At most `limit` schedules that have a tick at `now` or before, the longest due first. */
    readonly due: (now: number, limit: number) => Effect.Effect<ReadonlyArray<string>, JournalError>
    /** The earliest tick after `now`; infinity when there is none. */
    readonly nextTickAfter: (now: number) => Effect.Effect<number, JournalError>
    /** Schedules whose newest tick has no job yet, and the id that it is to have. */
    readonly unsubmitted: Effect.Effect<
      ReadonlyArray<{ readonly id: string; readonly jobId: string }>,
      JournalError
    >
    /** At most `limit` schedules that were created before the one at the position `before`. */
    readonly page: (page: {
      readonly before: number
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<ListedSchedule>, JournalError>
    readonly count: Effect.Effect<number, JournalError>
  }
>()("renderowl/jobs/schedules/ScheduleStore") {
  static readonly layer = Layer.effect(
    ScheduleStore,
    Effect.gen(function* () {
      const { reader } = yield* SqliteClient

      const read = <A>(f: () => A): Effect.Effect<A, JournalError> =>
        Effect.try({ try: f, catch: (cause) => new JournalError({ reason: new StoreFailed({ cause }) }) })

      return ScheduleStore.of({
        due: (now, limit) =>
          read(() =>
            reader
              .prepare(SELECT_DUE)
              .all(now, limit)
              .map((row) => row["stream"] as string),
          ),
        nextTickAfter: (now) =>
          read(() => {
            const next = reader.prepare(SELECT_NEXT).get(now)?.["next_tick_at"]
            return typeof next === "number" ? next : Number.POSITIVE_INFINITY
          }),
        unsubmitted: read(() =>
          reader
            .prepare(SELECT_UNSUBMITTED)
            .all()
            .map((row) => ({ id: row["stream"] as string, jobId: row["owed_job"] as string })),
        ),
        page: ({ before, limit }) =>
          read(() =>
            reader
              .prepare(SELECT_SCHEDULES)
              .all(before, limit)
              .map((row) => ({ id: row["stream"] as string, position: row["position"] as number })),
          ),
        count: read(() => reader.prepare(COUNT).get()!["schedules"] as number),
      })
    }),
  )
}
