/**
 * How far a long command is, on standard error: a bar that is drawn over itself on a terminal, a plain line now and then
 * everywhere else. Standard output is left to the result.
 */

/** A step of a task: `done` of `total`. */
export interface Progress {
  readonly task: string
  readonly done: number
  readonly total: number
  /** What else there is to say. */
  readonly note?: string | undefined
}

export type OnProgress = (progress: Progress) => void

const BAR_CHARACTERS = 30
/** A bar need not be smoother than this. */
const REDRAW_MS = 100
/** A log need not know more often. */
const LINE_MS = 5_000
const CLEAR_LINE = "\r\u001B[2K"

/** Where progress is shown. */
export interface ProgressSink {
  readonly isTTY?: boolean
  readonly write: (text: string) => unknown
}

/** Shows progress; `close` wipes what is left of a bar. `now` in milliseconds, from any start. */
export const showProgress = (
  sink: ProgressSink,
  now: () => number = () => performance.now(),
): { readonly onProgress: OnProgress; readonly close: () => void } => {
  const isTerminal = sink.isTTY === true
  let task = ""
  let shownAt = 0
  return {
    onProgress: (progress) => {
      const isNew = progress.task !== task
      if (!isNew && now() - shownAt < (isTerminal ? REDRAW_MS : LINE_MS)) return
      task = progress.task
      shownAt = now()
      sink.write(isTerminal ? CLEAR_LINE + bar(progress) : `${line(progress)}\n`)
    },
    close: () => {
      if (isTerminal && task !== "") sink.write(CLEAR_LINE)
    },
  }
}

const fraction = ({ done, total }: Progress): number => (total === 0 ? 1 : Math.min(1, done / total))

const amount = ({ done, total }: Progress): string =>
  total <= 1 ? "" : ` ${done.toLocaleString("en")} of ${total.toLocaleString("en")}`

const noted = ({ note }: Progress): string => (note === undefined ? "" : `: ${note}`)

const bar = (progress: Progress): string => {
  const full = Math.round(fraction(progress) * BAR_CHARACTERS)
  const percent = String(Math.floor(fraction(progress) * 100)).padStart(3)
  return `${"█".repeat(full)}${"░".repeat(BAR_CHARACTERS - full)} ${percent} % ${progress.task}${amount(progress)}${noted(progress)}`
}

const line = (progress: Progress): string => `${progress.task}${amount(progress)}${noted(progress)}`
