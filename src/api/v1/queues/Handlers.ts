/**
 * What the queue routes do.
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { NotFoundProblem } from "../../../http/RequestProblems.ts"
import { Queue } from "../../../jobs/Queue.ts"
import type { QueueActivity } from "../../../jobs/QueueActor.ts"
import { type QueueDepth, QueueStats } from "../../../jobs/QueueStats.ts"
import { ApiV1 } from "../ApiV1.ts"
import { toProblem } from "../DomainProblems.ts"
import type { QueueJson } from "./Api.ts"

const toQueueJson = (depth: QueueDepth, activity: QueueActivity | undefined): typeof QueueJson.Type => {
  const running = activity?.running ?? new Map<string, number>()
  return {
    name: depth.name,
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

    return handlers.handleAll({
      list: () => Effect.map(show(), (data) => ({ data })).pipe(toProblem),
      get: ({ params: { name } }) =>
        Effect.gen(function* () {
          const [found] = yield* show(name)
          if (found === undefined)
            return yield* new NotFoundProblem({ detail: `No queue is called ${name}.` })
          return found
        }).pipe(toProblem),
    })
  }),
)
