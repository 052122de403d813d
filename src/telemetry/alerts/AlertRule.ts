/**
 * What operators are told of without having asked: a rule looks for signs of something wrong, and says how long a sign must be seen
 * before it is an alert, and gone before the alert is over. Pure, but for the looking.
 */
import type { Effect } from "effect"

/** `critical`: somebody has to do something now. */
export type Severity = "warning" | "critical"

/** Something that is wrong now. */
export interface Sign {
  /** What it is wrong with: a queue, a route, an actor. One rule has one alert for each. */
  readonly subject: string
  /** Words and figures for people. */
  readonly detail: string
}

export interface AlertRule {
  /** In the form `queue_stalled`: programs go by it. */
  readonly name: string
  readonly severity: Severity
  /** What it means, for people. */
  readonly summary: string
  /** How long a sign must be seen before it is an alert; with 0, at once. */
  readonly forMs: number
  /** How long a sign must be gone before its alert is over. What comes and goes within it is one alert, told once. */
  readonly coolDownMs: number
  /** What is wrong now. A look that fails changes nothing. */
  readonly signs: Effect.Effect<ReadonlyArray<Sign>, unknown>
}

/** A sign and since when it is seen. Times are in milliseconds since 1970. */
export interface Watched extends Sign {
  readonly since: number
  /** When it was last seen. */
  readonly seenAt: number
  /** When it became an alert; undefined: it has not been seen for long enough. */
  readonly firedAt: number | undefined
}

/** What a rule watches, by subject. */
export type Watches = ReadonlyMap<string, Watched>

/** What one look has changed. */
export interface Look {
  readonly watches: Watches
  /** Has become an alert. */
  readonly fired: ReadonlyArray<Watched>
  /** Was an alert. */
  readonly resolved: ReadonlyArray<Watched>
}

/** Subjects of one rule: what is wrong with very many things is wrong with something else. */
export const SUBJECTS_MAX = 50
/** Stands for the subjects beyond. */
export const OTHERS = "(others)"

/** What is watched after a look at `now` that found these signs. */
export const look = (
  before: Watches,
  found: ReadonlyArray<Sign>,
  { coolDownMs, forMs }: Pick<AlertRule, "forMs" | "coolDownMs">,
  now: number,
): Look => {
  const watches = new Map<string, Watched>()
  const fired: Array<Watched> = []
  const resolved: Array<Watched> = []
  for (const { detail, subject } of bounded(before, found)) {
    const known = before.get(subject)
    const since = known?.since ?? now
    const isFiring = known?.firedAt !== undefined
    const isDue = now - since >= forMs
    const watched = {
      subject,
      detail,
      since,
      seenAt: now,
      firedAt: known?.firedAt ?? (isDue ? now : undefined),
    }
    watches.set(subject, watched)
    if (isDue && !isFiring) fired.push(watched)
  }
  for (const [subject, watched] of before) {
    if (watches.has(subject) || watched.firedAt === undefined) continue
    if (now - watched.seenAt < coolDownMs) watches.set(subject, watched)
    else resolved.push(watched)
  }
  return { watches, fired, resolved }
}

/** So many signs at most, those that are known already first; the others become one. */
const bounded = (before: Watches, found: ReadonlyArray<Sign>): ReadonlyArray<Sign> => {
  if (found.length <= SUBJECTS_MAX) return found
  const known = found.filter(({ subject }) => before.has(subject))
  const signs = [...known, ...found.filter(({ subject }) => !before.has(subject))]
  const more = signs.length - (SUBJECTS_MAX - 1)
  return [...signs.slice(0, SUBJECTS_MAX - 1), { subject: OTHERS, detail: `${more} more` }]
}
