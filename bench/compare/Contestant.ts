/**
 * A queue that takes part in the comparison: the same work for everyone, through each one's ordinary interface, producer
 * and worker in this process. What "done" means is what the contestant itself acknowledges under its `durability`.
 */
import { Data, type Effect, type Scope } from "effect"

export interface Contestant {
  /** With its version. */
  readonly name: string
  /** When it waits for the disk, in the words of its store. */
  readonly durability: string
  /** Another way in which a contestant drains; in all else it is the one before it. */
  readonly onlyDrains?: boolean
  /** Done before each measurement, outside of its time. */
  readonly prepare: Effect.Effect<void>
  /** So many callers at once, each one job after the other, until all are acknowledged. */
  readonly enqueue: (jobs: number, callers: number) => Effect.Effect<void>
  /** Batches one after the other, until all are acknowledged. */
  readonly enqueueBatches: (jobs: number, batch: number) => Effect.Effect<void>
  /**
   * Runs the jobs that wait with a handler that does nothing. Answers the milliseconds from the handler's first call until
   * the last completion is acknowledged.
   */
  readonly drain: (jobs: number, concurrency: number) => Effect.Effect<number>
  /**
   * A worker on an empty queue, for as long as the scope is open; the effect answered enqueues a job and ends with the
   * milliseconds from the call until the handler was called.
   */
  readonly pickUp: Effect.Effect<Effect.Effect<number>, never, Scope.Scope>
}

/** Why somebody does not take part. */
export class Absent extends Data.TaggedError("Absent")<{ readonly name: string; readonly because: string }> {}

export type Opening = Effect.Effect<ReadonlyArray<Contestant>, Absent, Scope.Scope>
