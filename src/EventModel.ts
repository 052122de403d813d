/**
 * What the journal may hold, and what is made of it: every event type, every projection and every kind of snapshot of
 * RenderOwl, in one place for whoever opens a journal – the server, and the tools that verify or rebuild it.
 */
import type { HostedBehavior } from "./actor/ActorSystem.ts"
import { ALERT_LOG, AlertLog, AlertLogBehavior } from "./domain/alerts/AlertLog.ts"
import { analyticsProjection } from "./domain/analytics/AnalyticsProjection.ts"
import { apiUseEventTypes } from "./domain/analytics/ApiUseEvents.ts"
import { ApiKey, ApiKeyBehavior } from "./domain/keys/ApiKey.ts"
import { apiKeyProjection } from "./domain/keys/ApiKeyProjection.ts"
import type { RecognisedKeys } from "./domain/keys/RecognisedKeys.ts"
import { Project, ProjectBehavior } from "./domain/projects/Project.ts"
import { projectProjection } from "./domain/projects/ProjectProjection.ts"
import { renderProjection } from "./domain/renders/RenderProjection.ts"
import { jobEventTypes } from "./jobs/JobEvents.ts"
import { jobProjection } from "./jobs/JobProjection.ts"
import { queueEventTypes } from "./jobs/QueueBehavior.ts"
import { Schedule, ScheduleBehavior } from "./jobs/schedules/Schedule.ts"
import { scheduleEventTypes } from "./jobs/schedules/ScheduleEvents.ts"
import { scheduleProjection } from "./jobs/schedules/ScheduleProjection.ts"
import type { AsyncProjection } from "./journal/AsyncProjection.ts"
import type { EventType } from "./journal/DomainEvent.ts"
import type { InlineProjection } from "./journal/InlineProjection.ts"
import type { EventModel } from "./ops/Verify.ts"

/** Every event type that the journal may hold. */
export const eventTypes: ReadonlyArray<EventType> = [
  ...jobEventTypes,
  ...queueEventTypes,
  ...scheduleEventTypes,
  ...Project.events,
  ...ApiKey.events,
  ...AlertLog.events,
  ...apiUseEventTypes,
]

/** A replay recognises nobody. */
const NO_KEYS: RecognisedKeys["Service"] = {
  get: () => undefined,
  generation: () => 0,
  remember: () => {},
  forgetAll: () => {},
}

/** Every inline projection, in the order in which they run. They remember rows, so each journal needs its own. */
export const projections = (
  recognised: RecognisedKeys["Service"] = NO_KEYS,
): ReadonlyArray<InlineProjection> => [
  jobProjection(),
  scheduleProjection(),
  projectProjection(),
  renderProjection(),
  apiKeyProjection(recognised),
]

/** Every async projection. They remember what they have taken, so each journal needs its own. */
export const asyncProjections = (): ReadonlyArray<AsyncProjection> => [analyticsProjection()]

/** A kind of actor that keeps snapshots: what its ids start with, and how its state comes about. */
export interface SnapshotKind {
  readonly prefix: string
  readonly behavior: HostedBehavior
}

/** Every kind of actor that keeps snapshots. */
export const snapshotKinds: ReadonlyArray<SnapshotKind> = [
  { prefix: "proj_", behavior: Project.hosted(ProjectBehavior) },
  { prefix: "sched_", behavior: Schedule.hosted(ScheduleBehavior) },
  { prefix: "key_", behavior: ApiKey.hosted(ApiKeyBehavior) },
  { prefix: ALERT_LOG, behavior: AlertLog.hosted(AlertLogBehavior) },
]

/** All of it, for what folds the journal outside of a server. */
export const eventModel: EventModel = {
  eventTypes,
  projections: () => projections(),
  asyncProjections,
  snapshotKinds,
}
