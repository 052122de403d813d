/**
 * What operators are told of: routes that fail or are slow, queues that do not move, dead letters, a full disk, a journal that does
 * not take what it is given, actors in quarantine, spans that nobody takes, and whatever else the health checks find.
 */
import { Effect } from "effect"
import { ActorSystem } from "../../actor/ActorSystem.ts"
import { Queue } from "../../jobs/Queue.ts"
import { QueueStats } from "../../jobs/QueueStats.ts"
import { stuckQueues } from "../../jobs/StuckQueues.ts"
import type { AlertRule, Sign } from "../../telemetry/alerts/AlertRule.ts"
import { Health } from "../../telemetry/Health.ts"
import { CurrentObserver, type Observer } from "../../telemetry/Observer.ts"
import { PerformanceMonitor } from "../../telemetry/PerformanceMonitor.ts"
import type { RouteReport } from "../../telemetry/RouteTimes.ts"
import { errorRateOf, isFailing, isSlow } from "../../telemetry/RouteVerdict.ts"
import { ALERT_QUEUE } from "./AlertDelivery.ts"

const MINUTE_MS = 60_000
const MILLIS_PER_SECOND = 1_000
/** What the rules of routes look at. */
const ROUTE_WINDOW_MS = 5 * MINUTE_MS
/** Of fewer requests no share says anything. */
const ROUTE_REQUESTS_MIN = 20

/** Health checks that have a rule of their own. */
const DISK = "disk"
const TRACES = "traces"
/** Health checks whose rules look closer than they do: by queue, and by commit. */
const QUEUE = "queue"
const JOURNAL = "journal"

/** Routes of which this can be said, from as many requests as it takes. */
const routes = (is: (report: RouteReport) => boolean, words: (report: RouteReport) => string) =>
  Effect.map(PerformanceMonitor, (monitor) =>
    Effect.map(monitor.routes(ROUTE_WINDOW_MS), ({ routes }) =>
      routes
        .filter((report) => report.requests >= ROUTE_REQUESTS_MIN && is(report))
        .map((report): Sign => ({ subject: `${report.method} ${report.route}`, detail: words(report) })),
    ),
  )

const percent = (share: number) => `${Math.round(share * 100)} %`

const routeErrors = Effect.map(
  routes(
    isFailing,
    (report) => `${percent(errorRateOf(report))} of ${report.requests} answers in 5 minutes were 5xx`,
  ),
  (signs): AlertRule => ({
    name: "route_errors",
    severity: "critical",
    summary: "More than a tenth of the answers of a route are our fault",
    forMs: MINUTE_MS,
    coolDownMs: 5 * MINUTE_MS,
    signs,
  }),
)

const slowRoutes = Effect.map(
  routes(
    isSlow,
    ({ times }) => `5 % of the requests of 5 minutes took over ${Math.round(times.percentile(95))} ms`,
  ),
  (signs): AlertRule => ({
    name: "route_slow",
    severity: "warning",
    summary: "One request of a route in twenty takes longer than a second",
    forMs: MINUTE_MS,
    coolDownMs: 5 * MINUTE_MS,
    signs,
  }),
)

const stalledQueues = Effect.gen(function* () {
  const { levels } = yield* QueueStats
  const { activity } = yield* Queue
  const signs = Effect.map(Effect.all([levels, activity]), ([levels, activity]) =>
    stuckQueues(levels, activity).map(({ dueMs, name, running }): Sign => {
      const due = `a job has been due for ${Math.round(dueMs / MILLIS_PER_SECOND)} s`
      return {
        subject: name,
        detail: `${due}, and ${running === 0 ? "nothing runs" : `${running} attempts are silent`}`,
      }
    }),
  )
  return {
    name: "queue_stalled",
    severity: "critical",
    summary: "Jobs of a queue are due and nothing moves",
    forMs: 0,
    coolDownMs: MINUTE_MS,
    signs,
  } satisfies AlertRule
})

/** What was told since the last look, counted by subject. */
class Tally {
  readonly #observer: Observer
  #counts = new Map<string, number>()

  constructor(observer: Observer) {
    this.#observer = observer
  }

  add(subject: string): void {
    this.#counts.set(subject, (this.#counts.get(subject) ?? 0) + 1)
  }

  /** The signs of all that was counted; begins anew. */
  take(words: (count: number) => string): ReadonlyArray<Sign> {
    this.#observer.deliver()
    const counts = this.#counts
    this.#counts = new Map()
    return [...counts].map(([subject, count]) => ({ subject, detail: words(count) }))
  }
}

const deadLetters = Effect.gen(function* () {
  const observer = yield* CurrentObserver
  const tally = new Tally(observer)
  yield* observer.on("job", ({ outcome, queue }) => {
    // Of those of its own deliveries nobody could be told.
    if (outcome === "dead_letter" && queue !== ALERT_QUEUE) tally.add(queue)
  })
  return {
    name: "dead_letters",
    severity: "warning",
    summary: "Jobs of a queue have used up their attempts",
    forMs: 0,
    coolDownMs: 5 * MINUTE_MS,
    signs: Effect.sync(() => tally.take((count) => `${count} in 15 seconds`)),
  } satisfies AlertRule
})

const journalFailures = Effect.gen(function* () {
  const observer = yield* CurrentObserver
  const tally = new Tally(observer)
  yield* observer.on("database", ({ name, ok }) => {
    if (name === "COMMIT" && !ok) tally.add("journal")
  })
  return {
    name: "journal_failures",
    severity: "critical",
    summary: "The journal cannot store what happens: nothing is taken in",
    forMs: 0,
    coolDownMs: 2 * MINUTE_MS,
    signs: Effect.sync(() => tally.take((count) => `${count} commits failed in 15 seconds`)),
  } satisfies AlertRule
})

const quarantines = Effect.gen(function* () {
  const { stats } = yield* ActorSystem
  return {
    name: "actor_quarantined",
    severity: "critical",
    summary: "An actor refuses its commands for a while, after several defects",
    forMs: 0,
    coolDownMs: 0,
    signs: Effect.map(stats, ({ quarantined }) =>
      quarantined.map(
        (actor): Sign => ({ subject: actor, detail: "its behavior throws: the log says what" }),
      ),
    ),
  } satisfies AlertRule
})

/** A rule for what some of the health checks find. */
const checks = (rule: Omit<AlertRule, "signs">, isMeant: (check: string) => boolean) =>
  Effect.map(Health, ({ report }): AlertRule => {
    const signs = Effect.map(report, ({ checks }) =>
      checks
        .filter(({ name, status }) => status === "fail" && isMeant(name))
        .map(({ detail, name }): Sign => ({ subject: name, detail })),
    )
    return { ...rule, signs }
  })

const diskSpace = checks(
  {
    name: "disk_space",
    severity: "critical",
    summary: "The disk is nearly full",
    forMs: 0,
    coolDownMs: MINUTE_MS,
  },
  (check) => check === DISK,
)

const traceExport = checks(
  {
    name: "trace_export",
    severity: "warning",
    summary: "The collector does not take the traces: spans are lost",
    forMs: MINUTE_MS,
    coolDownMs: MINUTE_MS,
  },
  (check) => check === TRACES,
)

const otherChecks = checks(
  {
    name: "health_check",
    severity: "critical",
    summary: "A health check fails",
    forMs: MINUTE_MS,
    coolDownMs: MINUTE_MS,
  },
  (check) => ![DISK, TRACES, QUEUE, JOURNAL].includes(check),
)

/** Every rule; they look and listen for as long as the scope is open. */
export const alertRules = Effect.all([
  routeErrors,
  slowRoutes,
  stalledQueues,
  deadLetters,
  journalFailures,
  quarantines,
  diskSpace,
  traceExport,
  otherChecks,
])
