/**
 * Every route that is served: the API, its documentation, and the pages that explain problems.
 */
import { Layer } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { type ApiVersion, ApiVersions } from "../http/ApiVersion.ts"
import { Authorization } from "../http/Authorization.ts"
import { IfMatch } from "../http/Conditional.ts"
import * as CacheShortcut from "../http/CacheShortcut.ts"
import { Contract } from "../http/Contract.ts"
import { Dispatcher } from "../http/Dispatcher.ts"
import * as Documentation from "../http/Documentation.ts"
import * as ErrorPages from "../http/ErrorPages.ts"
import { InternalAuthorization, InternalSignature } from "../http/InternalAuthorization.ts"
import { DOCUMENTATION } from "../http/rate-limits/Policy.ts"
import { limitedRoutes } from "../http/rate-limits/RateLimited.ts"
import { ResponseCache } from "../http/ResponseCache.ts"
import { CacheTagsLive } from "./CacheTags.ts"
import { AlertsLive } from "./internal/alerts/Handlers.ts"
import { CacheLive } from "./internal/cache/Handlers.ts"
import { PerformanceLive } from "./internal/performance/Handlers.ts"
import { RateLimitsLive } from "./internal/rate-limits/Handlers.ts"
import { MetricsLive } from "./metrics/Handlers.ts"
import { SystemLive } from "./system/Handlers.ts"
import { ApiV1 } from "./v1/ApiV1.ts"
import { AnalyticsLive } from "./v1/analytics/Handlers.ts"
import { ApiKeysLive } from "./v1/api-keys/Handlers.ts"
import { AuditLive } from "./v1/audit/Handlers.ts"
import { BatchLive } from "./v1/batch/Handlers.ts"
import { CompositionsLive } from "./v1/compositions/Handlers.ts"
import { DeadLettersLive } from "./v1/dead-letters/Handlers.ts"
import { EventsLive } from "./v1/events/Handlers.ts"
import { JobsLive } from "./v1/jobs/Handlers.ts"
import { ProjectsLive } from "./v1/projects/Handlers.ts"
import { QueuesLive } from "./v1/queues/Handlers.ts"
import { RendersLive } from "./v1/renders/Handlers.ts"
import { SchedulesLive } from "./v1/schedules/Handlers.ts"

const groups = Layer.mergeAll(
  SystemLive,
  MetricsLive,
  ProjectsLive,
  CompositionsLive,
  RendersLive,
  JobsLive,
  QueuesLive,
  DeadLettersLive,
  EventsLive,
  SchedulesLive,
  CacheLive,
  RateLimitsLive,
  PerformanceLive,
  AlertsLive,
  ApiKeysLive,
  AuditLive,
  BatchLive,
  AnalyticsLive,
)

const v1: ApiVersion = { name: "v1" }

/** The versions that are served; a new one declares what differs and inherits the rest. */
export const versions = ApiVersions.make({ current: v1.name, versions: [v1] })

/** Paths of probes and scrapes, which are served however many requests there are: that is when they are needed. */
export const probes = ["/live", "/ready", "/health", "/metrics"]

/** The routes, for `Server.layer`. */
export const layer = Layer.mergeAll(
  HttpApiBuilder.layer(ApiV1).pipe(
    Layer.provide(groups),
    Layer.provide([InternalAuthorization.layer, InternalSignature.layer]),
    Layer.provide([Authorization.layer, Contract.layer, ResponseCache.layer, IfMatch.layer]),
    Layer.provide(Dispatcher.layer),
    Layer.provide(CacheShortcut.layer(ApiV1)),
    // Before the first request, and told of every commit while there are any.
    Layer.provide(CacheTagsLive),
  ),
  Layer.mergeAll(Documentation.layer(ApiV1, v1), ErrorPages.layer).pipe(
    Layer.provide(limitedRoutes(DOCUMENTATION)),
  ),
)
