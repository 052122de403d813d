/**
 * Every setting: its name in the environment, its default, and what it means, in one place. All are checked at start; a bad
 * one stops it with an error that names the setting.
 */
import { join } from "node:path"
import { Config, Duration, Option, Schema } from "effect"
import { DEFAULT_PROBLEM_BASE } from "./http/Problem.ts"
import { ARCHIVE_AFTER_MIN } from "./jobs/Retention.ts"

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

const SYNCHRONOUS = ["FULL", "NORMAL", "EXTRA", "OFF"] as const
const VIDEO_ENCODERS = ["auto", "ffmpeg", "wasm"] as const

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "none"] as const
/** As Effect calls them. */
const EFFECT_LEVELS = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  fatal: "Fatal",
  none: "None",
} as const

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
  problemBase: setting(
    "PROBLEM_BASE_URL",
    (name) => Config.map(Config.NonEmptyString(name), (url) => (url.endsWith("/") ? url : `${url}/`)),
    DEFAULT_PROBLEM_BASE,
    "what the type of a problem starts with",
  ),
  logLevel: Config.map(
    setting(
      "LOG_LEVEL",
      (name) => Config.Literals(LOG_LEVELS, name),
      "info" as (typeof LOG_LEVELS)[number],
      `what is logged, from ${LOG_LEVELS.join(", ")}`,
    ),
    (level) => EFFECT_LEVELS[level],
  ),
})

/** The settings of this process. */
export const load = Config.map(all, ({ archivePath, queueDbPath, ...rest }) => ({
  ...rest,
  archivePath: Option.getOrElse(archivePath, () => join(rest.dataDir, "archive.db")),
  queueDbPath: Option.getOrElse(queueDbPath, () => join(rest.dataDir, "queue.db")),
}))

export type Settings = Config.Success<typeof load>

/** One line a setting, for `--help`. */
export const settingsHelp: string = settings
  .map(({ fallback, meaning, name }) => `  ${name.padEnd(20)} ${meaning} (default ${fallback})`)
  .join("\n")
