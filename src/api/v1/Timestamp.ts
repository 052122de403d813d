/**
 * Moments on the wire: RFC 3339 in UTC with milliseconds. Inside they are milliseconds since 1970.
 */
import { Schema, SchemaGetter } from "effect"

/** Milliseconds since 1970 ↔ `2026-11-22T06:00:00.000Z`. Any offset is accepted and shown in UTC. */
export const Timestamp = Schema.String.pipe(
  Schema.check(
    Schema.isPattern(/^\d{4}-\d{2}-\d{2}[Tt]\d{2}:\d{2}:\d{2}(\.\d{1,9})?([Zz]|[+-]\d{2}:\d{2})$/u, {
      expected: "an RFC 3339 time like 2026-11-22T06:00:00Z",
    }),
  ),
  // Before the check that no document can show, and that would keep this from being shown.
  Schema.annotate({ format: "date-time", examples: ["2026-11-22T06:00:00Z"] }),
  Schema.check(
    Schema.makeFilter((text: string) => !Number.isNaN(Date.parse(text)), { expected: "a time that exists" }),
  ),
  Schema.annotate({ identifier: "Timestamp" }),
  Schema.decodeTo(Schema.Int, {
    decode: SchemaGetter.transform((text: string) => Date.parse(text)),
    encode: SchemaGetter.transform((millis: number) => new Date(millis).toISOString()),
  }),
)

/** The same on the way out, where there is nothing to check: a string that is made by {@link toInstant}. */
export const Instant = Schema.String.annotate({
  identifier: "Instant",
  format: "date-time",
  description: "RFC 3339, in UTC, with milliseconds",
})

/** Milliseconds since 1970 as an {@link Instant}. */
export const toInstant = (millis: number): string => new Date(millis).toISOString()

/** Null stays null, and so does what is not there. */
export const toInstantOrNull = (millis: number | null | undefined): string | null =>
  millis === null || millis === undefined ? null : toInstant(millis)
