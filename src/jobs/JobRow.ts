/**
 * A row of the `jobs` table: what the queue must find again by index. It is a fold of the job's events, kept as small
 * integers; the payload and the id stay in the journal.
 */
import { type JobEvent, PRIORITIES, type Priority } from "./JobEvents.ts"

/** The codes of the `status` column. */
export const ROW_STATUS = {
  waiting: 0,
  processing: 1,
  completed: 2,
  dead_letter: 3,
  cancelled: 4,
  /** Waits for other jobs. */
  blocked: 5,
  /** Waits behind the first job of its concurrency key. */
  behind: 6,
} as const

export interface JobRow {
  /** Of the JobEnqueued event. */
  readonly position: number
  /** `queue_names.id` */
  readonly queue: number
  /** `job_types.id` */
  readonly type: number
  /** Index in `PRIORITIES`. */
  readonly priority: number
  readonly status: number
  readonly dueAt: number
  readonly attempt: number
  readonly finishedAt: number | null
  /** Only of the jobs that have such a thing. */
  readonly rare: RareColumns | undefined
}

/** Columns that most jobs leave empty. */
export interface RareColumns {
  readonly concurrencyKey: string | null
  readonly expiresAt: number | null
}

/** A row before and after an append. */
export interface RowChange {
  readonly stream: string
  readonly before: JobRow | undefined
  after: JobRow
}

/** The code of the `priority` column. */
export const priorityCode = (priority: Priority): number => PRIORITIES.indexOf(priority)

/** The row after an event other than the first. The same object: the event does not concern the row. */
export const evolveRow = (row: JobRow, event: JobEvent, at: number): JobRow => {
  switch (event._tag) {
    case "JobStarted":
      return { ...row, status: ROW_STATUS.processing, attempt: event.attempt }
    case "JobCompleted":
      return { ...row, status: ROW_STATUS.completed, finishedAt: at }
    case "JobAttemptFailed":
    case "JobStalled":
      return event.retry_at === null ? row : { ...row, status: ROW_STATUS.waiting, dueAt: event.retry_at }
    case "JobDeadLettered":
      return { ...row, status: ROW_STATUS.dead_letter, finishedAt: at }
    case "JobCancelled":
      return { ...row, status: ROW_STATUS.cancelled, finishedAt: at }
    case "JobRedriven":
      return {
        ...row,
        status: ROW_STATUS.waiting,
        dueAt: event.due_at,
        finishedAt: null,
        rare: row.rare && { ...row.rare, expiresAt: null },
      }
    case "JobReleased":
      return { ...row, status: ROW_STATUS.waiting, dueAt: event.due_at }
    case "JobRescheduled":
      return { ...row, dueAt: event.due_at }
    case "JobReprioritized":
      return { ...row, priority: priorityCode(event.priority) }
    case "JobEnqueued":
    case "JobProgressed":
    case "JobStepCompleted":
    case "JobLogged":
    case "JobDependencyEnded":
      return row
  }
}
