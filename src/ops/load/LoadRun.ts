/**
 * Runs a load. Without a rate each connection sends its next request when the last one is answered, so a slow server gets
 * fewer requests and looks better than it is. With a rate requests are due at fixed times whatever the server does, and one
 * that finds all connections busy counts from when it was due (Gil Tene's "coordinated omission"): that is what users would see.
 *
 * A request that is due while a connection is free counts from when it is sent: that the tester's own timer comes late is not the
 * server's fault. How late it comes is measured.
 */
import { Effect } from "effect"
import type { OnProgress } from "../Progress.ts"
import { LoadRecord } from "./LoadRecord.ts"
import { NOT_CONNECTED, type Request, type Requester } from "./Requester.ts"

/** After a connection was refused. */
const PAUSE_MS = 100
const PROGRESS_MS = 500
/** Groups that requests which were never sent are counted in, each with the time it waited in the middle. */
const UNSENT_GROUPS = 1_000

export interface LoadPlan {
  readonly requester: Requester
  /** The next request to send. */
  readonly next: () => Request
  readonly concurrency: number
  readonly durationMs: number
  /** Requests a second; undefined: as many as the connections take. */
  readonly rate?: number | undefined
  readonly onProgress?: OnProgress | undefined
}

/** What the run has cost the tester. */
export interface TesterCost {
  /** Share of the time in which its event loop was at work: near 1 it is the tester that limits. */
  readonly busy: number
  /** Processor time a request. */
  readonly cpuMicros: number
}

export interface LoadRun {
  readonly record: LoadRecord
  /** Until the last answer. */
  readonly elapsedMs: number
  readonly cost: TesterCost
}

/** Runs a load to its end; an interruption stops it. */
export const runLoad = (plan: LoadPlan): Effect.Effect<LoadRun> =>
  Effect.promise(async (signal) => {
    const record = new LoadRecord(plan.durationMs)
    const loop = performance.eventLoopUtilization()
    const cpu = process.cpuUsage()
    const start = performance.now()
    const telling = setInterval(() => tell(plan, record, performance.now() - start), PROGRESS_MS)
    try {
      const lanes = new Lanes(plan, record, start, signal)
      await Promise.all(Array.from({ length: plan.concurrency }, () => lanes.run()))
      lanes.countUnsent()
    } finally {
      clearInterval(telling)
    }
    const elapsedMs = performance.now() - start
    record.end()
    const { system, user } = process.cpuUsage(cpu)
    return {
      record,
      elapsedMs,
      cost: {
        busy: performance.eventLoopUtilization(loop).utilization,
        cpuMicros: (system + user) / Math.max(1, record.service.count),
      },
    }
  })

/** The connections' common work: who is free takes what is due next. */
class Lanes {
  readonly #plan: LoadPlan
  readonly #record: LoadRecord
  readonly #start: number
  readonly #end: number
  readonly #signal: AbortSignal
  /** Milliseconds between two requests that are due; undefined without a rate. */
  readonly #gap: number | undefined
  /** Requests that are due within the time. */
  readonly #dueCount: number
  #taken = 0

  constructor(plan: LoadPlan, record: LoadRecord, start: number, signal: AbortSignal) {
    this.#plan = plan
    this.#record = record
    this.#start = start
    this.#end = start + plan.durationMs
    this.#signal = signal
    this.#gap = plan.rate === undefined ? undefined : 1_000 / plan.rate
    this.#dueCount =
      plan.rate === undefined ? Number.POSITIVE_INFINITY : Math.ceil((plan.rate * plan.durationMs) / 1_000)
  }

  /** One connection, until the time is over. */
  async run(): Promise<void> {
    while (!this.#signal.aborted) {
      const freeAt = performance.now()
      const due = this.#gap === undefined ? freeAt : this.#start + this.#taken * this.#gap
      if (freeAt >= this.#end || this.#taken >= this.#dueCount) return
      this.#taken++
      const wasFree = freeAt <= due
      if (wasFree && this.#gap !== undefined) await this.#until(due)
      const request = this.#plan.next()
      const { answeredAt, askedAt, outcome, sentAt } = await this.#plan.requester.send(request)
      if (this.#gap !== undefined && wasFree) this.#record.lateness.record(askedAt - due)
      this.#record.request(request.endpoint, outcome, {
        latency: answeredAt - (wasFree ? sentAt : due),
        service: answeredAt - sentAt,
        at: answeredAt - this.#start,
      })
      if (NOT_CONNECTED.has(outcome)) await this.#until(performance.now() + PAUSE_MS)
    }
  }

  /** What was due by the end and found no free connection. */
  countUnsent(): void {
    if (this.#gap === undefined || this.#signal.aborted) return
    const group = Math.max(1, Math.ceil((this.#dueCount - this.#taken) / UNSENT_GROUPS))
    for (let first = this.#taken; first < this.#dueCount; first += group) {
      const count = Math.min(group, this.#dueCount - first)
      const middle = this.#start + (first + (count - 1) / 2) * this.#gap
      this.#record.unsent(this.#plan.next().endpoint, this.#end - middle, count)
    }
  }

  /** Node's timers are of whole milliseconds, and may come a little early. */
  async #until(time: number): Promise<void> {
    for (let left = time - performance.now(); left > 0; left = time - performance.now()) {
      if (this.#signal.aborted) return
      await new Promise((resolve) => setTimeout(resolve, Math.ceil(left)))
    }
  }
}

const tell = ({ durationMs, onProgress }: LoadPlan, record: LoadRecord, elapsedMs: number): void => {
  const { count } = record.service
  const perSecond = Math.round((count / elapsedMs) * 1_000)
  onProgress?.({
    task: "loading, seconds",
    done: Math.min(Math.floor(elapsedMs / 1_000), durationMs / 1_000),
    total: durationMs / 1_000,
    note: [
      `${perSecond.toLocaleString("en")} requests/s`,
      `p50 ${record.latency.percentile(50).toFixed(1)} ms`,
      `p99 ${record.latency.percentile(99).toFixed(1)} ms`,
      `${record.errorCount.toLocaleString("en")} errors`,
    ].join(", "),
  })
}
