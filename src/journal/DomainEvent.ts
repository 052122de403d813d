/**
 * Event types and their catalogue: how an event is written to the journal and read back, also in the shapes that older
 * releases wrote. An event is plain JSON data with a `_tag`; its schema says what the newest revision looks like.
 */
import { Schema } from "effect"

/** A fact in the past tense: its tag and JSON data. */
export interface DomainEvent {
  readonly _tag: string
}

/** Lifts the data of one revision to the next. */
export type Upcast = (data: Record<string, unknown>) => Record<string, unknown>

/** One event type: its schema, the revision that is written now, and the way up from every older one. */
export interface EventType<
  S extends Schema.Codec<DomainEvent, unknown> = Schema.Codec<DomainEvent, unknown>,
> {
  readonly tag: string
  readonly revision: number
  readonly upcasts: ReadonlyArray<Upcast>
  readonly schema: S
}

/** The events of a type. */
export type EventOf<T extends EventType> = T["schema"]["Type"]

/**
 * Declares an event type. `upcasts[0]` lifts revision 1 to 2, `upcasts[1]` 2 to 3, and so on: the revision that is
 * written is one more than their number. The schema must be its own encoding (plain JSON), so that writing costs
 * nothing but `JSON.stringify`.
 */
export const eventType = <
  S extends Schema.Codec<DomainEvent, unknown> & { readonly fields: { readonly _tag: Schema.tag<string> } },
>(
  schema: S,
  upcasts: ReadonlyArray<Upcast> = [],
): EventType<S> => ({
  tag: schema.fields._tag.schema.literal,
  revision: upcasts.length + 1,
  upcasts,
  schema,
})

/** An event as the journal stores it. */
export interface EncodedEvent {
  readonly type: string
  readonly revision: number
  readonly data: string
}

/** A stored event of a type or revision that this release does not know, or whose data does not fit. */
export class UnreadableEvent extends Schema.TaggedError<UnreadableEvent>()("UnreadableEvent", {
  type: Schema.String,
  revision: Schema.Number,
  detail: Schema.String,
}) {
  override get message() {
    return `cannot read ${this.type} (revision ${this.revision}): ${this.detail}`
  }
}

/** All event types that a journal may hold. */
export class EventCatalog {
  readonly #types = new Map<string, EventType>()

  constructor(types: Iterable<EventType>) {
    for (const type of types) {
      if (this.#types.has(type.tag)) throw new Error(`two event types are called ${type.tag}`)
      this.#types.set(type.tag, type)
    }
  }

  #type(tag: string, revision: number): EventType {
    const type = this.#types.get(tag)
    if (type === undefined)
      throw new UnreadableEvent({ type: tag, revision, detail: "the type is not registered" })
    return type
  }

  /** The stored form of an event. Throws {@link UnreadableEvent} for a type that is not in the catalogue. */
  encode(event: DomainEvent): EncodedEvent {
    const type = event._tag
    // JSON has no undefined, and a plain copy costs half of one that leaves a key out.
    const data = JSON.stringify({ ...event, _tag: undefined })
    return { type, revision: this.#type(type, 0).revision, data }
  }

  /** The event in its newest shape. Throws {@link UnreadableEvent}. */
  decode(type: string, revision: number, json: string): DomainEvent {
    const known = this.#type(type, revision)
    if (revision > known.revision) {
      throw new UnreadableEvent({
        type,
        revision,
        detail: `a newer release wrote it (newest known: ${known.revision})`,
      })
    }
    let data = JSON.parse(json) as Record<string, unknown>
    if (revision < known.revision) {
      for (let from = revision; from < known.revision; from++) data = known.upcasts[from - 1]!(data)
      return { ...data, _tag: type }
    }
    // Nobody else has it: marked in place, since a copy would cost as much as a third of the parsing.
    return Object.assign(data, { _tag: type })
  }

  /** Like {@link decode}, and also checks the data against the schema: for verification, not for hot paths. */
  decodeChecked(type: string, revision: number, json: string): DomainEvent {
    const event = this.decode(type, revision, json)
    const check = Schema.decodeUnknownResult(this.#type(type, revision).schema)(event)
    if (check._tag === "Failure") throw new UnreadableEvent({ type, revision, detail: String(check.failure) })
    return event
  }
}
