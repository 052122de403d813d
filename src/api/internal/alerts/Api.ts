/**
 * Alerts for operators: what is wrong now, what was of late, and what is watched.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { requireScopes } from "../../../http/Authorization.ts"
import { InternalAuthorization } from "../../../http/InternalAuthorization.ts"
import { Instant } from "../../v1/Timestamp.ts"

const Severity = Schema.Literals(["warning", "critical"])

export const AlertJson = Schema.Struct({
  id: Schema.String,
  rule: Schema.String,
  severity: Severity,
  status: Schema.Literals(["firing", "resolved"]),
  /** What the rule means. */
  summary: Schema.String,
  /** What it is about: a queue, a route such as `GET /v1/jobs/:id`, an actor, a health check. */
  subject: Schema.String,
  /** As it was seen last. */
  detail: Schema.String,
  /** When it was first seen. */
  since: Instant,
  fired_at: Instant,
  resolved_at: Schema.NullOr(Instant),
}).annotate({ identifier: "Alert" })

export const AlertRuleJson = Schema.Struct({
  name: Schema.String,
  severity: Severity,
  summary: Schema.String,
  /** How long something must be wrong before it is an alert. */
  for_sec: Schema.Finite,
  /** How long it must be well again before the alert is over. */
  cool_down_sec: Schema.Finite,
  /** `unknown`: the last look has failed, or there was none yet. */
  state: Schema.Literals(["ok", "pending", "firing", "unknown"]),
  /** What is wrong, and not for long enough. */
  pending: Schema.Array(Schema.Struct({ subject: Schema.String, detail: Schema.String, since: Instant })),
}).annotate({ identifier: "AlertRule" })

export const AlertsJson = Schema.Struct({
  /** Those that fire first, the newest first; then the last 100 that are over. */
  data: Schema.Array(AlertJson),
  /** Looked at every 15 seconds. */
  rules: Schema.Array(AlertRuleJson),
}).annotate({ identifier: "Alerts" })

export class AlertsApi extends HttpApiGroup.make("alerts")
  .add(
    HttpApiEndpoint.get("list", "/internal/alerts", { success: AlertsJson })
      .annotate(OpenApi.Summary, "What is wrong now, what was of late, and what is watched")
      .annotateMerge(requireScopes("admin")),
  )
  .middleware(InternalAuthorization)
  .annotateMerge(
    OpenApi.annotations({ title: "Alerts", description: "What operators are told of unasked" }),
  ) {}
