/** Events for the journal's tests: one that has been the same forever, one that is in its third shape. */
import { Schema } from "effect"
import { eventType } from "../../src/journal/DomainEvent.ts"

const Noted = Schema.TaggedStruct("Noted", { text: Schema.String })
/** Revision 1 had `n` as text, revision 2 as a number, revision 3 has `count` and a `unit`. */
const Counted = Schema.TaggedStruct("Counted", { count: Schema.Int, unit: Schema.String })

export const testEvents = [
  eventType(Noted),
  eventType(Counted, [(data) => ({ n: Number(data["n"]) }), ({ n }) => ({ count: n, unit: "piece" })]),
]

export const noted = (text: string): typeof Noted.Type => ({ _tag: "Noted", text })
