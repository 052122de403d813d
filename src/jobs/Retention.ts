/**
 * How long finished jobs stay in the journal: completed and cancelled ones that ended long enough ago move to the archive,
 * oldest first, where they can still be read. Dead letters stay, since they can be redriven; so does a job that another
 * one still waits for, and everything that is not a job.
 */
import { Cause, Clock, Context, Duration, Effect, Layer } from "effect"
import { addMoved, JournalArchive, type Leaving, type Moved, NOTHING_MOVED } from "../journal/Archiving.ts"
import type { ArchiveError } from "../journal/ArchiveError.ts"
import type { JournalError } from "../journal/Journal.ts"
import type { PoolError } from "../sqlite/PoolError.ts"
import { ReaderPool } from "../sqlite/ReaderPool.ts"

/** No job leaves sooner: whoever has just followed one to its end may still ask for it, and lists show it. */
export const ARCHIVE_AFTER_MIN: Duration.Input & string = "1 minute"
/** The server looks for old jobs this often, first a moment after its start. */
const INTERVAL: Duration.Input = "1 hour"
const FIRST_RUN_AFTER: Duration.Input = "1 minute"
/** After a run that failed. */
const RETRY_AFTER: Duration.Input = "5 minutes"
/** Rows of `jobs` that one query looks at. */
const ROWS_PER_PAGE = 2_000
/** Jobs that are gathered before they move: enough for full blocks, few enough to be held in memory. */
const MOVED_TOGETHER = 2_000

/**
 * The next rows of `jobs` in the order of enqueueing: the ripe ones, and the last one whatever it is, to go on from. Index:
 * the primary key, as many rows as the page has; each of the answer costs two seeks in events,
 * and each of the page one in job_dependencies.
 */
export const SELECT_RIPE = `WITH page AS MATERIALIZED (
    SELECT position, status, finished_at FROM jobs WHERE position > ? ORDER BY position LIMIT ${ROWS_PER_PAGE}
  )
  SELECT p.position, e.stream, e.recorded_at,
    p.status IN (2, 4) AND p.finished_at < ?
      AND NOT EXISTS (SELECT 1 FROM job_dependencies WHERE dependency = p.position) AS ripe,
    (SELECT max(version) FROM events WHERE stream = e.stream) AS version
  FROM page p CROSS JOIN events e ON e.position = p.position
  WHERE ripe OR p.position = (SELECT max(position) FROM page)`

/** What a run has done, or would do. */
export interface RetentionReport extends Moved {
  /** Jobs that were old enough: so many streams move, but for those that stayed or could not be read. */
  readonly ripe: number
}

export type RetentionError = ArchiveError | JournalError | PoolError

export class Retention extends Context.Service<
  Retention,
  {
    /** Moves the jobs that ended longer ago than `olderThan`; with `dryRun` it only counts them. */
    readonly run: (options: {
      readonly olderThan: Duration.Input
      readonly dryRun?: boolean | undefined
      /** Told how many have been dealt with so far. */
      readonly onMoved?: ((jobs: number) => void) | undefined
    }) => Effect.Effect<RetentionReport, RetentionError>
  }
>()("renderowl/jobs/Retention") {
  static readonly layer: Layer.Layer<Retention, never, JournalArchive | ReaderPool> = Layer.effect(
    Retention,
    Effect.gen(function* () {
      const archive = yield* JournalArchive
      const pool = yield* ReaderPool

      /** The ripe jobs after a position, and where to go on; undefined at the end. */
      const page = Effect.fnUntraced(function* (after: number, endedBefore: number) {
        const rows = yield* pool.query(SELECT_RIPE, [after, endedBefore])
        const last = Math.max(after, ...rows.map((row) => row["position"] as number))
        // No job ends before it was enqueued: what was enqueued from then on cannot be old enough.
        const isOver = rows.every(
          (row) => row["position"] !== last || (row["recorded_at"] as number) >= endedBefore,
        )
        return {
          streams: rows
            .filter((row) => row["ripe"] === 1)
            .sort((a, b) => (a["position"] as number) - (b["position"] as number))
            .map((row): Leaving => ({ stream: row["stream"] as string, version: row["version"] as number })),
          next: isOver ? undefined : last,
        }
      })

      const run: Retention["Service"]["run"] = Effect.fn("Retention.run")(function* ({
        dryRun,
        olderThan,
        onMoved,
      }) {
        const endedBefore = (yield* Clock.currentTimeMillis) - Duration.toMillis(olderThan)
        let ripe = 0
        let moved = NOTHING_MOVED
        let waiting: Array<Leaving> = []
        let position: number | undefined = 0
        while (position !== undefined) {
          const { next, streams }: Effect.Success<ReturnType<typeof page>> = yield* page(
            position,
            endedBefore,
          )
          position = next
          ripe += streams.length
          if (dryRun === true) continue
          waiting.push(...streams)
          if (waiting.length === 0 || (waiting.length < MOVED_TOGETHER && next !== undefined)) continue
          moved = addMoved(moved, yield* archive.move(waiting))
          waiting = []
          onMoved?.(ripe)
        }
        return { ripe, ...moved }
      })

      return Retention.of({ run })
    }),
  )

  /** Runs every hour for as long as the layer lives. A run that fails is logged and tried again. */
  static readonly hourly = (olderThan: Duration.Input): Layer.Layer<never, never, Retention> =>
    Layer.effectDiscard(
      Effect.gen(function* () {
        const retention = yield* Retention
        const turn = retention.run({ olderThan }).pipe(
          Effect.tap(told),
          Effect.as(INTERVAL),
          Effect.catchCause((cause) =>
            Cause.hasInterruptsOnly(cause)
              ? Effect.failCause(cause)
              : Effect.as(Effect.logError("old jobs were not archived", cause), RETRY_AFTER),
          ),
          Effect.flatMap((pause) => Effect.sleep(pause)),
        )
        yield* Effect.forkScoped(Effect.andThen(Effect.sleep(FIRST_RUN_AFTER), Effect.forever(turn)))
      }),
    )
}

const told = ({ bytes, compressedBytes, firstUnreadable, streams, unreadable }: RetentionReport) =>
  Effect.gen(function* () {
    if (unreadable > 0)
      yield* Effect.logWarning("jobs stay in the journal, since this release cannot read them", {
        jobs: unreadable,
        first: firstUnreadable,
      })
    if (streams > 0)
      yield* Effect.logInfo("old jobs were archived", { jobs: streams, bytes, compressedBytes })
  })
