/**
 * What is read from the rooms of the system at each scrape: counters that they keep anyway, and the depth of queues from the
 * table that counts them. Nothing here scans, and nothing waits for a reader process.
 */
import { Effect } from "effect"
import { ActorSystem } from "../../actor/ActorSystem.ts"
import { Queue } from "../../jobs/Queue.ts"
import { type LevelStatus, type QueueLevel, QueueStats } from "../../jobs/QueueStats.ts"
import type { StatementCacheStats } from "../../sqlite/StatementCache.ts"
import { ReaderPool, type ReaderPoolStats } from "../../sqlite/ReaderPool.ts"
import { SqliteClient } from "../../sqlite/SqliteClient.ts"
import { counterOf, gauge, Gauges, type Labels, OTHER } from "../../telemetry/Instruments.ts"
import { QUEUES_NAMED_MAX } from "../../telemetry/JobMetrics.ts"
import type { Collector } from "../../telemetry/Metrics.ts"

const MILLIS_PER_SECOND = 1_000

/** The depth of queues: each by its name, as many as may have one, and all others together. */
const queueDepth = Effect.gen(function* () {
  const registry = yield* Effect.context<never>()
  const stats = yield* QueueStats
  const jobs = new Gauges(registry, {
    name: "renderowl_queue_jobs",
    description: "Jobs of a queue by status; waiting are those that are due and those that are not yet",
  })
  const oldest = new Gauges(registry, {
    name: "renderowl_queue_oldest_pending_seconds",
    description: "Time for which the oldest job of a queue that has not started has been due",
  })
  const collect = Effect.map(stats.levels, (levels) => {
    const named = together(levels)
    jobs.set(
      named.flatMap(({ jobs, name }) =>
        Object.entries(jobs).map(([status, count]): [Labels, number] => [{ queue: name, status }, count]),
      ),
    )
    oldest.set(
      named.map(({ name, oldestPendingMs }) => [{ queue: name }, (oldestPendingMs ?? 0) / MILLIS_PER_SECOND]),
    )
  })
  return { name: "queue depth", collect } satisfies Collector
})

/** The queues with most jobs in them have names of their own. */
const together = (levels: ReadonlyArray<QueueLevel>): ReadonlyArray<QueueLevel> => {
  if (levels.length <= QUEUES_NAMED_MAX) return levels
  const unfinished = ({ jobs }: QueueLevel) => jobs.waiting + jobs.blocked + jobs.processing
  const sorted = levels.toSorted((a, b) => unfinished(b) - unfinished(a))
  const jobs = { waiting: 0, blocked: 0, processing: 0, completed: 0, dead_letter: 0, cancelled: 0 }
  let oldestPendingMs = 0
  for (const level of sorted.slice(QUEUES_NAMED_MAX)) {
    for (const [status, count] of Object.entries(level.jobs)) jobs[status as LevelStatus] += count
    oldestPendingMs = Math.max(oldestPendingMs, level.oldestPendingMs ?? 0)
  }
  return [...sorted.slice(0, QUEUES_NAMED_MAX), { name: OTHER, jobs, oldestPendingMs }]
}

/** Attempts and messages of the queues of this process. */
const queueActivity = Effect.gen(function* () {
  const registry = yield* Effect.context<never>()
  const queue = yield* Queue
  const running = new Gauges(registry, {
    name: "renderowl_job_attempts_running",
    description: "Attempts under way in this process, by type",
  })
  const mailboxes = new Gauges(registry, {
    name: "renderowl_queue_mailbox_messages",
    description: "Messages that wait in the mailboxes of queues: all together, and the longest",
  })
  const collect = Effect.map(queue.activity, (queues) => {
    const byType = new Map<string, number>()
    let waiting = 0
    let most = 0
    for (const activity of queues.values()) {
      for (const [type, attempts] of activity.running) byType.set(type, (byType.get(type) ?? 0) + attempts)
      waiting += activity.waiting
      most = Math.max(most, activity.waiting)
    }
    // Types are registered by the program, so they are few.
    running.set([...byType].map(([type, attempts]) => [{ type }, attempts]))
    mailboxes.set([
      [{ of: "all" }, waiting],
      [{ of: "longest" }, most],
    ])
  })
  return { name: "queue activity", collect } satisfies Collector
})

const actors = Effect.gen(function* () {
  const system = yield* ActorSystem
  let stats = yield* system.stats
  yield* gauge({
    name: "renderowl_actors_resident",
    description: "Actors in memory",
    read: () => stats.resident,
  })
  yield* gauge({
    name: "renderowl_actor_mailbox_messages",
    description: "Commands that wait in the mailboxes of actors",
    read: () => stats.waiting,
  })
  yield* counterOf({
    name: "renderowl_actor_restarts_total",
    description: "Actors that were loaded anew after a defect",
    read: () => stats.restarts,
  })
  yield* counterOf({
    name: "renderowl_actor_quarantines_total",
    description: "Actors that refuse commands for a while after several defects",
    read: () => stats.quarantines,
  })
  return {
    name: "actors",
    collect: Effect.map(system.stats, (now) => void (stats = now)),
  } satisfies Collector
})

const READERS = { db_client_connection_pool_name: "readers" }

const readers = Effect.gen(function* () {
  const pool = yield* ReaderPool
  let stats: ReaderPoolStats = yield* pool.stats
  // OpenTelemetry's name is db.client.connection.count, but `_count` belongs to histograms in Prometheus.
  for (const [state, read] of [
    ["idle", () => stats.size - stats.busy],
    ["used", () => stats.busy],
  ] as const) {
    yield* gauge({
      name: "db_client_connections",
      description: "Reader processes of the pool",
      labels: { ...READERS, db_client_connection_state: state },
      read,
    })
  }
  yield* gauge({
    name: "db_client_connection_max",
    description: "Reader processes that the pool may have",
    labels: READERS,
    read: () => stats.max,
  })
  yield* gauge({
    name: "db_client_connection_pending_requests",
    description: "Queries that wait for a reader process",
    labels: READERS,
    read: () => stats.waiting,
  })
  return {
    name: "reader pool",
    collect: Effect.map(pool.stats, (now) => void (stats = now)),
  } satisfies Collector
})

const statements = Effect.gen(function* () {
  const { reader, writer } = yield* SqliteClient
  for (const [connection, database] of Object.entries({ reader, writer })) {
    const labels = { connection }
    for (const [outcome, of] of [
      ["hit", "hits"],
      ["miss", "misses"],
    ] as const satisfies ReadonlyArray<readonly [string, keyof StatementCacheStats]>) {
      yield* counterOf({
        name: "renderowl_statement_cache_requests_total",
        description: "Prepared statements that were asked for",
        labels: { ...labels, outcome },
        read: () => database.statementStats[of],
      })
    }
    yield* counterOf({
      name: "renderowl_statement_cache_evictions_total",
      description: "Prepared statements that made room for others",
      labels,
      read: () => database.statementStats.evictions,
    })
    yield* gauge({
      name: "renderowl_statement_cache_entries",
      description: "Prepared statements that are kept",
      labels,
      read: () => database.statementStats.size,
    })
  }
})

/** Registers all of it; answers what is to be done at each scrape. */
export const collectors = Effect.gen(function* () {
  yield* statements
  return [yield* queueDepth, yield* queueActivity, yield* actors, yield* readers]
})
