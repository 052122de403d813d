/**
 * Looks at every rule four times a minute and keeps what it found: what is watched, what is an alert, and the alerts of late. Each
 * alert is logged and counted when it begins and when it is over, and told to whoever wants to hear, in order and until heard.
 */
import { Clock, Context, Effect, Exit, Layer, Queue, Schedule } from "effect"
import { counterOf, gauge } from "../Instruments.ts"
import { type AlertRule, look, type Severity, type Watched, type Watches } from "./AlertRule.ts"

/** From one look at the rules to the next. */
export const LOOK_INTERVAL = "15 seconds"
/** How long one rule may take to look. */
const LOOK_TIMEOUT = "5 seconds"
/** Alerts that are over and still listed. */
export const RESOLVED_MAX = 100
/** What nobody has heard of yet; more is lost, and counted. */
const NEWS_MAX = 500
/** When what was not heard is said again. */
const TELL_AGAIN = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("1 minute")])

/** An alert: one thing that is or was wrong. Times are in milliseconds since 1970. */
export interface Alert {
  readonly id: string
  readonly rule: string
  readonly severity: Severity
  /** What the rule means. */
  readonly summary: string
  readonly subject: string
  readonly detail: string
  /** When it was first seen. */
  readonly since: number
  readonly firedAt: number
  /** Null: it is not over. */
  readonly resolvedAt: number | null
}

/** What there is to be told. */
export interface News {
  readonly occasion: "firing" | "resolved"
  readonly alert: Alert
}

/** Who hears of alerts, and remembers them for the next process. */
export interface Audience {
  /** A name for a new alert. */
  readonly nextId: Effect.Effect<string>
  /** What the processes before were told: alerts that are not over, and those of late that are, the newest first. */
  readonly remembered: Effect.Effect<ReadonlyArray<Alert>, unknown>
  /** What fails is told again. */
  readonly tell: (news: News) => Effect.Effect<void, unknown>
}

/** What became of a rule at the last look. */
export interface RuleReport {
  readonly rule: AlertRule
  /** `unknown`: the last look failed, or there was none yet. */
  readonly state: "ok" | "pending" | "firing" | "unknown"
  /** What is seen, and not for long enough. */
  readonly pending: ReadonlyArray<Watched>
}

export class Alerts extends Context.Service<
  Alerts,
  {
    readonly rules: Effect.Effect<ReadonlyArray<RuleReport>>
    /** Those that are firing, the newest first, and then those of late that are over. */
    readonly list: Effect.Effect<ReadonlyArray<Alert>>
  }
>()("renderowl/telemetry/alerts/Alerts") {
  /** Looks for as long as the scope is open. */
  static readonly layer = <R, R2>(
    rules: Effect.Effect<ReadonlyArray<AlertRule>, never, R>,
    audience: Effect.Effect<Audience, never, R2>,
  ) =>
    Layer.effect(
      Alerts,
      Effect.flatMap(Effect.all([rules, audience]), ([rules, audience]) => make(rules, audience)),
    )
}

/** A rule, and what it has found. */
interface Watch {
  readonly rule: AlertRule
  watches: Watches
  /** By subject: one for each that has fired. */
  readonly alerts: Map<string, Alert>
  isKnown: boolean
}

const make = Effect.fnUntraced(function* (rules: ReadonlyArray<AlertRule>, audience: Audience) {
  const all = rules.map((rule): Watch => ({ rule, watches: new Map(), alerts: new Map(), isKnown: false }))
  const news = yield* Queue.dropping<News>(NEWS_MAX)
  let resolved: ReadonlyArray<Alert> = []
  let lost = 0

  const announce = Effect.fnUntraced(function* (occasion: News["occasion"], alert: Alert) {
    const { detail, id, rule, severity, subject } = alert
    const log =
      occasion === "resolved" ? Effect.logInfo : severity === "critical" ? Effect.logError : Effect.logWarning
    yield* log(`alert ${occasion}`, { alert: id, rule, subject, severity, detail })
    if (!(yield* Queue.offer(news, { occasion, alert }))) lost++
  })

  const fire = Effect.fnUntraced(function* (
    { alerts, rule }: Watch,
    { detail, firedAt, since, subject }: Watched,
  ) {
    const { name, severity, summary } = rule
    const id = yield* audience.nextId
    const alert: Alert = {
      id,
      rule: name,
      severity,
      summary,
      subject,
      detail,
      since,
      firedAt: firedAt!,
      resolvedAt: null,
    }
    alerts.set(subject, alert)
    yield* announce("firing", alert)
  })

  const resolve = Effect.fnUntraced(function* (alert: Alert) {
    const over = { ...alert, resolvedAt: yield* Clock.currentTimeMillis }
    resolved = [over, ...resolved].slice(0, RESOLVED_MAX)
    yield* announce("resolved", over)
  })

  const lookAt = Effect.fnUntraced(function* (watch: Watch) {
    const { alerts, rule } = watch
    const found = yield* rule.signs.pipe(Effect.timeout(LOOK_TIMEOUT), Effect.exit)
    if (Exit.isFailure(found)) {
      if (watch.isKnown)
        yield* Effect.logWarning("an alert rule could not look", { rule: rule.name }, found.cause)
      watch.isKnown = false
      return
    }
    watch.isKnown = true
    const after = look(watch.watches, found.value, rule, yield* Clock.currentTimeMillis)
    watch.watches = after.watches
    for (const watched of after.fired) yield* fire(watch, watched)
    for (const { subject } of after.resolved) {
      const alert = alerts.get(subject)!
      alerts.delete(subject)
      yield* resolve(alert)
    }
  })

  /** Goes on with the alerts of the process before; those of rules that are gone are over. */
  const resume = Effect.gen(function* () {
    const now = yield* Clock.currentTimeMillis
    const remembered = yield* audience.remembered
    resolved = remembered.filter(({ resolvedAt }) => resolvedAt !== null)
    for (const alert of remembered.filter(({ resolvedAt }) => resolvedAt === null)) {
      const watch = all.find(({ rule }) => rule.name === alert.rule)
      if (watch === undefined) {
        yield* resolve(alert)
        continue
      }
      const { detail, firedAt, since, subject } = alert
      watch.alerts.set(subject, alert)
      watch.watches = new Map([...watch.watches, [subject, { subject, detail, since, seenAt: now, firedAt }]])
    }
  }).pipe(Effect.catchCause((cause) => Effect.logWarning("the alerts of before could not be read", cause)))

  const tell = Effect.flatMap(Queue.take(news), (next) =>
    audience.tell(next).pipe(
      Effect.tapError((error) =>
        Effect.logWarning("an alert could not be told", { alert: next.alert.id }, error),
      ),
      Effect.retry(TELL_AGAIN),
      Effect.catchCause((cause) =>
        Effect.logError("an alert cannot be told", { alert: next.alert.id }, cause),
      ),
    ),
  )

  for (const { alerts, rule } of all) {
    yield* gauge({
      name: "renderowl_alerts_firing",
      description: "Alerts that are not over",
      labels: { rule: rule.name, severity: rule.severity },
      read: () => alerts.size,
    })
  }
  yield* counterOf({
    name: "renderowl_alert_news_lost_total",
    description: "Beginnings and ends of alerts that nobody was told of, because too many waited",
    read: () => lost,
  })

  const round = Effect.forEach(all, lookAt, { concurrency: "unbounded", discard: true })
  yield* Effect.forkScoped(Effect.andThen(resume, Effect.repeat(round, Schedule.spaced(LOOK_INTERVAL))))
  yield* Effect.forkScoped(Effect.forever(tell))

  const firing = ({ alerts, watches }: Watch): ReadonlyArray<Alert> =>
    [...alerts.values()].map((alert) => withDetail(alert, watches.get(alert.subject)?.detail))

  return Alerts.of({
    rules: Effect.sync(() => all.map(reportOf)),
    list: Effect.sync(() => [
      ...all.flatMap(firing).toSorted((one, other) => other.firedAt - one.firedAt),
      ...resolved,
    ]),
  })
})

/** An alert as it was seen last. */
const withDetail = (alert: Alert, detail = alert.detail): Alert => ({ ...alert, detail })

const reportOf = ({ alerts, isKnown, rule, watches }: Watch): RuleReport => {
  const pending = [...watches.values()].filter(({ firedAt }) => firedAt === undefined)
  const state = alerts.size > 0 ? "firing" : !isKnown ? "unknown" : pending.length > 0 ? "pending" : "ok"
  return { rule, state, pending }
}
