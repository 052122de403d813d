/**
 * How much the API was used: now and then one event of all that was asked since the last, in the stream of its hour. A request
 * costs no event, and what is made of the journal can count requests all the same.
 */
import { Schema } from "effect"
import { type DomainEvent, eventType } from "../../journal/DomainEvent.ts"

export const ApiUseRecorded = Schema.TaggedStruct("ApiUseRecorded", {
  /** Start of the hour in which it was, in milliseconds since 1970. */
  hour: Schema.Int,
  uses: Schema.Array(
    Schema.Struct({
      /** Who: the key or the user. */
      principal: Schema.String,
      /** What: the group of routes, such as `jobs`. */
      route: Schema.String,
      requests: Schema.Int,
    }),
  ),
})
export type ApiUseRecorded = typeof ApiUseRecorded.Type

export const apiUseEventTypes = [eventType(ApiUseRecorded)]

export const isApiUseRecorded = (event: DomainEvent): event is ApiUseRecorded =>
  event._tag === "ApiUseRecorded"

/** Characters of a moment in ISO 8601, up to its hour: `2026-11-25T22`. */
const HOUR_CHARACTERS = 13

/** The stream of an hour. Whoever writes to it reads it first: six events of some 120 kB at most, and those of stops. */
export const apiUseStream = (hour: number): string =>
  `api-use/${new Date(hour).toISOString().slice(0, HOUR_CHARACTERS)}`
