/**
 * What the journal may hold, and what is made of it: every event type and every inline projection of RenderOwl, in one
 * place for whoever opens a journal – the server, and the tools that verify or rebuild it.
 */
import { ApiKey } from "./domain/keys/ApiKey.ts"
import { apiKeyProjection } from "./domain/keys/ApiKeyProjection.ts"
import type { RecognisedKeys } from "./domain/keys/RecognisedKeys.ts"
import { Project } from "./domain/projects/Project.ts"
import { projectProjection } from "./domain/projects/ProjectProjection.ts"
import { renderProjection } from "./domain/renders/RenderProjection.ts"
import { jobEventTypes } from "./jobs/JobEvents.ts"
import { jobProjection } from "./jobs/JobProjection.ts"
import { queueEventTypes } from "./jobs/QueueBehavior.ts"
import type { EventType } from "./journal/DomainEvent.ts"
import type { InlineProjection } from "./journal/InlineProjection.ts"

/** Every event type that the journal may hold. */
export const eventTypes: ReadonlyArray<EventType> = [
  ...jobEventTypes,
  ...queueEventTypes,
  ...Project.events,
  ...ApiKey.events,
]

/** A replay recognises nobody. */
const NO_KEYS: RecognisedKeys["Service"] = { get: () => undefined, remember: () => {}, forgetAll: () => {} }

/** Every inline projection, in the order in which they run. They remember rows, so each journal needs its own. */
export const projections = (
  recognised: RecognisedKeys["Service"] = NO_KEYS,
): ReadonlyArray<InlineProjection> => [
  jobProjection(),
  projectProjection(),
  renderProjection(),
  apiKeyProjection(recognised),
]
