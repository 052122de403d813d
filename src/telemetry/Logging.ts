/**
 * The log of a program: whatever is logged with Effect, and a summary of each request and each attempt of a job. A line is
 * built only when its level is on, belongs to its request or attempt by itself, and has no secrets in it.
 *
 * Summaries have the level of what they tell: `info` when it went as it should, also for what the caller did wrong; `warn` for a
 * slow request, one that failed on our side, and an attempt that will be tried again; `error` for a job that is dead. Probes and
 * scrapes, which come by the clock and say nothing, are `debug`. One line a request is what an operator looks for first, and it
 * costs little (see `bench/telemetry.ts`); `LOG_LEVEL=warn` leaves those that matter.
 */
import { Cause, type Fiber, Layer, Logger, type LogLevel as EffectLevel, References } from "effect"
import type { Json } from "effect/Schema"
import { Effect } from "effect"
import {
  type LogContext,
  type LogEntry,
  type LogFormat,
  LogKind,
  type LogLevel,
  LOG_LEVELS,
} from "./LogFormat.ts"
import { Logs } from "./LogSink.ts"
import { textOf, valueOf } from "./LogValue.ts"
import {
  CurrentObserver,
  type DatabaseOperation,
  type EndedAttempt,
  type EndedJob,
  type FinishedRequest,
  SLOW_QUERY_MS,
} from "./Observer.ts"
import { isSecretField, REDACTED } from "./Redaction.ts"
import { RequestKinds } from "./RequestKinds.ts"

/** A request that takes longer is worth a warning. */
export const SLOW_REQUEST_MS = 1_000
const SERVER_ERROR = 500

/** The level from which on something is logged. */
export type Threshold = LogLevel | "none"

export interface LoggingOptions {
  readonly level: Threshold
  readonly format: LogFormat
  /** The request or attempt that a fiber works for. */
  readonly contextOf: (fiber: Fiber.Fiber<unknown, unknown>) => LogContext | undefined
  /** Routes whose requests come by the clock. */
  readonly quietRoutes: ReadonlySet<string>
}

const LEVELS: Readonly<Record<EffectLevel.LogLevel, LogLevel>> = {
  All: "trace",
  Trace: "trace",
  Debug: "debug",
  Info: "info",
  Warn: "warn",
  Error: "error",
  Fatal: "fatal",
  None: "fatal",
}

const EFFECT_LEVELS: Readonly<Record<Threshold, EffectLevel.LogLevel>> = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  fatal: "Fatal",
  none: "None",
}

const RANKS: ReadonlyMap<Threshold, number> = new Map(
  [...LOG_LEVELS, "none" as const].map((level, i) => [level, i]),
)

/** What was logged with Effect, as an entry. */
const entryOf = (
  { cause, date, fiber, logLevel, message }: Logger.Options<unknown>,
  contextOf: LoggingOptions["contextOf"],
): LogEntry => {
  const words: Array<string> = []
  const metadata: Record<string, Json> = {}
  const add = (name: string, value: unknown) => {
    metadata[name] = isSecretField(name) ? REDACTED : valueOf(value)
  }
  const context = contextOf(fiber)
  for (const [name, value] of Object.entries({ ...context?.fields })) add(name, value)
  for (const [name, value] of Object.entries(fiber.getRef(References.CurrentLogAnnotations))) add(name, value)
  const now = date.getTime()
  for (const [label, since] of fiber.getRef(References.CurrentLogSpans)) add(`${label}Ms`, now - since)
  const causes = cause.reasons.length === 0 ? [] : [Cause.pretty(cause)]
  for (const part of Array.isArray(message) ? (message as ReadonlyArray<unknown>) : [message]) {
    if (part instanceof Error) {
      words.push(part.message)
      causes.push(part.stack ?? String(part))
    } else if (Cause.isCause(part)) causes.push(Cause.pretty(part))
    else if (isPlainObject(part)) for (const [name, value] of Object.entries(part)) add(name, value)
    else if (typeof part === "string") words.push(part)
    else words.push(JSON.stringify(valueOf(part)))
  }
  if (causes.length > 0) add("cause", causes.join("\n"))
  return {
    at: now,
    kind: new LogKind(LEVELS[logLevel], textOf(words.join(" "))),
    context,
    metadata: Object.keys(metadata).length === 0 ? undefined : metadata,
  }
}

const isPlainObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" &&
  value !== null &&
  (Object.getPrototypeOf(value) === Object.prototype || Object.getPrototypeOf(value) === null)

/** What `performance.now()` was a moment ago, in milliseconds since 1970 by the clock of the system. */
const timeOf = (toldAt: number): number => Math.round(Date.now() - (performance.now() - toldAt))

const round = (millis: number): number => Math.round(millis * 1_000) / 1_000

/** The level of a request's summary. */
const levelOfRequest = (
  route: string | undefined,
  status: number,
  isSlow: boolean,
  quiet: ReadonlySet<string>,
): LogLevel => {
  if (status >= SERVER_ERROR || isSlow) return "warn"
  return route !== undefined && quiet.has(route) ? "debug" : "info"
}

const SLOW = "slow request: "

/** Of requests of one method, route and status; those that were slow are another kind. */
const requestKinds = (quiet: ReadonlySet<string>) =>
  new RequestKinds(
    (method, route, status, speed) =>
      new LogKind(
        levelOfRequest(route, status, speed === SLOW, quiet),
        `${speed}${method} ${route ?? "(no route)"} ${status}`,
        { method, route: route ?? null, status },
      ),
  )

const kindOfRequest = (kinds: RequestKinds<LogKind>, request: FinishedRequest): LogKind => {
  const { durationMs, method, route, status, waited } = request
  return kinds.of(method, route, status, durationMs >= SLOW_REQUEST_MS && !waited ? SLOW : "")
}

/** One line a request. */
const summaryOfRequest = (request: FinishedRequest, kind: LogKind, at: number): LogEntry => {
  const { bytes, durationMs, principal, streamedMs } = request
  return {
    at,
    kind,
    context: { requestId: textOf(request.requestId), traceId: request.traceId, spanId: request.spanId },
    metadata: {
      durationMs: round(durationMs),
      ...(streamedMs === undefined ? {} : { streamedMs: round(streamedMs) }),
      bytes,
      principal: principal === undefined ? null : textOf(principal),
    },
  }
}

const levelOfAttempt = ({ jobOutcome, outcome }: EndedAttempt): LogLevel => {
  if (jobOutcome === "dead_letter") return "error"
  return outcome === "failed" || outcome === "stalled" ? "warn" : "info"
}

/** One line an attempt. */
const summaryOfAttempt = (ended: EndedAttempt, level: LogLevel, at: number): LogEntry => {
  const { attempt, error, job, jobOutcome, outcome, processingMs, queue, type, waitMs } = ended
  return {
    at,
    kind: new LogKind(level, textOf(`attempt ${attempt} of ${type} ${outcome}`)),
    context: { requestId: ended.requestId, traceId: ended.traceId, spanId: ended.spanId },
    metadata: {
      job,
      queue: textOf(queue),
      type: textOf(type),
      attempt,
      outcome,
      ...(jobOutcome === undefined ? {} : { jobOutcome }),
      ...(error === undefined ? {} : { error: textOf(`${error.name}: ${error.message}`) }),
      waitMs,
      processingMs,
    },
  }
}

/** A line for a job that has ended while it waited; of others the last attempt says it. */
const summaryOfWaiting = (
  { outcome, queue, totalMs, type, waiting }: EndedJob,
  at: number,
): LogEntry | undefined => {
  if (waiting === undefined) return undefined
  const { job, requestId, traceId } = waiting
  return {
    at,
    kind: new LogKind(
      outcome === "dead_letter" ? "error" : "info",
      textOf(`${type} ${outcome} while it waited`),
    ),
    context: { requestId, traceId },
    metadata: { job, queue: textOf(queue), type: textOf(type), jobOutcome: outcome, totalMs },
  }
}

/** Commits that fail come one after another while the disk is full: one line says it for all of this time. */
const FAILURES_INTERVAL_MS = 5_000

const FAILED_COMMIT = new LogKind("error", "the journal could not commit")

/** A line about what the database took too long for or could not do, where there is something to say. */
const databaseLines = () => {
  let toldAt = Number.NEGATIVE_INFINITY
  let failures = 0
  return (operation: DatabaseOperation, at: number): LogEntry | undefined => {
    const { cause, durationMs, events, name, ok, parent, sql } = operation
    if (!ok && name === "COMMIT") {
      failures++
      if (at - toldAt < FAILURES_INTERVAL_MS) return undefined
      const metadata = { failures, cause: valueOf(cause) }
      failures = 0
      toldAt = at
      return { at, kind: FAILED_COMMIT, context: undefined, metadata }
    }
    if (durationMs < SLOW_QUERY_MS) return undefined
    return {
      at,
      kind: new LogKind("warn", `slow database operation: ${name}`),
      context: parent === undefined ? undefined : { traceId: parent.traceId, spanId: parent.spanId },
      metadata: {
        durationMs: round(durationMs),
        ...(events === 0 ? {} : { events }),
        ...(sql === undefined ? {} : { sql: textOf(sql) }),
      },
    }
  }
}

/** Sends what is logged, and the summaries, to the {@link Logs}. */
export const layer = ({
  contextOf,
  format,
  level,
  quietRoutes,
}: LoggingOptions): Layer.Layer<never, never, Logs> => {
  const least = RANKS.get(level)!
  const isOn = (wanted: LogLevel): boolean => RANKS.get(wanted)! >= least
  const loggers = Layer.unwrap(
    Effect.map(Logs, (sink) => {
      const logger = Logger.make<unknown, void>((options) => {
        const entry = entryOf(options, contextOf)
        sink.write(format(entry), isUrgent(entry.kind.level))
      })
      return Logger.layer([logger])
    }),
  )
  const summaries = Layer.effectDiscard(
    Effect.gen(function* () {
      const sink = yield* Logs
      const observer = yield* CurrentObserver
      const write = (entry: LogEntry) => sink.write(format(entry), isUrgent(entry.kind.level))
      // Where no summary can be on, nobody need gather what would be in it.
      if (!isOn("error")) return
      // Before the sink writes its last: what was told in the last turn is in it.
      const atExit = () => observer.deliver()
      yield* Effect.acquireRelease(
        Effect.sync(() => process.prependOnceListener("exit", atExit)),
        () => Effect.sync(() => process.off("exit", atExit)),
      )
      if (isOn("warn")) {
        const kinds = requestKinds(quietRoutes)
        yield* observer.on("request", (request, toldAt) => {
          const kind = kindOfRequest(kinds, request)
          if (isOn(kind.level)) write(summaryOfRequest(request, kind, timeOf(toldAt)))
        })
      }
      const lineOf = databaseLines()
      yield* observer.on("database", (operation, toldAt) => {
        const entry = lineOf(operation, timeOf(toldAt))
        if (entry !== undefined && isOn(entry.kind.level)) write(entry)
      })
      yield* observer.on("attempt", (attempt, toldAt) => {
        const level = levelOfAttempt(attempt)
        if (isOn(level)) write(summaryOfAttempt(attempt, level, timeOf(toldAt)))
      })
      yield* observer.on("job", (job, toldAt) => {
        const entry = summaryOfWaiting(job, timeOf(toldAt))
        if (entry !== undefined && isOn(entry.kind.level)) write(entry)
      })
    }),
  )
  return Layer.mergeAll(loggers, summaries, Layer.succeed(References.MinimumLogLevel, EFFECT_LEVELS[level]))
}

const isUrgent = (level: LogLevel): boolean => level === "warn" || level === "error" || level === "fatal"
