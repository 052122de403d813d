/**
 * A timeline as it is printed: one line an event in aligned columns, then the sums; or the same as JSON, one object a line.
 * Whatever users wrote stays on its line and cannot steer the terminal.
 */
import type { JobStatus } from "../jobs/JobState.ts"
import { inWords } from "./EventWords.ts"
import type { TimelineEntry, TimelineSummary, Tone } from "./JobTimeline.ts"

/** Characters of what happened, in words. */
const WORDS_MAX = 300

/** How text can be painted. */
export type Paint = (style: "dim" | "bold" | "green" | "red" | "yellow", text: string) => string

/** No colours at all. */
export const PLAIN: Paint = (_style, text) => text

const STYLES = { good: "green", bad: "red", attention: "yellow" } as const

const painted = (paint: Paint, tone: Tone, text: string): string =>
  tone === "plain" ? text : paint(STYLES[tone], text)

const SUMMARY_TONES: Record<JobStatus, Tone> = {
  scheduled: "plain",
  pending: "plain",
  processing: "attention",
  completed: "good",
  dead_letter: "bad",
  cancelled: "bad",
}

/** The line above the entries. */
export const headline = (id: string, paint: Paint): string => paint("bold", id)

/** Widths of the columns before the words, and of what stands between two columns. */
const TIME_WIDTH = 24
const SINCE_WIDTH = 14
const ATTEMPT_WIDTH = 4
const TYPE_WIDTH = 18
const GAP = "  "
/** Where further lines of the same event begin. */
const INDENT = " ".repeat(TIME_WIDTH + SINCE_WIDTH + ATTEMPT_WIDTH + TYPE_WIDTH + 4 * GAP.length)

/** When, how long after the first event, which attempt, what; further words on lines of their own. */
export const entryLines = (entry: TimelineEntry, paint: Paint): ReadonlyArray<string> => {
  const { attempt, recorded, sinceStartMs, tone, words } = entry
  const { event, recordedAt } = recorded
  const [first = "", ...others] = words.map(printable)
  const columns = [
    paint("dim", new Date(recordedAt).toISOString().padEnd(TIME_WIDTH)),
    paint("dim", `+${inWords(sinceStartMs)}`.padStart(SINCE_WIDTH)),
    (attempt === undefined ? "" : `#${attempt}`).padStart(ATTEMPT_WIDTH),
    painted(paint, tone, event._tag.padEnd(TYPE_WIDTH)),
    first,
  ]
  return [columns.join(GAP), ...others.map((line) => INDENT + line)]
}

/** The sums. */
export const summaryLines = (summary: TimelineSummary, paint: Paint): ReadonlyArray<string> => {
  const { attempts, error, maxAttempts, processingMs, status, steps, totalMs, waitMs } = summary
  const stepsDone = steps === 0 ? "" : `, ${steps} ${steps === 1 ? "step" : "steps"} done`
  return [
    `${painted(paint, SUMMARY_TONES[status], status)} after ${attempts} of ${maxAttempts} attempts${stepsDone}`,
    ...(error === undefined ? [] : [`error       ${printable(`${error.name}: ${error.message}`)}`]),
    `waited      ${inWords(waitMs)}`,
    `processed   ${inWords(processingMs)}`,
    `in total    ${inWords(totalMs)}`,
  ]
}

/** An entry for programs. */
export const entryJson = ({ attempt, recorded, sinceStartMs, words, worker }: TimelineEntry): string => {
  const { _tag, ...data } = recorded.event
  return JSON.stringify({
    version: recorded.version,
    position: recorded.position,
    type: _tag,
    recorded_at: new Date(recorded.recordedAt).toISOString(),
    since_start_ms: sinceStartMs,
    attempt: attempt ?? null,
    worker: worker ?? null,
    words,
    data,
  })
}

/** The sums for programs. */
export const summaryJson = (id: string, summary: TimelineSummary): string =>
  JSON.stringify({
    summary: {
      id,
      status: summary.status,
      queue: summary.queue,
      type: summary.type,
      attempts: summary.attempts,
      max_attempts: summary.maxAttempts,
      steps: summary.steps,
      wait_ms: summary.waitMs,
      processing_ms: summary.processingMs,
      total_ms: summary.totalMs,
      error: summary.error ?? null,
    },
  })

/** On one line, without control characters, and not without end. */
const printable = (text: string): string => {
  const line = text.replaceAll(/\s+/g, " ").replaceAll(/\p{Cc}|\p{Cf}/gu, "\uFFFD")
  return line.length <= WORDS_MAX ? line : `${line.slice(0, WORDS_MAX)}…`
}
