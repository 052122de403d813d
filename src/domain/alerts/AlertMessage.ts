/**
 * What a receiver of alerts is sent: an alert in words that programs and people read, and whether it has begun or is over.
 */
import { Schema } from "effect"
import type { Alert, News } from "../../telemetry/alerts/Alerts.ts"

/** Times are RFC 3339, in UTC. */
export const AlertData = Schema.Struct({
  id: Schema.String,
  rule: Schema.String,
  severity: Schema.Literals(["warning", "critical"]),
  status: Schema.Literals(["firing", "resolved"]),
  summary: Schema.String,
  /** What it is about: a queue, a route, an actor. Rule and subject together are the same each time it fires. */
  subject: Schema.String,
  detail: Schema.String,
  /** When it was first seen. */
  since: Schema.String,
  fired_at: Schema.String,
  resolved_at: Schema.NullOr(Schema.String),
})

export const AlertMessage = Schema.Struct({
  /** The `webhook-id`: the same however often the message is sent. */
  id: Schema.String,
  type: Schema.Literals(["alert.firing", "alert.resolved"]),
  /** When it happened. */
  timestamp: Schema.String,
  data: AlertData,
})
export type AlertMessage = typeof AlertMessage.Type

export const toAlertData = (alert: Alert): typeof AlertData.Type => {
  const { firedAt, resolvedAt, since, ...rest } = alert
  return {
    ...rest,
    status: resolvedAt === null ? "firing" : "resolved",
    since: instant(since),
    fired_at: instant(firedAt),
    resolved_at: resolvedAt === null ? null : instant(resolvedAt),
  }
}

export const messageOf = ({ alert, occasion }: News): AlertMessage => ({
  id: `${alert.id}_${occasion}`,
  type: `alert.${occasion}`,
  timestamp: instant(alert.resolvedAt ?? alert.firedAt),
  data: toAlertData(alert),
})

/** The body: the payload of Standard Webhooks. */
export const bodyOf = ({ data, timestamp, type }: AlertMessage): string =>
  JSON.stringify({ type, timestamp, data })

const instant = (millis: number): string => new Date(millis).toISOString()
