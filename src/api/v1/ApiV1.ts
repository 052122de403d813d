/**
 * The contract of version 1: every group of routes, under the rules that all share.
 */
import { HttpApi, OpenApi } from "effect/http-api"
import { contract } from "../../http/Contract.ts"
import { AlertsApi } from "../internal/alerts/Api.ts"
import { CacheApi } from "../internal/cache/Api.ts"
import { PerformanceApi } from "../internal/performance/Api.ts"
import { RateLimitsApi } from "../internal/rate-limits/Api.ts"
import { MetricsApi } from "../metrics/Api.ts"
import { SystemApi } from "../system/Api.ts"
import { AnalyticsApi } from "./analytics/Api.ts"
import { ApiKeysApi } from "./api-keys/Api.ts"
import { AuditApi } from "./audit/Api.ts"
import { BatchApi } from "./batch/Api.ts"
import { CompositionsApi } from "./compositions/Api.ts"
import { DeadLettersApi } from "./dead-letters/Api.ts"
import { EventsApi } from "./events/Api.ts"
import { JobsApi } from "./jobs/Api.ts"
import { ProjectsApi } from "./projects/Api.ts"
import { QueuesApi } from "./queues/Api.ts"
import { RendersApi } from "./renders/Api.ts"
import { SchedulesApi } from "./schedules/Api.ts"

/** What is the same everywhere, and so is said once instead of at each operation. */
const DESCRIPTION = `Durable jobs and video renders, with a history that can be read.

**Errors** are problems (RFC 9457): \`application/problem+json\` with a \`type\` that has a page at [/errors](/errors), and the
\`trace_id\` by which the log knows the request.

**Versions**: \`/v1/…\`, or without a version in the path \`Accept: application/json;version=v1\`, \`API-Version: v1\` or
\`?api_version=v1\`, the first of these that is there. \`API-Version\` of the answer says which it was.

**Tracing**: \`traceparent\`, or else \`X-Trace-ID\` with \`X-Span-ID\`, is continued; \`X-Request-Id\` is kept.

**Changes** are never kept by caches; answers to \`GET\` have an \`ETag\` wherever they can be asked for again with \`If-None-Match\`.`

export const ApiV1 = contract(
  HttpApi.make("renderowl")
    .add(
      SystemApi,
      MetricsApi,
      ProjectsApi,
      CompositionsApi,
      RendersApi,
      JobsApi,
      QueuesApi,
      DeadLettersApi,
      SchedulesApi,
      EventsApi,
      CacheApi,
      RateLimitsApi,
      PerformanceApi,
      AlertsApi,
      ApiKeysApi,
      AuditApi,
      BatchApi,
      AnalyticsApi,
    )
    .annotateMerge(
      OpenApi.annotations({
        title: "RenderOwl",
        version: "1",
        description: DESCRIPTION,
        license: { name: "MIT", identifier: "MIT" },
        servers: [{ url: "/", description: "The server that this document comes from" }],
      }),
    ),
)
