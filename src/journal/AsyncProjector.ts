/**
 * Runs the async projections: one supervised fiber each, which reads what its checkpoint has not seen and writes rows and
 * checkpoint together. One that has caught up takes small commits as they are, which spares it from reading them. Catching
 * up is nobody's hurry: it reads a little at a time, rests longer than it works, and begins again after a failure from where
 * it had come to. How far it is behind can be asked.
 */
import { Cause, Clock, Context, Duration, Effect, Latch, Layer } from "effect"
import { SqliteClient } from "../sqlite/SqliteClient.ts"
import { JournalArchive } from "./Archiving.ts"
import type { AsyncProjection, EarlierEvents } from "./AsyncProjection.ts"
import { BEGINNING, beginCheckpoint, type Checkpoint, moveCheckpoint, readCheckpoint } from "./Checkpoints.ts"
import type { HistoryReader } from "./HistoryReader.ts"
import { Journal, type RecordedEvent } from "./Journal.ts"

/** Events of a commit that are taken as they are: about half a millisecond, for which the commit waits. */
export const FOLLOWED_EVENTS_MAX = 512
/** Look-ups of earlier events, 10 to 20 µs each, that a commit waits for without complaint. */
const FOLLOWED_LOOKUPS_MAX = 32
/** From an event to the look at it, so that those of a second share one transaction. */
const GATHERING_TIME: Duration.Input = "1 second"
/** While there is always more to take. */
const SAVE_INTERVAL_MS = 1_000
/** Rows that are saved together: the journal's writer waits for them, about 2 ms with the disk. */
const ROWS_PER_SAVE = 256
/**
 * After a portion it rests so many times as long as that took: at most a ninth of the thread is its own, and 32,000
 * events a second are caught up with (measured; meanwhile enqueueing goes on at 0.96 of its speed, see `bench/analytics.ts`).
 */
const REST_FACTOR = 8
const REST_MIN_MS = 1
/** After a failure, twice as long after each further one. */
const RETRY_AFTER_MS = 1_000
const RETRY_AFTER_MAX_MS = 60_000
/** At the stop it takes what is left, for so long at most: what it has not seen stays in the journal and out of the archive. */
const FINISH_MS_MAX = 500

/** How one projection is doing. */
export interface ProjectionStatus {
  readonly name: string
  /** Every event up to here is in its rows. */
  readonly position: number
  /** Events that are not in them yet, or an upper bound of that. */
  readonly lag: number
  /** Failures since it last wrote something: 0 when all is well. */
  readonly failures: number
}

export class AsyncProjector extends Context.Service<
  AsyncProjector,
  { readonly status: Effect.Effect<ReadonlyArray<ProjectionStatus>> }
>()("renderowl/journal/AsyncProjector") {
  /** Runs these for as long as the scope is open. From then on nothing leaves for the archive that they have not seen. */
  static readonly layer = (
    projections: ReadonlyArray<AsyncProjection>,
  ): Layer.Layer<AsyncProjector, never, SqliteClient | Journal | JournalArchive> =>
    Layer.effect(
      AsyncProjector,
      Effect.gen(function* () {
        const { writeLock, writer } = yield* SqliteClient
        const journal = yield* Journal
        const archive = yield* JournalArchive
        const followers = projections.map(
          (projection) =>
            new Follower({
              projection,
              history: archive.history(projection.eventTypes),
              write: (body) =>
                writeLock.withPermit(Effect.sync(() => writer.transaction(() => body(writer)))),
              begin: () => readCheckpoint(writer, projection.name) ?? BEGINNING,
            }),
        )
        yield* writeLock.withPermit(
          Effect.sync(() => {
            for (const { name } of projections) beginCheckpoint(writer, name)
          }),
        )
        yield* journal.onCommit((events) => {
          for (const follower of followers) follower.follow(events)
        })
        for (const follower of followers) {
          yield* Effect.addFinalizer(() => follower.finish)
          yield* Effect.forkScoped(follower.run)
        }
        return AsyncProjector.of({
          status: Effect.map(journal.head, (head) => followers.map((follower) => follower.status(head))),
        })
      }),
    )
}

interface FollowerOptions {
  readonly projection: AsyncProjection
  readonly history: HistoryReader
  readonly write: (body: (db: SqliteClient["Service"]["writer"]) => void) => Effect.Effect<void>
  readonly begin: () => Checkpoint
}

class Follower {
  /** Opened by each commit. */
  readonly #news = Latch.makeUnsafe(false)
  readonly #options: FollowerOptions
  /** What the rows are made of. */
  #saved: Checkpoint
  /** What was taken since and not saved yet. */
  #taken: Checkpoint
  #failures = 0
  /** The last commit took long: the next ones are left to be read. */
  #isCostly = false
  /** Why what was committed last could not be taken, until the fiber has heard of it. */
  #fault: { readonly cause: unknown } | undefined

  constructor(options: FollowerOptions) {
    this.#options = options
    this.#saved = options.begin()
    this.#taken = this.#saved
  }

  status(head: number): ProjectionStatus {
    const { position } = this.#saved
    return {
      name: this.#options.projection.name,
      position,
      lag: Math.max(0, head - position),
      failures: this.#failures,
    }
  }

  /**
   * Hears of a commit, which waits for it: about a microsecond for each event of a job that is remembered. It takes nothing out of
   * order, and leaves to be read in portions what is large, what follows a commit that needed many look-ups, and all after a failure.
   */
  follow(events: ReadonlyArray<RecordedEvent>): void {
    this.#news.openUnsafe()
    const { archiveBlock, position } = this.#taken
    // At the beginning, what has left for the archive comes first.
    const isNext = position > 0 && events[0]?.position === position + 1
    if (!isNext || events.length > FOLLOWED_EVENTS_MAX || this.#failures > 0) return
    if (this.#isCostly) {
      this.#isCostly = false
      return
    }
    const { history, projection } = this.#options
    if (projection.pending() >= ROWS_PER_SAVE) return
    const wanted = events.filter(({ event }) => projection.eventTypes.has(event._tag))
    let lookups = 0
    const earlier: EarlierEvents = (stream, belowVersion) => {
      lookups++
      return history.earlier(stream, belowVersion)
    }
    try {
      if (wanted.length > 0) projection.take(wanted, earlier)
      this.#taken = { archiveBlock, position: events.at(-1)!.position }
    } catch (cause) {
      this.#fault = { cause }
    }
    this.#isCostly = lookups > FOLLOWED_LOOKUPS_MAX
  }

  /** Never ends by itself. */
  get run(): Effect.Effect<never> {
    const turn = Effect.sleep(GATHERING_TIME).pipe(
      Effect.andThen(Effect.sync(() => this.#news.closeUnsafe())),
      Effect.andThen(this.#catchUp),
      Effect.andThen(this.#news.await),
      Effect.catchCause((cause) =>
        Cause.hasInterruptsOnly(cause) ? Effect.failCause(cause) : this.#onFailure(cause),
      ),
    )
    return Effect.forever(turn)
  }

  /** After the end of `run`: brings the rows as far as a moment allows. Whatever is in the way is left to the next start. */
  get finish(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      if (this.#failures > 0) return
      const deadline = performance.now() + FINISH_MS_MAX
      while (performance.now() < deadline && this.#take())
        if (this.#options.projection.pending() >= ROWS_PER_SAVE) yield* this.#save
      yield* this.#save
    }).pipe(Effect.catchCause((cause) => Effect.logDebug("a projection did not finish at the stop", cause)))
  }

  /** Takes portions until there is none. */
  get #catchUp(): Effect.Effect<void> {
    return Effect.gen({ self: this }, function* () {
      let savedAt = yield* Clock.currentTimeMillis
      for (;;) {
        const begun = performance.now()
        const isTaken = yield* Effect.sync(() => this.#take())
        if (!isTaken) return yield* this.#save
        const now = yield* Clock.currentTimeMillis
        if (this.#options.projection.pending() >= ROWS_PER_SAVE || now - savedAt >= SAVE_INTERVAL_MS) {
          yield* this.#save
          savedAt = now
        }
        yield* Effect.sleep(Math.max(REST_MIN_MS, (performance.now() - begun) * REST_FACTOR))
      }
    })
  }

  #take(): boolean {
    this.#assertSound()
    const { history, projection } = this.#options
    const portion = history.next(this.#taken)
    if (portion === undefined) return false
    if (portion.events.length > 0) projection.take(portion.events, history.earlier)
    this.#taken = portion.end
    return true
  }

  get #save(): Effect.Effect<void> {
    return Effect.suspend(() => {
      const { projection, write } = this.#options
      if (this.#saved === this.#taken) return Effect.void
      let to = this.#saved
      const written = write((db) => {
        this.#assertSound()
        // Not before: commits that this has waited for were taken as well.
        to = this.#taken
        projection.save(db)
        moveCheckpoint(db, projection.name, this.#saved, to)
      })
      return Effect.map(written, () => {
        this.#saved = to
        this.#failures = 0
      })
    }).pipe(Effect.uninterruptible)
  }

  /** A commit may have been taken in part. */
  #assertSound(): void {
    if (this.#fault !== undefined) throw this.#fault.cause
  }

  #onFailure(cause: Cause.Cause<unknown>): Effect.Effect<void> {
    const { begin, projection } = this.#options
    return Effect.gen({ self: this }, function* () {
      this.#failures++
      // At once: a portion may have been taken in part.
      projection.forget()
      this.#fault = undefined
      this.#taken = this.#saved
      yield* Effect.logError("a projection has failed and will be tried again", cause).pipe(
        Effect.annotateLogs({ projection: projection.name, position: this.#saved.position }),
      )
      yield* Effect.sleep(Math.min(RETRY_AFTER_MAX_MS, RETRY_AFTER_MS * 2 ** (this.#failures - 1)))
      // Where that cannot be read either, the next turn will say so.
      this.#saved = yield* Effect.sync(begin).pipe(Effect.catchCause(() => Effect.succeed(this.#saved)))
      this.#taken = this.#saved
    })
  }
}
