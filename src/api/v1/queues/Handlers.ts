/**
 * What the queue routes do.
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { QueueNotFound } from "../../../jobs/JobErrors.ts"
import { Queue } from "../../../jobs/Queue.ts"
import type { QueueActivity } from "../../../jobs/QueueActor.ts"
import { QueueBehavior } from "../../../jobs/QueueBehavior.ts"
import { type QueueDepth, QueueStats } from "../../../jobs/QueueStats.ts"
import { ApiV1 } from "../ApiV1.ts"
import { impossible, toProblem } from "../DomainProblems.ts"
import { requestMetadata } from "../RequestMetadata.ts"
import type { QueueJson } from "./Api.ts"

const toQueueJson = (depth: QueueDepth, activity: QueueActivity | undefined): typeof QueueJson.Type => {
  const settings = activity?.settings ?? QueueBehavior.initial
  const running = activity?.running ?? new Map<string, number>()
  return {
    name: depth.name,
    paused: settings.paused,
    draining: settings.draining,
    limits: settings.limits,
    depth: depth.byStatus,
    waiting_by_priority: depth.waitingByPriority,
    oldest_pending_ms: depth.oldestPendingMs,
    throughput: {
      completed_per_minute: activity?.lastMinute.completedPerMinute ?? 0,
      failed_per_minute: activity?.lastMinute.failedPerMinute ?? 0,
    },
    averages: {
      wait_ms: activity?.lastMinute.waitMsAverage ?? 0,
      processing_ms: activity?.lastMinute.processingMsAverage ?? 0,
    },
    workers: {
      running: running.values().reduce((sum, attempts) => sum + attempts, 0),
      running_by_type: Object.fromEntries(running),
    },
  }
}

export const QueuesLive = HttpApiBuilder.group(
  ApiV1,
  "queues",
  Effect.fnUntraced(function* (handlers) {
    const stats = yield* QueueStats
    const queue = yield* Queue

    const show = Effect.fnUntraced(function* (name?: string) {
      const depths = yield* stats.depths(name)
      const activity = yield* queue.activity
      return depths.map((depth) => toQueueJson(depth, activity.get(depth.name)))
    })

    const showOne = Effect.fnUntraced(function* (name: string) {
      const [found] = yield* show(name)
      return found ?? (yield* new QueueNotFound({ name }))
    })

    const govern =
      (command: "pause" | "drain" | "resume") =>
      ({ params: { name } }: { readonly params: { readonly name: string } }) =>
        Effect.gen(function* () {
          yield* queue[command](name, yield* requestMetadata)
          return yield* showOne(name)
        }).pipe(toProblem)

    return handlers.handleAll({
      list: () => Effect.map(show(), (data) => ({ data })).pipe(toProblem),
      get: ({ params: { name } }) => showOne(name).pipe(toProblem),
      setUp: ({ params: { name }, payload }) =>
        Effect.gen(function* () {
          const limits = { concurrency: null, key_concurrency: 1, rate_limit: null, ...payload }
          yield* queue.limit(name, limits, yield* requestMetadata)
          return yield* showOne(name)
        }).pipe(impossible("QueueNotFound"), toProblem),
      pause: govern("pause"),
      drain: govern("drain"),
      resume: govern("resume"),
    })
  }),
)
