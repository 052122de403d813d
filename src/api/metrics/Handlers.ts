/**
 * What the metrics route does.
 */
import { Effect } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import * as Metrics from "../../telemetry/Metrics.ts"
import { CurrentObserver } from "../../telemetry/Observer.ts"
import { ApiV1 } from "../v1/ApiV1.ts"
import { collectors } from "./Collectors.ts"

export const MetricsLive = HttpApiBuilder.group(
  ApiV1,
  "metrics",
  Effect.fnUntraced(function* (handlers) {
    const all = yield* collectors
    const observer = yield* CurrentObserver
    return handlers.handleAll({
      scrape: () =>
        Effect.map(Metrics.scrape(observer, all), (text) =>
          HttpServerResponse.text(text, {
            contentType: Metrics.CONTENT_TYPE,
            headers: { "cache-control": "no-store" },
          }),
        ),
    })
  }),
)
