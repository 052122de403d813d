/**
 * What the system routes do.
 */
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { preferred } from "../../http/Accept.ts"
import { ServiceUnavailableProblem } from "../../http/ServiceProblems.ts"
import { Health } from "../../telemetry/Health.ts"
import { ApiV1 } from "../v1/ApiV1.ts"

const HEALTH_TYPES = ["application/health+json", "application/json"] as const

const NEVER_KEPT = { "cache-control": "no-store" }

export const SystemLive = HttpApiBuilder.group(
  ApiV1,
  "system",
  Effect.fnUntraced(function* (handlers) {
    const health = yield* Health
    return handlers.handleAll({
      live: () => Effect.succeed({ status: "live" as const }),
      ready: () =>
        Effect.flatMap(health.report, ({ checks, status }) => {
          if (status !== "unhealthy") return Effect.succeed({ status: "ready" as const })
          const failed = checks
            .filter((check) => check.critical && check.status === "fail")
            .map(({ name }) => name)
          return Effect.fail(new ServiceUnavailableProblem({ detail: `Not ready: ${failed.join(", ")}.` }))
        }),
      health: ({ request }) =>
        Effect.map(health.report, (report) =>
          HttpServerResponse.jsonUnsafe(report, {
            status: report.status === "unhealthy" ? 503 : 200,
            contentType: preferred(request.headers["accept"], HEALTH_TYPES) ?? HEALTH_TYPES[0],
            headers: NEVER_KEPT,
          }),
        ),
    })
  }),
)
