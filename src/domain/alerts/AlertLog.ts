/**
 * What became of alerts, in the journal: one actor keeps those that are not over and the last of those that are, so that a restart
 * neither forgets an alert nor tells it twice.
 */
import { Schema } from "effect"
import { Rpc } from "effect/rpc"
import * as Actor from "../../actor/Actor.ts"
import { accept, type Behavior } from "../../actor/Behavior.ts"
import { eventType } from "../../journal/DomainEvent.ts"
import { RESOLVED_MAX } from "../../telemetry/alerts/Alerts.ts"

/** The one instance: its id, and its stream. */
export const ALERT_LOG = "alert_log"

/** Times are in milliseconds since 1970: of the alert, which may be older than its event when the journal did not take any. */
const fired = {
  id: Schema.String,
  rule: Schema.String,
  severity: Schema.Literals(["warning", "critical"]),
  summary: Schema.String,
  subject: Schema.String,
  detail: Schema.String,
  since: Schema.Int,
  firedAt: Schema.Int,
}
const LoggedAlert = Schema.Struct({ ...fired, resolvedAt: Schema.NullOr(Schema.Int) })

const AlertFired = Schema.TaggedStruct("AlertFired", fired)
const AlertResolved = Schema.TaggedStruct("AlertResolved", { id: Schema.String, resolvedAt: Schema.Int })

export type AlertEvent = typeof AlertFired.Type | typeof AlertResolved.Type

const AlertLogState = Schema.Struct({
  /** Those that are not over first, then the others, each the newest first. */
  alerts: Schema.Array(LoggedAlert),
})
export type AlertLogState = typeof AlertLogState.Type

const commands = [
  Rpc.make("Fire", { payload: fired }),
  Rpc.make("Resolve", { payload: { id: Schema.String, resolvedAt: Schema.Int } }),
  Rpc.make("Get", { success: AlertLogState }),
] as const

const nothing = () => undefined

export const AlertLogBehavior: Behavior<AlertLogState, AlertEvent, (typeof commands)[number]> = {
  initial: { alerts: [] },
  decide: {
    Fire: ({ alerts }, alert) =>
      accept(alerts.some(({ id }) => id === alert.id) ? [] : [{ _tag: "AlertFired", ...alert }], nothing),
    Resolve: ({ alerts }, { id, resolvedAt }) => {
      const isUnresolved = alerts.some((alert) => alert.id === id && alert.resolvedAt === null)
      return accept(isUnresolved ? [{ _tag: "AlertResolved", id, resolvedAt }] : [], nothing)
    },
    Get: () => accept([], (state) => state),
  },
  evolve: ({ alerts }, event) => {
    switch (event._tag) {
      case "AlertFired": {
        const { _tag, ...alert } = event
        return { alerts: [{ ...alert, resolvedAt: null }, ...alerts] }
      }
      case "AlertResolved": {
        const unresolved = alerts.filter(({ id, resolvedAt }) => id !== event.id && resolvedAt === null)
        const resolved = alerts.filter(({ id, resolvedAt }) => id !== event.id && resolvedAt !== null)
        const over = alerts.filter(({ id }) => id === event.id).map((alert) => ended(alert, event.resolvedAt))
        return { alerts: [...unresolved, ...[...over, ...resolved].slice(0, RESOLVED_MAX)] }
      }
    }
  },
}

const ended = (alert: typeof LoggedAlert.Type, resolvedAt: number) => ({ ...alert, resolvedAt })

export const AlertLog = Actor.make("alert_log", {
  state: AlertLogState,
  events: [eventType(AlertFired), eventType(AlertResolved)],
  commands,
})

export const AlertLogLive = AlertLog.toLayer(AlertLogBehavior)
