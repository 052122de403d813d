/**
 * What a check has found wrong: every fault is counted, and a few of each kind are spelled out, so that a database which
 * is wrong in a million rows still gives a report that somebody can read.
 */
import { Schema } from "effect"
import { counted, number } from "./CommandLine.ts"

/** Faults of one kind that are spelled out. */
export const EXAMPLES_MAX = 5
/** Characters of one example: rows and error messages hold what users sent. */
const EXAMPLE_CHARACTERS_MAX = 300

/** What was looked at. */
export type Check =
  | "file"
  | "foreign_key"
  | "invariant"
  | "schema"
  | "positions"
  | "versions"
  | "archive"
  | "events"
  | "projection"
  | "table"
  | "snapshots"

/** Everything of one kind that is wrong with one thing. */
export interface Fault {
  readonly check: Check
  /** What it is wrong with: a table, a projection, the journal. */
  readonly subject: string
  readonly count: number
  /** The first few, in words. */
  readonly examples: ReadonlyArray<string>
}

export class Findings {
  readonly #faults = new Map<
    string,
    { check: Check; subject: string; count: number; examples: Array<string> }
  >()

  /** Adds `count` faults, of which `example` is one. */
  add(check: Check, subject: string, example: string, count = 1): void {
    const key = `${check} ${subject}`
    const fault = this.#faults.get(key) ?? { check, subject, count: 0, examples: [] }
    fault.count += count
    if (fault.examples.length < EXAMPLES_MAX) fault.examples.push(shortened(example))
    this.#faults.set(key, fault)
  }

  get faults(): ReadonlyArray<Fault> {
    return [...this.#faults.values()]
  }
}

const shortened = (text: string): string =>
  text.length <= EXAMPLE_CHARACTERS_MAX ? text : `${text.slice(0, EXAMPLE_CHARACTERS_MAX)}…`

/** Something is wrong with a database. */
export class DatabaseFaulty extends Schema.TaggedError<DatabaseFaulty>()("DatabaseFaulty", {
  filename: Schema.String,
  faults: Schema.Int,
  mendable: Schema.Boolean,
}) {
  override get message(): string {
    const hint = this.mendable ? "; npm run db -- rebuild makes the rows anew" : ""
    return `${counted(this.faults, "fault")} in ${this.filename}${hint}`
  }

  static of(filename: string, faults: ReadonlyArray<Fault>, mendable = false): DatabaseFaulty {
    return new DatabaseFaulty({
      filename,
      faults: faults.reduce((sum, { count }) => sum + count, 0),
      mendable,
    })
  }
}

/** A fault for people: what it is, and the examples. */
export const faultText = ({ check, count, examples, subject }: Fault): ReadonlyArray<string> => [
  `${subject}: ${counted(count, check === "table" ? "wrong row" : "fault")}`,
  ...examples.map((example) => `  ${example}`),
  ...(count > examples.length ? [`  and ${number(count - examples.length)} more`] : []),
]
