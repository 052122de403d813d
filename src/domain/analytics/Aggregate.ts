/**
 * What happened in one hour or day to one queue, project, …: a row of the analytics tables. Two of them together are what one
 * of everything would have been. Pure, but for the statements that name its columns.
 */
import type { SQLInputValue, SQLOutputValue } from "node:sqlite"
import { addUp, Durations } from "./Durations.ts"

/** What is counted, in the order of the columns. */
export const COUNTS = [
  "created",
  "started",
  "completed",
  "failed",
  "cancelled",
  "retried",
  "stalled",
  "redriven",
  "frames",
  "video_ms",
  "output_bytes",
  "requests",
] as const
export type Count = (typeof COUNTS)[number]

/** By what everything is told apart; `all` tells nothing apart, and its name is empty. */
export const DIMENSIONS = ["all", "queue", "type", "project", "principal", "composition", "route"] as const
export type Dimension = (typeof DIMENSIONS)[number]

export class Aggregate {
  readonly counts: Record<Count, number>
  readonly wait: Durations
  readonly processing: Durations

  constructor(
    counts: Record<Count, number> = { ...NONE },
    wait = new Durations(),
    processing = new Durations(),
  ) {
    this.counts = counts
    this.wait = wait
    this.processing = processing
  }

  count(what: Count, by = 1): void {
    this.counts[what] = addUp(this.counts[what], by)
  }

  merge(other: Aggregate): void {
    for (const count of COUNTS) this.count(count, other.counts[count])
    this.wait.merge(other.wait)
    this.processing.merge(other.processing)
  }
}

const NONE = Object.fromEntries(COUNTS.map((count) => [count, 0])) as Record<Count, number>

/** Columns behind the key, as {@link bindAggregate} writes them. */
export const AGGREGATE_COLUMNS = [
  ...COUNTS,
  "wait_ms",
  "wait_ms_min",
  "wait_ms_max",
  "wait_buckets",
  "processing_ms",
  "processing_ms_min",
  "processing_ms_max",
  "processing_buckets",
] as const

/** Writes the columns from `at` on. */
export const bindAggregate = (aggregate: Aggregate, values: Array<SQLInputValue>, at: number): void => {
  let next = at
  for (const count of COUNTS) values[next++] = aggregate.counts[count]
  for (const durations of [aggregate.wait, aggregate.processing]) {
    values[next++] = durations.sum
    values[next++] = durations.min
    values[next++] = durations.max
    values[next++] = durations.encode()
  }
}

/** The aggregate in a row that has all the columns. */
export const fromRow = (row: Readonly<Record<string, SQLOutputValue>>): Aggregate => {
  const durations = (name: "wait" | "processing") =>
    Durations.decode({
      sum: row[`${name}_ms`] as number,
      min: row[`${name}_ms_min`] as number | null,
      max: row[`${name}_ms_max`] as number | null,
      buckets: row[`${name}_buckets`] as string,
    })
  const counts = Object.fromEntries(COUNTS.map((count) => [count, row[count] as number]))
  return new Aggregate(counts as Record<Count, number>, durations("wait"), durations("processing"))
}
