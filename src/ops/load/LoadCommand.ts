/**
 * `load-test`: puts a load on a server of this machine, and tells how it bore it.
 */
import { Clock, Config as EffectConfig, Console, Duration, Effect, Option, Runtime, Schema } from "effect"
import { Command, Flag } from "effect/cli"
import { existsSync, readFileSync, writeFileSync } from "node:fs"
import { dirname, join, resolve } from "node:path"
import * as Config from "../../Config.ts"
import { json, print, progress, USAGE } from "../CommandLine.ts"
import { measureCeiling } from "./Ceiling.ts"
import { LimitsExceeded, resultOf, resultText } from "./LoadResult.ts"
import { runLoad } from "./LoadRun.ts"
import { reportPage } from "./ReportPage.ts"
import { makeRequester, type Request } from "./Requester.ts"
import { endpointScenario, type Scenario, scenarioOf, SCENARIOS } from "./Scenario.ts"
import { type Target, targetOf } from "./Target.ts"

const CONCURRENCY_DEFAULT = 16
const CONCURRENCY_MAX = 10_000
const DURATION_MAX: Duration.Input = "1 hour"
const RATE_MAX = 1_000_000
/** After this a request has failed. */
const TIMEOUT_MS = 10_000

/** The flags do not say which load. */
class BadLoad extends Schema.TaggedError<BadLoad>()("BadLoad", { detail: Schema.String }) {
  override readonly [Runtime.errorExitCode] = USAGE
  override get message(): string {
    return this.detail
  }
}

const LoadDuration = Schema.DurationFromString.pipe(
  Schema.check(
    Schema.makeFilter(
      (time) =>
        (Duration.toMillis(time) >= 100 &&
          Duration.isLessThanOrEqualTo(time, Duration.fromInputUnsafe(DURATION_MAX))) ||
        "such as 30 seconds, up to 1 hour",
    ),
  ),
)

const between = (flag: Flag.Flag<number>, minimum: number, maximum: number) =>
  Flag.filter(
    flag,
    (value) => value >= minimum && value <= maximum,
    () => `must be from ${minimum} to ${maximum}`,
  )

const ENDPOINT = /^(GET|POST|PUT|PATCH|DELETE) (\/\S*)$/

const flags = {
  url: Flag.String("url").pipe(
    Flag.withDescription("The server (default: http://127.0.0.1:$PORT)"),
    Flag.optional,
  ),
  scenario: Flag.Literals("scenario", SCENARIOS).pipe(
    Flag.withDescription(
      "health: GET /health; enqueue: POST /v1/jobs; mixed-render: a few renders, many looks at them, and jobs beside",
    ),
    Flag.withDefault("health"),
  ),
  endpoint: Flag.String("endpoint").pipe(
    Flag.withDescription('One request instead of a scenario, such as "GET /v1/projects"'),
    Flag.optional,
  ),
  body: Flag.String("body").pipe(Flag.withDescription("The JSON that --endpoint sends"), Flag.optional),
  concurrency: between(Flag.Int("concurrency"), 1, CONCURRENCY_MAX).pipe(
    Flag.withDescription("Connections, each with one request at a time"),
    Flag.withDefault(CONCURRENCY_DEFAULT),
  ),
  duration: Flag.String("duration").pipe(
    Flag.withSchema(LoadDuration),
    Flag.withDescription("How long (default: 10 seconds)"),
    Flag.withDefault(Duration.seconds(10)),
  ),
  rate: between(Flag.Finite("rate"), 0.001, RATE_MAX).pipe(
    Flag.withDescription(
      "Requests a second, due whatever the server does (default: as many as the connections take)",
    ),
    Flag.optional,
  ),
  maxP99: between(Flag.Finite("max-p99"), 0, Number.MAX_SAFE_INTEGER).pipe(
    Flag.withDescription("Fail when the 99th percentile of the latency is longer, in milliseconds"),
    Flag.optional,
  ),
  maxErrorRate: between(Flag.Finite("max-error-rate"), 0, 1).pipe(
    Flag.withDescription("Fail when more requests than this fail, from 0 to 1"),
    Flag.optional,
  ),
  html: Flag.String("html").pipe(
    Flag.withDescription("Write a report with charts to this file"),
    Flag.optional,
  ),
  calibrate: Flag.Boolean("calibrate").pipe(
    Flag.withDescription("First measure for a second what the tester itself can do here"),
    Flag.withDefault(true),
  ),
  allowRemote: Flag.Boolean("allow-remote").pipe(
    Flag.withDescription("Load a server that is not on this machine"),
    Flag.withDefault(false),
  ),
  json,
}

export const loadCommand = Command.make(
  "load-test",
  flags,
  Effect.fn(function* (given) {
    const settings = yield* Config.load
    const scenario = yield* scenarioFrom(given)
    const html = Option.map(given.html, (path) => resolve(path))
    if (Option.isSome(html) && !existsSync(dirname(html.value)))
      return yield* new BadLoad({ detail: `there is no folder for ${html.value}` })
    const url = Option.getOrElse(given.url, () => `http://127.0.0.1:${settings.port}`)
    const target = yield* targetOf(url, given)
    const { concurrency } = given
    const rate = Option.getOrUndefined(given.rate)

    const { close, onProgress } = yield* progress
    if (given.calibrate) onProgress({ task: "measuring the tester", done: 0, total: 1 })
    const ceilingPerSecond = given.calibrate ? yield* measureCeiling(concurrency) : null
    const requester = yield* makeRequester({
      target,
      connections: concurrency,
      key: yield* keyFor(target, settings.dataDir),
      timeoutMs: TIMEOUT_MS,
    })
    const next = yield* scenario.prepare(requester)
    const startedAt = new Date(yield* Clock.currentTimeMillis).toISOString()
    const durationMs = Duration.toMillis(given.duration)
    const run = yield* runLoad({ requester, next, concurrency, durationMs, rate, onProgress })
    close()

    const result = resultOf(
      run,
      {
        url: target.origin,
        scenario: scenario.name,
        startedAt,
        concurrency,
        rate: rate ?? null,
        ceilingPerSecond,
      },
      {
        maxP99: Option.getOrUndefined(given.maxP99),
        maxErrorRate: Option.getOrUndefined(given.maxErrorRate),
      },
    )
    yield* print(given.json, result, () => resultText(result))
    if (Option.isSome(html)) {
      yield* Effect.sync(() => writeFileSync(html.value, reportPage(result)))
      yield* Console.error(`report in ${html.value}`)
    }
    if (!result.ok) return yield* LimitsExceeded.of(result)
  }, Effect.scoped),
).pipe(
  Command.withDescription(
    "Puts a load on a server and tells its latencies and errors. The key is taken from RENDEROWL_API_KEY or DATA_DIR/admin.key",
  ),
)

const scenarioFrom = Effect.fnUntraced(function* (given: {
  readonly scenario: (typeof SCENARIOS)[number]
  readonly endpoint: Option.Option<string>
  readonly body: Option.Option<string>
}): Effect.fn.Return<Scenario, BadLoad> {
  if (Option.isNone(given.endpoint)) {
    if (Option.isSome(given.body)) return yield* new BadLoad({ detail: "--body is for --endpoint" })
    return scenarioOf(given.scenario)
  }
  const [, method, path] = ENDPOINT.exec(given.endpoint.value) ?? []
  if (method === undefined || path === undefined)
    return yield* new BadLoad({ detail: '--endpoint is a method and a path, such as "GET /v1/projects"' })
  return endpointScenario({
    endpoint: given.endpoint.value,
    method: method as Request["method"],
    path,
    body: Option.getOrUndefined(given.body),
  })
})

/** The admin key of this machine goes to no other one. */
const keyFor = (target: Target, dataDir: string) =>
  Effect.map(EffectConfig.option(EffectConfig.NonEmptyString("RENDEROWL_API_KEY")), (key) => {
    if (Option.isSome(key)) return key.value
    const path = join(dataDir, "admin.key")
    return target.isLoopback && existsSync(path) ? readFileSync(path, "utf8").trim() : undefined
  })
