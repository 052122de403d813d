/**
 * What the alerts route does.
 */
import { Effect } from "effect"
import { HttpApiBuilder } from "effect/http-api"
import { toAlertData } from "../../../domain/alerts/AlertMessage.ts"
import { Alerts, type RuleReport } from "../../../telemetry/alerts/Alerts.ts"
import { ApiV1 } from "../../v1/ApiV1.ts"
import { toInstant } from "../../v1/Timestamp.ts"
import type { AlertRuleJson } from "./Api.ts"

const MILLIS_PER_SECOND = 1_000

const toRuleJson = ({ pending, rule, state }: RuleReport): typeof AlertRuleJson.Type => {
  const { coolDownMs, forMs, name, severity, summary } = rule
  return {
    name,
    severity,
    summary,
    for_sec: forMs / MILLIS_PER_SECOND,
    cool_down_sec: coolDownMs / MILLIS_PER_SECOND,
    state,
    pending: pending.map(({ detail, since, subject }) => ({ subject, detail, since: toInstant(since) })),
  }
}

export const AlertsLive = HttpApiBuilder.group(
  ApiV1,
  "alerts",
  Effect.fnUntraced(function* (handlers) {
    const { list, rules } = yield* Alerts
    return handlers.handleAll({
      list: () =>
        Effect.map(Effect.all([list, rules]), ([alerts, rules]) => ({
          data: alerts.map(toAlertData),
          rules: rules.map(toRuleJson),
        })),
    })
  }),
)
