/**
 * Following one job live: its events from the journal as they are committed, and its progress as the handler tells it.
 */
import { Effect, Stream } from "effect"
import type { Journal, JournalError } from "../journal/Journal.ts"
import type { JobNotFound } from "./JobErrors.ts"
import type { JobEvent } from "./JobEvents.ts"
import { isFinished, type ProgressRecord } from "./JobState.ts"
import type { LiveProgress } from "./LiveProgress.ts"
import type { VersionedJob } from "./Turn.ts"

/** What following a job live tells. */
export type JobUpdate =
  | { readonly _tag: "Event"; readonly version: number; readonly at: number; readonly event: JobEvent }
  | { readonly _tag: "Progress"; readonly progress: ProgressRecord }

export interface JobFeedServices {
  readonly journal: Journal["Service"]
  readonly live: LiveProgress
  readonly load: (id: string) => Effect.Effect<VersionedJob, JobNotFound | JournalError>
}

/** The job's events after a version and its live progress; ends after the event that ends the job. */
export const follow = (
  id: string,
  afterVersion: number,
  { journal, live, load }: JobFeedServices,
): Stream.Stream<JobUpdate, JobNotFound | JournalError> =>
  Stream.unwrap(
    Effect.map(load(id), ({ state, version }) => {
      // Nobody has seen what has not happened: from a version to come the end would be missed.
      const seen = Math.min(afterVersion, version)
      // Whoever has already seen the end gets nothing more; everyone else reads up to it.
      if (isFinished(state) && seen === version) return Stream.empty
      const events = journal.subscribeStream(id, { afterVersion: seen }).pipe(
        Stream.map(
          ({ version, recordedAt, event }): JobUpdate => ({
            _tag: "Event",
            version,
            at: recordedAt,
            event: event as JobEvent,
          }),
        ),
      )
      const progress = Stream.map(live.follow(id), (progress): JobUpdate => ({ _tag: "Progress", progress }))
      // A job that was redriven has ended before: only an end from here on is the end.
      return Stream.merge(events, progress).pipe(
        Stream.takeUntil(
          (update) => update._tag === "Event" && update.version >= version && isEnd(update.event),
        ),
      )
    }),
  )

const isEnd = ({ _tag }: JobEvent): boolean =>
  _tag === "JobCompleted" || _tag === "JobDeadLettered" || _tag === "JobCancelled"
