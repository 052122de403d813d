/**
 * Counters, histograms and gauges in Effect's metric registry, for rates at which a look-up in it would be felt: each is found
 * once and then costs an addition. Gauges, and counters that somebody keeps anyway, are read when somebody scrapes. Names and
 * labels are those of Prometheus; where OpenTelemetry has a name for something, it is that one, translated.
 *
 * @source https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/
 */
import { type Context, Effect, Metric, type Scope } from "effect"

/** Values of a label by its name. Their number is bounded by whoever makes them. */
export type Labels = Readonly<Record<string, string>>

/** What is measured: `name` with its unit (`_seconds`, `_bytes`) and, for counters, `_total`. */
export interface Instrument {
  readonly name: string
  readonly description: string
}

/** The registry of what is being built, and for how long. */
export type Registry = Context.Context<never>

const NO_LABELS: Labels = {}

/** Shows a metric that is kept here: nobody updates it through Effect, so there is only something to read. */
const show = <State>(
  registry: Registry,
  metric: Metric.Metric<never, State>,
  get: () => State,
): Metric.Registration => Metric.registerUnsafe(metric, registry, { get, update: NOTHING, modify: NOTHING })

const NOTHING = () => {}

const counterMetric = ({ description, name }: Instrument, attributes: Labels) =>
  Metric.counter(name, { description, attributes, incremental: true })

const gaugeMetric = ({ description, name }: Instrument, attributes: Labels) =>
  Metric.gauge(name, { description, attributes })

/** Counts what happens. */
export class Counter {
  #value = 0

  constructor(registry: Registry, instrument: Instrument, labels = NO_LABELS) {
    show(registry, counterMetric(instrument, labels), () => ({ count: this.#value, incremental: true }))
  }

  add(count = 1): void {
    this.#value += count
  }
}

/**
 * How often a value was up to each of some boundaries. Not Effect's own, whose buckets hold 32 bits: at 10,000 a second one of
 * them is full after five days, and then disagrees with the count beside it.
 */
export class Histogram {
  readonly #boundaries: ReadonlyArray<number>
  readonly #buckets: Float64Array
  #count = 0
  #sum = 0

  constructor(
    registry: Registry,
    { description, name }: Instrument,
    boundaries: ReadonlyArray<number>,
    labels = NO_LABELS,
  ) {
    this.#boundaries = boundaries
    this.#buckets = new Float64Array(boundaries.length + 1)
    const metric = Metric.histogram(name, { description, attributes: labels, boundaries })
    show(registry, metric, () => this.#state())
  }

  record(value: number): void {
    const boundaries = this.#boundaries
    let bucket = 0
    while (bucket < boundaries.length && value > boundaries[bucket]!) bucket++
    this.#buckets[bucket]!++
    this.#count++
    this.#sum += value
  }

  #state(): Metric.HistogramState {
    let upTo = 0
    const buckets = this.#boundaries.map(
      (boundary, i) => [boundary, (upTo += this.#buckets[i]!)] as [number, number],
    )
    return { buckets, count: this.#count, min: 0, max: 0, sum: this.#sum }
  }
}

/** Whatever happens, a label has no more values than this, and a family no more members. */
const MEMBERS_MAX = 2_000

/** Instruments of one kind by the values of their labels: made when they are first needed, and a bounded number. */
export class Family<Member> {
  /** By the first value, then by the second, and so on: to put a key together for each look would cost more than the look. */
  readonly #members: Branch<Member> = new Map()
  #size = 0
  readonly #make: (values: ReadonlyArray<string>) => Member
  readonly #membersMax: number

  /** `make` is given the values in the order of {@link of}. */
  constructor(make: (values: ReadonlyArray<string>) => Member, membersMax = MEMBERS_MAX) {
    this.#make = make
    this.#membersMax = membersMax
  }

  /** The member with these values; once there are too many, the one whose values are all `other`. */
  of(...values: ReadonlyArray<string>): Member {
    let found: Branch<Member> | Member | undefined = this.#members
    for (const value of values) found = (found as Branch<Member> | undefined)?.get(value)
    return (found as Member | undefined) ?? this.#add(values)
  }

  #add(values: ReadonlyArray<string>): Member {
    if (this.#size >= this.#membersMax && values.some((value) => value !== OTHER))
      return this.of(...values.map(() => OTHER))
    let branch = this.#members
    for (const value of values.slice(0, -1)) {
      const next = branch.get(value) ?? new Map()
      branch.set(value, next)
      branch = next as Branch<Member>
    }
    const member = this.#make(values)
    branch.set(values.at(-1)!, member)
    this.#size++
    return member
  }
}

type Branch<Member> = Map<string, Branch<Member> | Member>

/** What stands for all values of a label that have no place of their own. */
export const OTHER = "other"

/** The values of a label that somebody else chooses: the first so many, and {@link OTHER} for the rest. */
export class LabelValues {
  readonly #values = new Set<string>()
  readonly #max: number

  constructor(max: number) {
    this.#max = max
  }

  of(value: string): string {
    if (this.#values.has(value)) return value
    if (this.#values.size >= this.#max) return OTHER
    this.#values.add(value)
    return value
  }
}

/** Something to be read at each scrape, for as long as the scope is open. */
interface Reading extends Instrument {
  readonly labels?: Labels
  readonly read: () => number
}

/** A value that goes up and down. */
export const gauge = ({ labels = NO_LABELS, read, ...instrument }: Reading) =>
  shown(gaugeMetric(instrument, labels), () => ({ value: read() }))

/** A count that somebody else keeps. */
export const counterOf = ({ labels = NO_LABELS, read, ...instrument }: Reading) =>
  shown(counterMetric(instrument, labels), () => ({ count: read(), incremental: true }))

const shown = <State>(
  metric: Metric.Metric<never, State>,
  get: () => State,
): Effect.Effect<void, never, Scope.Scope> =>
  Effect.asVoid(
    Effect.acquireRelease(
      Effect.map(Effect.context<never>(), (registry) => show(registry, metric, get)),
      (registration) => Effect.sync(() => registration.remove()),
    ),
  )

/** A gauge whose members come and go: each scrape says which there are. */
export class Gauges {
  readonly #registry: Registry
  readonly #instrument: Instrument
  #members = new Map<string, { readonly registration: Metric.Registration; value: number }>()

  constructor(registry: Registry, instrument: Instrument) {
    this.#registry = registry
    this.#instrument = instrument
  }

  /** These are the members now, and no others. */
  set(values: Iterable<readonly [labels: Labels, value: number]>): void {
    const before = this.#members
    this.#members = new Map()
    for (const [labels, value] of values) {
      const key = Object.values(labels).join("\n")
      const known = before.get(key)
      if (known !== undefined) {
        known.value = value
        before.delete(key)
        this.#members.set(key, known)
        continue
      }
      const member: { registration: Metric.Registration; value: number } = {
        value,
        registration: show(this.#registry, gaugeMetric(this.#instrument, labels), () => ({
          value: member.value,
        })),
      }
      this.#members.set(key, member)
    }
    for (const { registration } of before.values()) registration.remove()
  }
}
