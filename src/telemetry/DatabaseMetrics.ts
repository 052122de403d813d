/**
 * What the database takes: the journal's commits and how many events share one, queries in the reader processes, and
 * everything that was slow.
 */
import { Effect, Layer } from "effect"
import { Counter, Family, Histogram } from "./Instruments.ts"
import { CurrentObserver, SLOW_QUERY_MS } from "./Observer.ts"

const SECONDS = [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]
const EVENTS = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1_024, 2_048, 4_096, 8_192]
const MILLIS_PER_SECOND = 1_000
const DATABASE = { db_system_name: "sqlite" }

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const registry = yield* Effect.context<never>()
    const observer = yield* CurrentObserver
    const durations = new Family(
      ([operation]) =>
        new Histogram(
          registry,
          {
            name: "db_client_operation_duration_seconds",
            description: "Time of a commit of the journal, and of a query in a reader process",
          },
          SECONDS,
          { ...DATABASE, db_operation_name: operation! },
        ),
    )
    const failures = new Family(
      ([operation]) =>
        new Counter(
          registry,
          { name: "renderowl_database_failures_total", description: "Commits and queries that failed" },
          { ...DATABASE, db_operation_name: operation! },
        ),
    )
    const slow = new Family(
      ([operation]) =>
        new Counter(
          registry,
          {
            name: "renderowl_database_slow_operations_total",
            description: `Commits, reads and queries that took more than ${SLOW_QUERY_MS} ms`,
          },
          { ...DATABASE, db_operation_name: operation! },
        ),
    )
    for (const operation of ["COMMIT", "SCAN"] as const) failures.of(operation)
    for (const operation of ["COMMIT", "READ", "SCAN"] as const) slow.of(operation)
    const events = new Counter(registry, {
      name: "renderowl_journal_events_total",
      description: "Events that were appended to the journal",
    })
    const batches = new Histogram(
      registry,
      { name: "renderowl_journal_commit_events", description: "Events that one commit has stored" },
      EVENTS,
    )
    yield* observer.on("database", (operation) => {
      const { durationMs, name, ok } = operation
      if (!ok) failures.of(name).add()
      if (durationMs >= SLOW_QUERY_MS) slow.of(name).add()
      if (name === "READ") return
      durations.of(name).record(durationMs / MILLIS_PER_SECOND)
      if (name !== "COMMIT" || !ok) return
      events.add(operation.events)
      batches.record(operation.events)
    })
  }),
)
