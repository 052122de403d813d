/**
 * What becomes of jobs, by queue and type: how many came, how long they waited, ran and took in all, and how their attempts and
 * they themselves ended. Callers choose names of queues, so only so many have series of their own. All series of a queue and type
 * begin together, at 0: Prometheus sees no increase in a counter that begins at 1.
 */
import { Effect, Layer } from "effect"
import {
  Counter,
  Family,
  Histogram,
  type Instrument,
  type Labels,
  LabelValues,
  type Registry,
} from "./Instruments.ts"
import { ATTEMPT_OUTCOMES, CurrentObserver, JOB_OUTCOMES } from "./Observer.ts"

/** Queues, and types, with series of their own. */
export const QUEUES_NAMED_MAX = 100
const TYPES_NAMED_MAX = 100
/** Pairs of them, each of which has some 60 series. */
const PAIRS_MAX = 300

const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3_600]
const MILLIS_PER_SECOND = 1_000

/** How this is called as a messaging system, for OpenTelemetry. */
export const MESSAGING_SYSTEM = "renderowl"

const SENT: Instrument = {
  name: "messaging_client_sent_messages_total",
  description: "Jobs that were taken in",
}
const WAIT: Instrument = {
  name: "renderowl_job_wait_duration_seconds",
  description: "Time between an attempt being due and its start",
}
const PROCESS: Instrument = {
  name: "messaging_process_duration_seconds",
  description: "Time that an attempt ran, however it ended",
}
const TOTAL: Instrument = {
  name: "renderowl_job_duration_seconds",
  description: "Time between a job being taken in and its end",
}
const ATTEMPTS: Instrument = {
  name: "renderowl_job_attempts_total",
  description: "Attempts that have ended: completed, failed, stalled, handed_back or cancelled",
}
const ENDED: Instrument = {
  name: "renderowl_jobs_ended_total",
  description: "Jobs that have ended: completed, dead_letter or cancelled",
}

/** A counter for each outcome that there is. */
const countersOf = <Outcome extends string>(
  registry: Registry,
  instrument: Instrument,
  labels: Labels,
  outcomes: ReadonlyArray<Outcome>,
) =>
  Object.fromEntries(
    outcomes.map((outcome) => [outcome, new Counter(registry, instrument, { ...labels, outcome })]),
  ) as Record<Outcome, Counter>

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Effect.context<never>()
    const observer = yield* CurrentObserver
    const queues = new LabelValues(QUEUES_NAMED_MAX)
    const types = new LabelValues(TYPES_NAMED_MAX)
    const pairs = new Family(([queue, type]) => {
      const labels = { queue: queue!, type: type! }
      const messaging = {
        messaging_system: MESSAGING_SYSTEM,
        messaging_destination_name: queue!,
        type: type!,
      }
      return {
        sent: new Counter(registry, SENT, { ...messaging, messaging_operation_name: "send" }),
        wait: new Histogram(registry, WAIT, SECONDS, labels),
        process: new Histogram(registry, PROCESS, SECONDS, {
          ...messaging,
          messaging_operation_name: "process",
        }),
        total: new Histogram(registry, TOTAL, SECONDS, labels),
        attempts: countersOf(registry, ATTEMPTS, labels, ATTEMPT_OUTCOMES),
        ended: countersOf(registry, ENDED, labels, JOB_OUTCOMES),
      }
    }, PAIRS_MAX)
    const of = (queue: string, type: string) => pairs.of(queues.of(queue), types.of(type))

    yield* observer.on("enqueued", ({ queue, type }) => of(queue, type).sent.add())
    yield* observer.on("attempt", ({ outcome, processingMs, queue, type, waitMs }) => {
      const { attempts, process, wait } = of(queue, type)
      attempts[outcome].add()
      wait.record(waitMs / MILLIS_PER_SECOND)
      process.record(processingMs / MILLIS_PER_SECOND)
    })
    yield* observer.on("job", ({ outcome, queue, totalMs, type }) => {
      const { ended, total } = of(queue, type)
      ended[outcome].add()
      total.record(totalMs / MILLIS_PER_SECOND)
    })
  }),
)
