/**
 * What a check has found wrong: every fault is counted, and a few of each kind are spelled out, so that a database which
 * is wrong in a million rows still gives a report that somebody can read.
 */

/** Faults of one kind that are spelled out. */
export const EXAMPLES_MAX = 5
/** Characters of one example: rows and error messages hold what users sent. */
const EXAMPLE_CHARACTERS_MAX = 300

/** What was looked at. */
export type Check =
  | "file"
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
