/**
 * The whole application as one Layer: the system of `RenderOwl.ts`, what it knows to do, and the HTTP server in front.
 * The order is that of the stop: first no new work, then HTTP, the schedules, the handlers, and then the database.
 */
import { randomBytes } from "node:crypto"
import { dirname, join } from "node:path"
import * as NodeCrypto from "@effect/platform-node/NodeCrypto"
import { Effect, type Fiber, Layer, Redacted } from "effect"
import packageJson from "../package.json" with { type: "json" }
import * as Routes from "./api/Routes.ts"
import { healthChecks } from "./api/system/HealthChecks.ts"
import { generationOf } from "./cache/Generation.ts"
import { TaggedCache } from "./cache/TaggedCache.ts"
import type { Settings } from "./Config.ts"
import { alertRules } from "./domain/alerts/AlertRules.ts"
import * as AlertDelivery from "./domain/alerts/AlertDelivery.ts"
import { AlertWebhook } from "./domain/alerts/AlertWebhook.ts"
import { Analytics } from "./domain/analytics/Analytics.ts"
import * as AnalyticsRetention from "./domain/analytics/AnalyticsRetention.ts"
import * as ApiUseLog from "./domain/analytics/ApiUseLog.ts"
import { DemoJobsLive } from "./domain/demo/DemoJobs.ts"
import { AuditTrail } from "./domain/audit/AuditTrail.ts"
import { adminKeyLayer } from "./domain/keys/AdminKey.ts"
import { ApiKeyList } from "./domain/keys/ApiKeyList.ts"
import { ApiKeys } from "./domain/keys/ApiKeys.ts"
import { authenticatorLayer } from "./domain/keys/KeyAuthenticator.ts"
import { KeyUses } from "./domain/keys/KeyUses.ts"
import { RenderEngine } from "./domain/renders/RenderEngine.ts"
import { RenderFolder, RenderVideoLive } from "./domain/renders/RenderJob.ts"
import { Renders } from "./domain/renders/Renders.ts"
import { asyncProjections } from "./EventModel.ts"
import { CursorSecret } from "./http/Cursor.ts"
import { Drain } from "./http/Drain.ts"
import { InternalCallers } from "./http/InternalCallers.ts"
import { CurrentRequest } from "./http/RequestIdentity.ts"
import { ProblemBase } from "./http/Problem.ts"
import { LimitsStore } from "./http/rate-limits/LimitsStore.ts"
import * as RateLimits from "./http/rate-limits/RateLimits.ts"
import * as Server from "./http/Server.ts"
import * as TrustedProxies from "./http/TrustedProxies.ts"
import { CurrentAttempt } from "./jobs/Attempt.ts"
import { originOf } from "./jobs/JobTrace.ts"
import { Queue } from "./jobs/Queue.ts"
import * as Scheduler from "./jobs/schedules/Scheduler.ts"
import { AsyncProjector } from "./journal/AsyncProjector.ts"
import * as RenderOwl from "./RenderOwl.ts"
import * as OwnerOnlyFile from "./security/OwnerOnlyFile.ts"
import { ReplayGuard } from "./security/ReplayGuard.ts"
import { TokenVerifier } from "./security/TokenVerifier.ts"
import { WebhookSignature } from "./security/WebhookSignature.ts"
import { Alerts } from "./telemetry/alerts/Alerts.ts"
import { Health } from "./telemetry/Health.ts"
import { jsonLines, LogKind, type LogContext, prettyLines } from "./telemetry/LogFormat.ts"
import * as Logging from "./telemetry/Logging.ts"
import { Logs, LogSink, standardOutput } from "./telemetry/LogSink.ts"
import * as Metrics from "./telemetry/Metrics.ts"
import { PerformanceMonitor } from "./telemetry/PerformanceMonitor.ts"
import * as Observer from "./telemetry/Observer.ts"
import * as Tracing from "./telemetry/Tracing.ts"

/** What this program is called in logs and traces. */
const SERVICE = "renderowl"
/** This folder: what is answered is made by what is in it. */
const SOURCES = import.meta.dirname

/** Requests in flight may take this long at the stop. */
const HTTP_GRACE = "5 seconds"
/** Jobs in flight may take this long after that; together well within the 15 seconds of the whole stop. */
const JOBS_GRACE = "7 seconds"

/** Where data is kept that grows. */
const foldersOf = ({ archivePath, dataDir, queueDbPath }: Settings) => ({
  data: dataDir,
  database: dirname(queueDbPath),
  archive: dirname(archivePath),
})

/** The secret behind list cursors; it outlives restarts, so that lists do. */
const cursorSecret = (dataDir: string) =>
  Layer.effect(
    CursorSecret,
    Effect.map(
      OwnerOnlyFile.readOrCreate(join(dataDir, "cursor.key"), () => randomBytes(32).toString("base64url")),
      Redacted.make,
    ),
  )

/** Answers outlive a restart as long as it is the same program that gives them, and its cursors are read. */
const cache = (filename: string) =>
  Layer.unwrap(
    Effect.map(CursorSecret, (secret) =>
      TaggedCache.layer({ filename, generation: generationOf(SOURCES, Redacted.value(secret)) }),
    ),
  )

/** The moment the stop begins, no attempt is started any more. */
const stopTakingWork = Layer.effectDiscard(
  Effect.gen(function* () {
    const queue = yield* Queue
    yield* Effect.addFinalizer(() => queue.quiesce)
  }),
)

/** For people on a terminal, and one JSON object a line for everything else. */
const logging = (settings: Settings) => {
  const { isTTY } = process.stdout
  const format = isTTY ? prettyLines(process.stdout.hasColors()) : jsonLines(SERVICE)
  const lost = (lines: number) =>
    format({
      at: Date.now(),
      kind: new LogKind("warn", "log lines were lost"),
      context: undefined,
      metadata: { lines },
    })
  return Logging.layer({
    level: settings.logLevel,
    format,
    contextOf: logContextOf,
    quietRoutes: new Set(Routes.probes),
  }).pipe(Layer.provideMerge(Logs.layer(() => new LogSink(standardOutput(), lost))))
}

/** The attempt of a job or the request that a fiber works for. */
const logContextOf = (fiber: Fiber.Fiber<unknown, unknown>): LogContext | undefined => {
  const lease = fiber.getRef(CurrentAttempt)
  if (lease === undefined) return fiber.getRef(CurrentRequest)
  const { attempt, id, span, state, trace } = lease
  return {
    ...originOf(trace, span),
    spanId: span?.spanId,
    fields: { job: id, queue: state.queue, type: state.type, attempt },
  }
}

const tracing = (settings: Settings) =>
  Tracing.layer(settings.tracing, {
    service: SERVICE,
    version: packageJson.version,
    // They come by the clock and would only fill the collector.
    untraced: Routes.probes,
  })

/** Below everything else, so that everything is told and measured, to the last. */
const telemetry = (settings: Settings) =>
  Layer.merge(
    settings.isMeasured ? Metrics.layer(foldersOf(settings)) : Layer.empty,
    PerformanceMonitor.layer,
  ).pipe(
    Layer.provideMerge(tracing(settings)),
    Layer.provideMerge(logging(settings)),
    Layer.provideMerge(Layer.mergeAll(Observer.layer, Metrics.registryLayer)),
  )

/** Who is calling, what they may hand on, and what they did. */
const identity = (settings: Settings) =>
  Layer.mergeAll(authenticatorLayer, ApiKeys.layer, AuditTrail.layer).pipe(
    Layer.provide(TokenVerifier.layer(settings.tokens)),
    Layer.provideMerge([KeyUses.layer, ApiKeyList.layer]),
  )

/** How much callers may ask for. */
const rateLimits = ({ anonymousTier, rateLimits: isOn, limitsDbPath: filename }: Settings) =>
  isOn
    ? RateLimits.layer({ anonymousTier }).pipe(Layer.provide(LimitsStore.layer({ filename })))
    : Layer.empty

/** What is signed, coming in and going out. */
const signatures = WebhookSignature.layer.pipe(Layer.provide([ReplayGuard.layer, NodeCrypto.layerMac]))

/** Who calls from within, and how that is known. */
const internalCallers = ({ internalLoopback, internalSecrets }: Settings) =>
  InternalCallers.layerWith({ secrets: internalSecrets, loopback: internalLoopback }).pipe(
    Layer.provide(signatures),
  )

/** What is wrong, and who is told. */
const alerts = (settings: Settings) =>
  Alerts.layer(alertRules, AlertDelivery.audience).pipe(
    Layer.provideMerge(AlertDelivery.layer),
    Layer.provide(AlertWebhook.layer(settings.alertWebhook)),
    Layer.provide(signatures),
    Layer.provideMerge(Health.layer(healthChecks(foldersOf(settings)))),
  )

/** What follows the journal at its own pace, and what is asked of it. */
const analytics = Layer.mergeAll(
  Analytics.layer,
  ApiUseLog.layer,
  AnalyticsRetention.layer,
  Layer.suspend(() => AsyncProjector.layer(asyncProjections())),
)

/** RenderOwl as the settings say. */
export const layer = (settings: Settings) => {
  const { dataDir } = settings
  const system = RenderOwl.layer({
    database: { filename: settings.queueDbPath, synchronous: settings.synchronous },
    concurrency: settings.queueConcurrency,
    grace: JOBS_GRACE,
    archive: settings.archivePath,
    archiveAfter: settings.archiveAfter,
  })
  const renders = Layer.mergeAll(RenderVideoLive, Renders.layer).pipe(
    Layer.provideMerge(RenderEngine.layer({ encoder: settings.videoEncoder })),
    Layer.provideMerge(RenderFolder.layer(join(dataDir, "renders"))),
  )
  const handlers = settings.demoJobs ? Layer.mergeAll(renders, DemoJobsLive) : renders
  const routes = Layer.merge(Routes.layer, TrustedProxies.layer(settings.trustedProxies))
  const server = Server.layer(routes, {
    host: settings.host,
    port: settings.port,
    grace: HTTP_GRACE,
    versions: Routes.versions,
    alwaysAdmitted: Routes.probes,
    strictTransport: settings.strictTransport,
    headersTimeout: settings.headersTimeout,
    requestTimeout: settings.requestTimeout,
    requestsMax: settings.requestsMax,
    streamsMax: settings.streamsMax,
    ...(settings.cors === undefined ? {} : { cors: settings.cors }),
  }).pipe(
    Layer.provideMerge(Drain.layer),
    Layer.provide([cache(settings.cacheDbPath), rateLimits(settings)]),
    Layer.provide([identity(settings), internalCallers(settings), cursorSecret(dataDir)]),
  )
  return stopTakingWork.pipe(
    Layer.provideMerge(server),
    Layer.provideMerge(alerts(settings)),
    Layer.provideMerge(Scheduler.layer),
    Layer.provideMerge(handlers),
    Layer.provideMerge(analytics),
    Layer.provideMerge(adminKeyLayer(dataDir)),
    Layer.provideMerge(system),
    Layer.provide(Layer.succeed(ProblemBase, settings.problemBase)),
    Layer.provideMerge(telemetry(settings)),
  )
}
