/**
 * The journal port: one append-only log of events in streams. Whoever appends says which version it has seen; whoever
 * reads sees events in their newest shape. `SqliteJournal` is the embedded implementation.
 */
import { Context, Effect, Schema, type Scope, Stream } from "effect"
import type { DomainEvent } from "./DomainEvent.ts"

/** Who and what caused an event. Every field is optional; an empty one takes no space. */
export interface EventMetadata {
  /** Id of the principal on whose behalf it happened. */
  readonly principal?: string
  readonly correlation_id?: string
  readonly causation_id?: string
  /** W3C Trace Context. */
  readonly traceparent?: string
  /** Id of the request with an Idempotency-Key that caused it: see `KeyedRequest.ts`. */
  readonly keyed_request?: string
}

/** An event as it stands in the journal. */
export interface RecordedEvent<E extends DomainEvent = DomainEvent> {
  /** Place in the whole journal: 1, 2, 3 … */
  readonly position: number
  readonly stream: string
  /** Place in its stream: 1, 2, 3 … */
  readonly version: number
  /** Milliseconds since 1970. */
  readonly recordedAt: number
  readonly metadata: EventMetadata | undefined
  readonly event: E
}

/** New events of one stream, to follow the version `expectedVersion` (0: the stream never was). */
export interface StreamAppend {
  readonly stream: string
  readonly expectedVersion: number
  readonly events: ReadonlyArray<DomainEvent>
  readonly metadata?: EventMetadata | undefined
  /** Streams that must be in the journal when this is committed, since its events refer to them. */
  readonly requires?: ReadonlyArray<string> | undefined
}

/**
 * Somebody else wrote to the stream first: what the appender decided on is out of date. Or the stream has left for the
 * archive, where nothing can follow it.
 */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  stream: Schema.String,
  expectedVersion: Schema.Number,
}) {}

/** There is no room left on the disk, or under the page limit of the database. */
export class StoreFull extends Schema.TaggedError<StoreFull>()("StoreFull", { cause: Schema.Defect() }) {}

/** The store could not be read or written: I/O error, lock, corruption. */
export class StoreFailed extends Schema.TaggedError<StoreFailed>()("StoreFailed", {
  cause: Schema.Defect(),
}) {}

/** Why a journal refused. Nothing of the refused append exists. */
export class JournalError extends Schema.TaggedError<JournalError>()("JournalError", {
  reason: Schema.Union([VersionConflict, StoreFull, StoreFailed]),
}) {}

/** The log. Appends are atomic over all their streams, and durable when they succeed. */
export class Journal extends Context.Service<
  Journal,
  {
    /**
     * Appends to one or more streams, all or nothing. `recordedAt` (milliseconds) is the moment at which the events
     * were decided. Answers the recorded events, in order, once they are durable. Appends of one turn of the event loop share a
     * commit; `hasGathered`: what could share it is among these appends, or is made in the same step.
     */
    readonly append: (
      appends: ReadonlyArray<StreamAppend>,
      recordedAt: number,
      options?: { readonly hasGathered: boolean },
    ) => Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError>
    /** The events of one stream after a version (default 0), oldest first, wherever they are. */
    readonly readStream: (
      stream: string,
      options?: { readonly afterVersion?: number | undefined; readonly limit?: number | undefined },
    ) => Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError>
    /** Whether a stream has left for the archive: it can be read, and nothing can be appended to it. */
    readonly isArchived: (stream: string) => Effect.Effect<boolean, JournalError>
    /**
     * At most `limit` events after a position, of all streams, oldest first; archived ones are passed over, as if they had
     * never been.
     */
    readonly readAll: (options: {
      readonly afterPosition: number
      readonly limit: number
    }) => Effect.Effect<ReadonlyArray<RecordedEvent>, JournalError>
    /**
     * All events after a position, then those to come, without end. A slow reader costs no memory: it reads on from
     * its own position.
     */
    readonly subscribe: (options: {
      readonly afterPosition: number
    }) => Stream.Stream<RecordedEvent, JournalError>
    /** The events of one stream after a version, then those to come, without end. */
    readonly subscribeStream: (
      stream: string,
      options?: { readonly afterVersion?: number | undefined },
    ) => Stream.Stream<RecordedEvent, JournalError>
    /**
     * Tells `listener` of the events of each commit while the scope is open: in the turn in which readers begin to see them,
     * and before whoever appended them is answered. It must be quick, and must not throw.
     */
    readonly onCommit: (
      listener: (events: ReadonlyArray<RecordedEvent>) => void,
    ) => Effect.Effect<void, never, Scope.Scope>
    /** The position of the last event; 0 when there is none. */
    readonly head: Effect.Effect<number>
  }
>()("renderowl/journal/Journal") {}
