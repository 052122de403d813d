/**
 * Every setting: its name in the environment, its default, and what it means, in one place. All are checked at start; a bad
 * one stops it with an error that names the setting.
 */
import { join } from "node:path"
import { Config, Duration, Effect, Option, Redacted, Result, Schema, SchemaIssue } from "effect"
import type { WebhookTarget } from "./domain/alerts/AlertWebhook.ts"
import { type CorsOptions, OriginList, originsOf } from "./http/Cors.ts"
import * as Limits from "./http/Limits.ts"
import { DEFAULT_PROBLEM_BASE } from "./http/Problem.ts"
import { STRICT_TRANSPORT_MODES } from "./http/ResponseHeaders.ts"
import { ARCHIVE_AFTER_MIN } from "./jobs/Retention.ts"
import { canonical } from "./security/AllowedNetworks.ts"
import { Tier } from "./security/Principal.ts"
import { SECRET_BYTES_MIN, type TokenSettings } from "./security/TokenVerifier.ts"
import * as WebhookSignature from "./security/WebhookSignature.ts"
import * as WebUrl from "./security/WebUrl.ts"
import * as Tracing from "./telemetry/Tracing.ts"
import { LOG_LEVELS } from "./telemetry/LogFormat.ts"

interface Setting {
  readonly name: string
  readonly fallback: string
  readonly meaning: string
}

const settings: Array<Setting> = []

/** Declares a setting for {@link settingsHelp}, and reads it. */
const setting = <A>(
  name: string,
  read: (name: string) => Config.Config<A>,
  fallback: A,
  meaning: string,
  shown: string = String(fallback),
): Config.Config<A> => {
  settings.push({ name, fallback: shown, meaning })
  return read(name).pipe(Config.withDefault(fallback))
}

const wholeNumber = (minimum: number, maximum: number) =>
  Schema.FiniteFromString.pipe(Schema.check(Schema.isInt(), Schema.isBetween({ minimum, maximum })))
const Port = wholeNumber(0, 65_535)
const Concurrency = wholeNumber(1, 1_000)
const Places = wholeNumber(1, 1_000_000)

/** Addresses or CIDR blocks with commas between them. */
const NetworkList = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) => {
      const wrong = splitNetworks(text).find((network) => Result.isFailure(canonical(network)))
      return wrong === undefined || `addresses or blocks such as 10.0.0.0/8, and not ${JSON.stringify(wrong)}`
    }),
  ),
)
const splitNetworks = (text: string): ReadonlyArray<string> =>
  text
    .split(",")
    .map((network) => network.trim())
    .filter((network) => network !== "")

/** How long a request may take to arrive. */
const ArrivalTime = Schema.DurationFromString.pipe(
  Schema.check(
    Schema.makeFilter(
      (time) =>
        (Duration.isFinite(time) && Duration.toMillis(time) >= 1_000) ||
        "at least 1 second, such as 15 seconds",
    ),
  ),
)
const arrivalTime = (name: string, fallbackMillis: number, meaning: string) =>
  Config.map(
    setting(
      name,
      (key) => Config.schema(ArrivalTime, key),
      Duration.millis(fallbackMillis),
      meaning,
      `${fallbackMillis / 1_000} seconds`,
    ),
    Duration.toMillis,
  )

/** How long finished jobs stay in the journal. */
export const ArchiveAge = Schema.DurationFromString.pipe(
  Schema.check(
    Schema.makeFilter(
      (age) =>
        (Duration.isFinite(age) &&
          Duration.isGreaterThanOrEqualTo(age, Duration.fromInputUnsafe(ARCHIVE_AFTER_MIN))) ||
        `at least ${ARCHIVE_AFTER_MIN}, such as 30 days`,
    ),
  ),
)

/** A secret that cannot be tried out. */
const JwtSecret = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter(
      (text) => Buffer.byteLength(text) >= SECRET_BYTES_MIN || `at least ${SECRET_BYTES_MIN} bytes`,
    ),
  ),
)

const LOOPBACK = /^(localhost|127(\.\d+){3}|\[::1\])$/

/** Where keys are fetched: nobody on the way may exchange them. */
const JwksUrl = Schema.String.pipe(
  Schema.check(
    Schema.makeFilter((text) => {
      const url = Result.getOrUndefined(WebUrl.parse(text))
      return (
        (url !== undefined && (url.protocol === "https:" || LOOPBACK.test(url.hostname))) ||
        "an https:// URL, or one on this machine"
      )
    }),
  ),
)

/** What tokens name unless their issuer is another. */
const JWT_PARTY = "renderowl"

const SYNCHRONOUS = ["FULL", "NORMAL", "EXTRA", "OFF"] as const
const RATE_LIMITS = ["on", "off"] as const
const VIDEO_ENCODERS = ["auto", "ffmpeg", "wasm"] as const

const LOOPBACK_MODES = ["closed", "open"] as const

const LOG_THRESHOLDS = [...LOG_LEVELS, "none"] as const

const all = Config.all({
  host: setting("HOST", Config.NonEmptyString, "127.0.0.1", "address to listen on"),
  port: setting("PORT", (name) => Config.schema(Port, name), 8000, "port to listen on; 0 takes a free one"),
  dataDir: setting(
    "DATA_DIR",
    Config.NonEmptyString,
    "./data",
    "folder of the database, the renders and the admin key",
  ),
  queueDbPath: setting(
    "QUEUE_DB_PATH",
    (name) => Config.option(Config.NonEmptyString(name)),
    Option.none<string>(),
    "the journal's database file",
    "$DATA_DIR/queue.db",
  ),
  cacheDbPath: setting(
    "CACHE_DB_PATH",
    (name) => Config.option(Config.NonEmptyString(name)),
    Option.none<string>(),
    "the file of cached answers; it may be deleted",
    "$DATA_DIR/cache.db",
  ),
  synchronous: setting(
    "SQLITE_SYNCHRONOUS",
    (name) => Config.Literals(SYNCHRONOUS, name),
    "FULL" as (typeof SYNCHRONOUS)[number],
    "FULL survives power loss, NORMAL a crash of the process",
  ),
  archivePath: setting(
    "ARCHIVE_PATH",
    (name) => Config.option(Config.NonEmptyString(name)),
    Option.none<string>(),
    "the file that old jobs move to",
    "$DATA_DIR/archive.db",
  ),
  archiveAfter: Config.map(
    setting(
      "ARCHIVE_AFTER",
      (name) => Config.schema(Schema.Union([Schema.Literal("never"), ArchiveAge]), name),
      "never",
      "age at which completed and cancelled jobs move to the archive, such as 30 days",
    ),
    (age) => (age === "never" ? undefined : age),
  ),
  queueConcurrency: setting(
    "QUEUE_CONCURRENCY",
    (name) => Config.schema(Concurrency, name),
    5,
    "attempts of one job type at a time in one queue",
  ),
  demoJobs: setting("DEMO_JOBS", Config.Boolean, true, "register system:echo, system:sleep and system:fail"),
  videoEncoder: setting(
    "VIDEO_ENCODER",
    (name) => Config.Literals(VIDEO_ENCODERS, name),
    "auto" as (typeof VIDEO_ENCODERS)[number],
    "ffmpeg or wasm; auto takes ffmpeg when it is on the PATH",
  ),
  jwtSecret: setting(
    "JWT_SECRET",
    (name) => Config.option(Config.map(Config.schema(JwtSecret, name), Redacted.make)),
    Option.none<Redacted.Redacted<string>>(),
    `the secret that signs users' tokens (HS256), at least ${SECRET_BYTES_MIN} bytes`,
    "none",
  ),
  jwksUrl: setting(
    "JWKS_URL",
    (name) => Config.option(Config.schema(JwksUrl, name)),
    Option.none<string>(),
    "where the public keys of their issuer are instead (RS256, ES256, EdDSA)",
    "none",
  ),
  jwtIssuer: setting(
    "JWT_ISSUER",
    (name) => Config.option(Config.NonEmptyString(name)),
    Option.none<string>(),
    "what the iss of a token must be; needed with JWKS_URL",
    JWT_PARTY,
  ),
  jwtAudience: setting("JWT_AUDIENCE", Config.NonEmptyString, JWT_PARTY, "what the aud of a token must name"),
  internalSecrets: setting(
    "INTERNAL_SECRET",
    (name) => Config.option(Config.map(Config.NonEmptyString(name), Redacted.make)),
    Option.none<Redacted.Redacted<string>>(),
    "what internal callers sign with (whsec_…), several with commas between",
    "none",
  ),
  internalLoopback: setting(
    "INTERNAL_LOOPBACK",
    (name) => Config.Literals(LOOPBACK_MODES, name),
    "closed" as (typeof LOOPBACK_MODES)[number],
    "open: /internal and /metrics need no credentials when called from this machine",
  ),
  problemBase: setting(
    "PROBLEM_BASE_URL",
    (name) => Config.map(Config.NonEmptyString(name), (url) => (url.endsWith("/") ? url : `${url}/`)),
    DEFAULT_PROBLEM_BASE,
    "what the type of a problem starts with",
  ),
  corsOrigins: setting(
    "CORS_ORIGIN",
    (name) => Config.option(Config.schema(OriginList, name)),
    Option.none<string>(),
    "origins whose pages may read answers, with commas between, or *",
    "none",
  ),
  corsCredentials: setting(
    "CORS_CREDENTIALS",
    Config.Boolean,
    false,
    "allow those pages to send cookies along; not with CORS_ORIGIN=*",
  ),
  strictTransport: setting(
    "STRICT_TRANSPORT",
    (name) => Config.Literals(STRICT_TRANSPORT_MODES, name),
    "auto" as (typeof STRICT_TRANSPORT_MODES)[number],
    "send Strict-Transport-Security: auto (over HTTPS, by X-Forwarded-Proto), always or never",
  ),
  rateLimits: Config.map(
    setting(
      "RATE_LIMITS",
      (name) => Config.Literals(RATE_LIMITS, name),
      "on" as (typeof RATE_LIMITS)[number],
      "off: nobody is counted or refused, for load tests",
    ),
    (limits) => limits === "on",
  ),
  limitsDbPath: setting(
    "LIMITS_DB_PATH",
    (name) => Config.option(Config.NonEmptyString(name)),
    Option.none<string>(),
    "the file of what callers have used of their rates; it may be deleted",
    "$DATA_DIR/rate-limits.db",
  ),
  anonymousTier: setting(
    "ANONYMOUS_TIER",
    (name) => Config.Literals(Tier.literals, name),
    "free" as Tier,
    `the rate of callers without credentials, by address: ${Tier.literals.join(", ")}`,
  ),
  trustedProxies: Config.map(
    setting(
      "TRUSTED_PROXIES",
      (name) => Config.schema(NetworkList, name),
      "",
      "addresses or CIDR blocks, with commas between, of proxies that say whose request it is",
      "none",
    ),
    (list) => splitNetworks(list).map((network) => Result.getOrThrow(canonical(network))),
  ),
  requestsMax: setting(
    "MAX_REQUESTS",
    (name) => Config.schema(Places, name),
    Limits.REQUESTS_MAX,
    "requests worked on at a time; beyond, 503",
  ),
  streamsMax: setting(
    "MAX_STREAMS",
    (name) => Config.schema(Places, name),
    Limits.STREAMS_MAX,
    "live streams and downloads at a time; beyond, 503",
  ),
  headersTimeout: arrivalTime(
    "HEADERS_TIMEOUT",
    Limits.HEADERS_TIMEOUT_MS,
    "time for the headers of a request to arrive",
  ),
  requestTimeout: arrivalTime(
    "REQUEST_TIMEOUT",
    Limits.REQUEST_TIMEOUT_MS,
    "time for a whole request to arrive",
  ),
  alertWebhookUrl: setting(
    "ALERT_WEBHOOK_URL",
    (name) => Config.option(Config.schema(WebUrl.WebUrl, name)),
    Option.none<string>(),
    "where alerts are posted to, as Standard Webhooks",
    "none",
  ),
  alertWebhookSecrets: setting(
    "ALERT_WEBHOOK_SECRET",
    (name) => Config.option(Config.map(Config.NonEmptyString(name), Redacted.make)),
    Option.none<Redacted.Redacted<string>>(),
    "what they are signed with (whsec_…), several with commas between; needed with ALERT_WEBHOOK_URL",
    "none",
  ),
  otlpEndpoint: setting(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    (name) => Config.option(Config.NonEmptyString(name)),
    Option.none<string>(),
    "the OpenTelemetry collector that traces go to (OTLP over HTTP); other OTEL_* settings count as well",
    "none",
  ),
  isMeasured: setting(
    "METRICS",
    (name) => Config.Literals(["on", "off"], name).pipe(Config.map((value) => value === "on")),
    true,
    "off: requests, jobs and the process are not measured",
    "on",
  ),
  tracing: Tracing.settings,
  logLevel: setting(
    "LOG_LEVEL",
    (name) => Config.Literals(LOG_THRESHOLDS, name),
    "info" as (typeof LOG_THRESHOLDS)[number],
    `what is logged, from ${LOG_THRESHOLDS.join(", ")}`,
  ),
})

/** Both CORS settings as one policy; each alone may be right and both together wrong. */
const corsOf = (
  list: Option.Option<string>,
  credentials: boolean,
): Effect.Effect<CorsOptions | undefined, Config.ConfigError> => {
  if (Option.isNone(list)) return Effect.undefined
  const origins = originsOf(list.value)
  return credentials && origins === "*"
    ? Effect.fail(refusal("CORS_CREDENTIALS", "needs CORS_ORIGIN to name origins, and not *"))
    : Effect.succeed({ origins, credentials })
}

/** How users' tokens are checked; undefined: there are none. */
const tokensOf = (given: {
  readonly secret: Option.Option<Redacted.Redacted<string>>
  readonly jwksUrl: Option.Option<string>
  readonly issuer: Option.Option<string>
  readonly audience: string
}): Effect.Effect<TokenSettings | undefined, Config.ConfigError> => {
  const { audience, jwksUrl, secret } = given
  const issuer = Option.getOrElse(given.issuer, () => JWT_PARTY)
  if (Option.isSome(secret)) {
    // With both, a token could choose what it is checked with.
    return Option.isSome(jwksUrl)
      ? Effect.fail(refusal("JWKS_URL", "only without JWT_SECRET"))
      : Effect.succeed({ issuer, audience, keys: { _tag: "Secret", secret: secret.value } })
  }
  if (Option.isNone(jwksUrl)) return Effect.undefined
  return Option.isNone(given.issuer)
    ? Effect.fail(refusal("JWT_ISSUER", "needed with JWKS_URL"))
    : Effect.succeed({ issuer, audience, keys: { _tag: "JwkSet", url: new URL(jwksUrl.value) } })
}

/** Secrets that can sign. */
const secretsOf = (
  name: string,
  list: Option.Option<Redacted.Redacted<string>>,
): Effect.Effect<ReadonlyArray<WebhookSignature.WebhookSecret>, Config.ConfigError> =>
  Effect.forEach(Option.isNone(list) ? [] : Redacted.value(list.value).split(","), (text) =>
    WebhookSignature.secret(Redacted.make(text.trim())),
  ).pipe(Effect.mapError(({ message }) => refusal(name, message)))

/** Where alerts go; undefined: nowhere. */
const alertWebhookOf = (
  url: Option.Option<string>,
  list: Option.Option<Redacted.Redacted<string>>,
): Effect.Effect<WebhookTarget | undefined, Config.ConfigError> =>
  Effect.flatMap(
    secretsOf("ALERT_WEBHOOK_SECRET", list),
    ([first, ...others]): Effect.Effect<WebhookTarget | undefined, Config.ConfigError> => {
      if (Option.isNone(url)) return Effect.undefined
      return first === undefined
        ? Effect.fail(refusal("ALERT_WEBHOOK_SECRET", "needed with ALERT_WEBHOOK_URL"))
        : Effect.succeed({ url: new URL(url.value), secrets: [first, ...others] })
    },
  )

const refusal = (name: string, message: string): Config.ConfigError =>
  new Config.ConfigError(
    new Schema.SchemaError(new SchemaIssue.Pointer([name], new SchemaIssue.InvalidValue({ message }))),
  )

/** Every setting, and what follows from several. */
const consistent = Config.mapEffect(
  all,
  ({
    alertWebhookSecrets,
    alertWebhookUrl,
    corsCredentials,
    corsOrigins,
    internalSecrets,
    jwksUrl,
    jwtAudience,
    jwtIssuer,
    jwtSecret,
    ...rest
  }) =>
    Effect.map(
      Effect.all({
        cors: corsOf(corsOrigins, corsCredentials),
        alertWebhook: alertWebhookOf(alertWebhookUrl, alertWebhookSecrets),
        internalSecrets: secretsOf("INTERNAL_SECRET", internalSecrets),
        tokens: tokensOf({ secret: jwtSecret, jwksUrl, issuer: jwtIssuer, audience: jwtAudience }),
      }),
      (together) => ({ ...rest, ...together }),
    ),
)

/** The settings of this process. */
export const load = Config.map(
  consistent,
  ({ archivePath, cacheDbPath, limitsDbPath, otlpEndpoint: _, queueDbPath, ...rest }) => ({
    ...rest,
    cacheDbPath: Option.getOrElse(cacheDbPath, () => join(rest.dataDir, "cache.db")),
    archivePath: Option.getOrElse(archivePath, () => join(rest.dataDir, "archive.db")),
    limitsDbPath: Option.getOrElse(limitsDbPath, () => join(rest.dataDir, "rate-limits.db")),
    queueDbPath: Option.getOrElse(queueDbPath, () => join(rest.dataDir, "queue.db")),
  }),
)

export type Settings = Config.Success<typeof load>

/** One line a setting, for `--help`. */
export const settingsHelp: string = settings
  .map(({ fallback, meaning, name }) => `  ${name.padEnd(20)} ${meaning} (default ${fallback})`)
  .join("\n")
