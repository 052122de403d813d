/**
 * Running one attempt of a job: decoding the payload, the handler under its time limit, and telling the queue how it
 * ended. What the queue must know is told until it is heard: a full disk delays a completion, it does not lose it.
 */
import {
  Cause,
  Clock,
  Context,
  Duration,
  Effect,
  Exit,
  Fiber,
  Option,
  Predicate,
  Random,
  Schedule,
  Schema,
  Tracer,
} from "effect"
import type { Json } from "effect/Schema"
import * as MessageSpans from "../telemetry/MessageSpans.ts"
import { parentSpan, spanFrom } from "../telemetry/Tracing.ts"
import * as TraceParent from "../telemetry/TraceParent.ts"
import { AttemptLog } from "./AttemptLog.ts"
import type { JobContext, ProgressUpdate } from "./JobContext.ts"
import { type JobFailure, type LogLine, wholeMillis } from "./JobEvents.ts"
import type { JobState } from "./JobState.ts"
import type { JobTrace } from "./JobTrace.ts"
import type { AnyJobType } from "./JobType.ts"
import { retryDelayMs } from "./Retry.ts"
import { decodeStored } from "./StoredValue.ts"

/** Characters of an error's message that are kept. */
const MESSAGE_LENGTH_MAX = 2_000
/** Between two tries to tell the queue something while its store refuses. */
const RETELL_AFTER: Duration.Input = "50 millis"
const RETELL = Schedule.min([Schedule.exponential(RETELL_AFTER), Schedule.spaced("2 seconds")])
/** Progress is journaled at most this often. */
export const PROGRESS_JOURNAL_INTERVAL_MS = 1_000

/** A type of job with the handler that runs it here. */
export interface Registration {
  readonly job: AnyJobType
  readonly run: (payload: unknown, context: JobContext) => Effect.Effect<unknown, unknown>
  readonly concurrency: number | undefined
}

/** The right to run a job: held until it is answered, revoked or expired. */
export interface Lease {
  readonly id: string
  readonly attempt: number
  /** As it was when the attempt started; its steps grow while the attempt runs. */
  readonly state: JobState
  readonly trace: JobTrace | undefined
  /** The attempt's span, from its start on, if it has one; what it tells the journal names it. */
  span: TraceParent.SpanIds | undefined
}

/** The attempt that the current fiber runs; `undefined` outside of one. */
export const CurrentAttempt = Context.Reference<Lease | undefined>("renderowl/jobs/CurrentAttempt", {
  defaultValue: () => undefined,
})

/** What an attempt tells its queue. Each is refused with `StaleLease` when the lease is gone. */
export interface LeaseCommands {
  readonly complete: (lease: Lease, result: Json) => Effect.Effect<void, { readonly _tag: string }>
  readonly fail: (
    lease: Lease,
    failure: { readonly error: JobFailure; readonly retryable: boolean; readonly retryAt: number },
  ) => Effect.Effect<void, { readonly _tag: string }>
  readonly completeStep: (
    lease: Lease,
    name: string,
    result: Json,
  ) => Effect.Effect<void, { readonly _tag: string }>
  /** `durable`: also to the journal. */
  readonly progress: (
    lease: Lease,
    update: ProgressUpdate & { readonly at: number },
    durable: boolean,
  ) => void
  /** To the journal, without waiting for it. */
  readonly log: (
    lease: Lease,
    log: { readonly lines: ReadonlyArray<LogLine>; readonly dropped?: number },
  ) => void
}

/** Runs an attempt to its end. It never fails: whatever happens is told to the queue, or the lease was revoked. */
export const runAttempt = (
  registration: Registration,
  lease: Lease,
  commands: LeaseCommands,
): Effect.Effect<void> =>
  Effect.withFiber<void>((fiber) => {
    const span = beginSpan(fiber, lease)
    const context = Context.add(fiber.context, CurrentAttempt, lease)
    // A fiber of its own, so nobody else's context changes. It ends soon after the span does.
    fiber.setContext(span === undefined ? context : Context.add(context, Tracer.ParentSpan, span))
    const log = new AttemptLog((lines) => commands.log(lease, lines), Effect.runForkWith(fiber.context))
    const attempt = work(registration, lease, commands, log)
    return Effect.matchCauseEffect(
      span === undefined ? attempt : MessageSpans.finishAfter(fiber, span, attempt),
      {
        onSuccess: (result) => {
          log.close()
          return tell(commands.complete(lease, result))
        },
        onFailure: (cause) => {
          log.close()
          return tellFailure(registration.job, lease, commands, cause)
        },
      },
    )
    // Interrupted: its lease is gone, and with it whoever could be told.
  }).pipe(Effect.catchCause(() => Effect.void))

/** The handler on the decoded payload; its result as JSON. */
const work = ({ job, run }: Registration, lease: Lease, commands: LeaseCommands, log: AttemptLog) =>
  decodeStored(job.payload, lease.state.payload).pipe(
    Effect.mapErrorEager((cause) => new PayloadUnreadable({ message: cause.message })),
    Effect.flatMapEager((payload) =>
      withTimeLimit(
        Effect.suspend(() => run(payload, contextOf(lease, commands, log))),
        lease.state.timeoutMs,
      ),
    ),
    Effect.flatMap((result) => Effect.mapEager(Schema.encodeUnknownEffect(job.success)(result), toJson)),
  )

/**
 * Under that of the submission, in whichever process that was, with a link to the attempt before. A job that was submitted in a
 * trace which nobody records has none.
 */
const beginSpan = (fiber: Fiber.Fiber<unknown, unknown>, lease: Lease): Tracer.Span | undefined => {
  if (parentSpan(fiber) === null) return undefined
  const parent = spanFrom(lease.trace?.submitted.traceparent)
  if (parent?.sampled === false) return undefined
  const { queue, type } = lease.state
  const link = spanFrom(lease.trace?.lastAttempt)
  const span = MessageSpans.begin(fiber, { operation: "process", queue, type, parent, link })
  span.attribute("messaging.message.id", lease.id)
  span.attribute("renderowl.job.attempt", lease.attempt)
  lease.span = span
  return span
}

const tellFailure = Effect.fnUntraced(function* (
  job: AnyJobType,
  lease: Lease,
  commands: LeaseCommands,
  cause: Cause.Cause<unknown>,
) {
  const now = yield* Clock.currentTimeMillis
  const { error, retryable, retryAfterMs } = describe(job, cause)
  const delay = retryAfterMs ?? retryDelayMs(job.retry, lease.state.failures + 1, yield* Random.next)
  yield* tell(commands.fail(lease, { error, retryable, retryAt: wholeMillis(now + Math.max(0, delay)) }))
})

/** A timer is only set for work that waits for something: one that ends in its first step needs none. */
const withTimeLimit = <A, E>(work: Effect.Effect<A, E>, limitMs: number): Effect.Effect<A, E | TimedOut> =>
  Effect.flatMap(Effect.forkChild(work, { startImmediately: true }), (fiber) => {
    const ended = fiber.pollUnsafe()
    if (ended !== undefined) return ended
    return Effect.timeoutOrElse(Fiber.join(fiber), {
      duration: limitMs,
      orElse: () =>
        Effect.andThen(
          Fiber.interrupt(fiber),
          Effect.fail(new TimedOut({ message: `took longer than ${limitMs} ms` })),
        ),
    })
  })

/** The attempt took longer than its time limit. */
export class TimedOut extends Schema.TaggedError<TimedOut>()("TimedOut", { message: Schema.String }) {}

/** The stored payload does not fit the schema of the handler that should run it. */
class PayloadUnreadable extends Schema.TaggedError<PayloadUnreadable>()("PayloadUnreadable", {
  message: Schema.String,
}) {
  readonly retryable = false
}

/** Tells the queue until it hears. With the lease gone there is nobody to tell, and nothing left to do. */
const tell = (effect: Effect.Effect<void, { readonly _tag: string }>): Effect.Effect<void> =>
  Effect.catch(effect, ({ _tag }) => (_tag === "StaleLease" ? Effect.interrupt : tellAgain(effect)))

const tellAgain = (effect: Effect.Effect<void, { readonly _tag: string }>): Effect.Effect<void> =>
  Effect.delay(effect, RETELL_AFTER).pipe(
    Effect.retry({ schedule: RETELL, while: ({ _tag }) => _tag !== "StaleLease" }),
    Effect.catch(() => Effect.interrupt),
  )

const contextOf = (lease: Lease, commands: LeaseCommands, log: AttemptLog): JobContext => {
  const { state } = lease
  const results = new Map<string, Json>(state.steps.map(({ name, result }) => [name, result]))
  let journaledAt = Number.NEGATIVE_INFINITY
  const step = <A, E, R>(
    name: string,
    effect: Effect.Effect<A, E, R>,
    schema?: Schema.Codec<A, Json>,
  ): Effect.Effect<A, E, R> =>
    Effect.gen(function* () {
      const known = results.get(name)
      if (known !== undefined) {
        return schema === undefined
          ? (known as A)
          : yield* Effect.orDie(Schema.decodeUnknownEffect(schema)(known))
      }
      const result = yield* effect
      const json =
        schema === undefined
          ? toJson(result)
          : yield* Effect.orDie(Schema.encodeUnknownEffect(schema)(result))
      yield* tell(commands.completeStep(lease, name, json))
      results.set(name, json)
      return result
    })
  const hasStep = (name: string) => results.has(name)
  const progress = (update: ProgressUpdate) =>
    Effect.map(Clock.currentTimeMillis, (at) => {
      const percent = Math.min(100, Math.max(0, update.percent || 0))
      const durable = at - journaledAt >= PROGRESS_JOURNAL_INTERVAL_MS
      if (durable) journaledAt = at
      commands.progress(lease, { ...update, percent, at }, durable)
    })
  return {
    id: lease.id,
    type: state.type,
    queue: state.queue,
    attempt: lease.attempt,
    maxAttempts: state.maxAttempts,
    tags: state.tags,
    step,
    hasStep,
    progress,
    log: (message, { data, level = "info" } = {}) =>
      Effect.map(Clock.currentTimeMillis, (at) => log.add(at, level, message, data)),
    logger: log.logger,
  }
}

interface AttemptFailure {
  readonly error: JobFailure
  readonly retryable: boolean
  readonly retryAfterMs: number | undefined
}

/** What a cause says of the attempt: the handler's typed error, a defect, or an interruption from within. */
const describe = (job: AnyJobType, cause: Cause.Cause<unknown>): AttemptFailure => {
  const failure = cause.reasons.find(Cause.isFailReason)
  if (failure === undefined) {
    const defect = Cause.squash(cause)
    return {
      error: { name: nameOf(defect), message: messageOf(defect) },
      retryable: true,
      retryAfterMs: undefined,
    }
  }
  const { error } = failure
  const encoded = Exit.map(Schema.encodeUnknownExit(job.error)(error), toJsonOrNull)
  const data = Exit.isSuccess(encoded) && encoded.value !== null ? { data: encoded.value } : {}
  const retryAfter = Predicate.hasProperty(error, "retryAfter") ? error.retryAfter : undefined
  return {
    error: { name: nameOf(error), message: messageOf(error), ...data },
    retryable: !(Predicate.hasProperty(error, "retryable") && error.retryable === false),
    retryAfterMs: Option.getOrUndefined(
      Option.map(Duration.fromInput(retryAfter as Duration.Input), Duration.toMillis),
    ),
  }
}

const nameOf = (error: unknown): string => {
  if (Predicate.hasProperty(error, "_tag") && typeof error._tag === "string") return error._tag
  return error instanceof Error ? error.name : "Error"
}

const messageOf = (error: unknown): string => {
  const message = textOf(Predicate.hasProperty(error, "message") ? error.message : error)
  return (message === "" ? nameOf(error) : message).slice(0, MESSAGE_LENGTH_MAX)
}

/** Some objects refuse to be text. */
const textOf = (value: unknown): string => {
  try {
    return String(value)
  } catch {
    return Object.prototype.toString.call(value)
  }
}

/**
 * What the journal will keep of a value: nothing is null, and an object is what its JSON says. Throws for what has no
 * JSON, here and not in the commit that others share.
 */
const toJson = (value: unknown): Json => {
  if (value === undefined || value === null) return null
  if (typeof value === "string" || typeof value === "boolean") return value
  const text = JSON.stringify(value) as string | undefined
  return text === undefined ? null : (JSON.parse(text) as Json)
}

const toJsonOrNull = (value: unknown): Json => {
  try {
    return toJson(value)
  } catch {
    return null
  }
}
