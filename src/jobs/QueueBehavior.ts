/**
 * The rules of a queue as such: whether it starts attempts, whether it takes jobs, and its limits. They are events of the
 * queue's own stream, so they survive a restart and have a history. Pure.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import { accept, type Behavior } from "../actor/Behavior.ts"
import { type DomainEvent, eventType } from "../journal/DomainEvent.ts"

const STREAM_PREFIX = "queue/"

/** The stream of a queue's own events. */
export const streamOfQueue = (name: string): string => STREAM_PREFIX + name
/** The queue that such a stream belongs to. */
export const queueOfStream = (stream: string): string => stream.slice(STREAM_PREFIX.length)

/** At most so many attempts start within any span of so many milliseconds. */
export const RateLimit = Schema.Struct({ starts: Schema.Int, per_ms: Schema.Int })
export type RateLimit = typeof RateLimit.Type

/** What a queue may do at a time. Null: no limit beside those of the job types. */
export const QueueLimits = Schema.Struct({
  /** Attempts under way. */
  concurrency: Schema.NullOr(Schema.Int),
  /** Attempts under way of jobs with the same concurrency key. */
  key_concurrency: Schema.Int,
  rate_limit: Schema.NullOr(RateLimit),
})
export type QueueLimits = typeof QueueLimits.Type

const QueuePaused = Schema.TaggedStruct("QueuePaused", {})
const QueueDrainStarted = Schema.TaggedStruct("QueueDrainStarted", {})
const QueueResumed = Schema.TaggedStruct("QueueResumed", {})
const QueueLimitsChanged = Schema.TaggedStruct("QueueLimitsChanged", QueueLimits.fields)

export type QueueEvent =
  | typeof QueuePaused.Type
  | typeof QueueDrainStarted.Type
  | typeof QueueResumed.Type
  | typeof QueueLimitsChanged.Type

/** For the journal's catalogue. */
export const queueEventTypes = [
  eventType(QueuePaused),
  eventType(QueueDrainStarted),
  eventType(QueueResumed),
  eventType(QueueLimitsChanged),
]

const tags: ReadonlySet<string> = new Set(queueEventTypes.map((type) => type.tag))

/** Whether an event belongs to a queue's own stream. */
export const isQueueEvent = (event: DomainEvent): event is QueueEvent => tags.has(event._tag)

export interface QueueState {
  /** Starts no attempt; those under way go on. */
  readonly paused: boolean
  /** Takes no new job, and works off those it has. */
  readonly draining: boolean
  readonly limits: QueueLimits
  /** Somebody has set them. Setting a queue up with the limits that it has anyway makes it exist. */
  readonly isSetUp: boolean
}

/** Every command says how the queue shall be from now on: said twice, it changes nothing. */
export const queueCommands = [
  Rpc.make("Pause"),
  Rpc.make("Drain"),
  /** Starts attempts and takes jobs again. */
  Rpc.make("Resume"),
  Rpc.make("ChangeLimits", { payload: QueueLimits.fields }),
] as const

const done = (...events: ReadonlyArray<QueueEvent>) => accept<QueueState, QueueEvent, void>(events, () => {})

const isSame = (a: QueueLimits, b: QueueLimits): boolean =>
  a.concurrency === b.concurrency &&
  a.key_concurrency === b.key_concurrency &&
  a.rate_limit?.starts === b.rate_limit?.starts &&
  a.rate_limit?.per_ms === b.rate_limit?.per_ms

export const QueueBehavior: Behavior<QueueState, QueueEvent, (typeof queueCommands)[number]> = {
  initial: {
    paused: false,
    draining: false,
    limits: { concurrency: null, key_concurrency: 1, rate_limit: null },
    isSetUp: false,
  },

  decide: {
    Pause: (state) => (state.paused ? done() : done({ _tag: "QueuePaused" })),
    Drain: (state) => (state.draining ? done() : done({ _tag: "QueueDrainStarted" })),
    Resume: (state) => (state.paused || state.draining ? done({ _tag: "QueueResumed" }) : done()),
    ChangeLimits: (state, limits) =>
      state.isSetUp && isSame(state.limits, limits)
        ? done()
        : done({ _tag: "QueueLimitsChanged", ...limits }),
  },

  evolve: (state, event) => {
    switch (event._tag) {
      case "QueuePaused":
        return { ...state, paused: true }
      case "QueueDrainStarted":
        return { ...state, draining: true }
      case "QueueResumed":
        return { ...state, paused: false, draining: false }
      case "QueueLimitsChanged": {
        const { _tag, ...limits } = event
        return { ...state, limits, isSetUp: true }
      }
    }
  },
}
