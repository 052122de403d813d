/**
 * How a line looks: one JSON object for programs, `{timestamp, level, message, service, host, requestId, traceId, spanId,
 * metadata}`, or words and colours for people on a terminal. Ids that there are none of are left out.
 */
import { hostname } from "node:os"
import { stripVTControlCharacters, styleText } from "node:util"
import type { Json } from "effect/Schema"

/** Least serious first. */
export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal"] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** The request or attempt that a line belongs to. */
export interface LogContext {
  readonly requestId?: string | undefined
  readonly traceId?: string | undefined
  readonly spanId?: string | undefined
  /** What else is known of it: goes into the metadata. */
  readonly fields?: Readonly<Record<string, Json>> | undefined
}

/** What lines of a kind have in common: as JSON it is made once, however many there are. */
export class LogKind {
  readonly level: LogLevel
  readonly message: string
  /** Go into the metadata, before all others. */
  readonly fields: Readonly<Record<string, Json>>
  #head: string | undefined
  #fieldsJson: string | undefined

  constructor(level: LogLevel, message: string, fields: Readonly<Record<string, Json>> = {}) {
    this.level = level
    this.message = message
    this.fields = fields
  }

  /** Level and message, as members of an object. */
  get head(): string {
    return (this.#head ??= `"level":"${this.level}","message":${JSON.stringify(this.message)}`)
  }

  /** The fields, as members of an object; empty where there are none. */
  get fieldsJson(): string {
    return (this.#fieldsJson ??= JSON.stringify(this.fields).slice(1, -1))
  }
}

/** What a line says. Everything in it has been made fit to be seen. */
export interface LogEntry {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly kind: LogKind
  readonly context: LogContext | undefined
  readonly metadata: Readonly<Record<string, Json>> | undefined
}

export type LogFormat = (entry: LogEntry) => string

const MILLIS_PER_SECOND = 1_000
let formattedSecond = Number.NaN
let upToMillis = ""

/** RFC 3339 with milliseconds. Many lines are of the same second. */
const timestampOf = (at: number): string => {
  const second = Math.floor(at / MILLIS_PER_SECOND)
  if (second !== formattedSecond) {
    upToMillis = new Date(at).toISOString().slice(0, -"000Z".length)
    formattedSecond = second
  }
  return `${upToMillis}${String(at - second * MILLIS_PER_SECOND).padStart(3, "0")}Z`
}

/** JSON lines. By hand, as each part but the metadata is either known to need no escapes or escaped by itself. */
export const jsonLines = (service: string, host = hostname()): LogFormat => {
  const origin = `,"service":${JSON.stringify(service)},"host":${JSON.stringify(host)}`
  return ({ at, context, kind, metadata }) => {
    let line = `{"timestamp":"${timestampOf(at)}",${kind.head}${origin}`
    if (context !== undefined) {
      const { requestId, spanId, traceId } = context
      if (requestId !== undefined) line += `,"requestId":${JSON.stringify(requestId)}`
      if (traceId !== undefined) line += `,"traceId":"${traceId}"`
      if (spanId !== undefined) line += `,"spanId":"${spanId}"`
    }
    const common = kind.fieldsJson
    const own = metadata === undefined ? "" : JSON.stringify(metadata).slice(1, -1)
    const members = common === "" || own === "" ? common + own : `${common},${own}`
    return members === "" ? `${line}}\n` : `${line},"metadata":{${members}}}\n`
  }
}

const STYLES = {
  trace: "gray",
  debug: "gray",
  info: "green",
  warn: "yellow",
  error: "red",
  fatal: "red",
} as const

const TIME_START = "2026-01-01T".length
const TIME_END = "2026-01-01T00:00:00.000".length

/** For people: the time of day, what happened, then what else is known. Nothing that was logged can move their cursor. */
export const prettyLines =
  (colors: boolean): LogFormat =>
  ({ at, context, kind: { fields: common, level, message }, metadata }) => {
    const style = (format: Parameters<typeof styleText>[0], text: string) =>
      colors ? styleText(format, text, { validateStream: false }) : text
    const more: Array<string> = []
    const blocks: Array<string> = []
    const fields = {
      ...common,
      ...metadata,
      ...(context?.requestId === undefined ? {} : { requestId: context.requestId }),
    }
    for (const [name, value] of Object.entries(fields)) {
      const text = typeof value === "string" ? value : JSON.stringify(value)
      const clean = stripVTControlCharacters(text)
      if (clean.includes("\n")) blocks.push(`  ${name}: ${clean.replaceAll("\n", "\n  ")}`)
      else more.push(`${style("cyan", name)}=${clean}`)
    }
    const time = timestampOf(at).slice(TIME_START, TIME_END)
    const head = `${style("gray", time)} ${style(STYLES[level], level.toUpperCase().padEnd(5))} ${stripVTControlCharacters(message)}`
    return `${[[head, ...more].join(" "), ...blocks].join("\n")}\n`
  }
