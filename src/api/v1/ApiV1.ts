/**
 * The contract of version 1: every group of routes, under the rules that all share.
 */
import { HttpApi, OpenApi } from "effect/http-api"
import { contract } from "../../http/Contract.ts"
import { CacheApi } from "../internal/cache/Api.ts"
import { RateLimitsApi } from "../internal/rate-limits/Api.ts"
import { SystemApi } from "../system/Api.ts"
import { ApiKeysApi } from "./api-keys/Api.ts"
import { AuditApi } from "./audit/Api.ts"
import { CompositionsApi } from "./compositions/Api.ts"
import { DeadLettersApi } from "./dead-letters/Api.ts"
import { EventsApi } from "./events/Api.ts"
import { JobsApi } from "./jobs/Api.ts"
import { ProjectsApi } from "./projects/Api.ts"
import { QueuesApi } from "./queues/Api.ts"
import { RendersApi } from "./renders/Api.ts"
import { SchedulesApi } from "./schedules/Api.ts"

export const ApiV1 = contract(
  HttpApi.make("renderowl")
    .add(
      SystemApi,
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
      ApiKeysApi,
      AuditApi,
    )
    .annotateMerge(
      OpenApi.annotations({
        title: "RenderOwl",
        version: "1",
        description: "Durable jobs and video renders, with a history that can be read.",
      }),
    ),
)
